"""What is counted, in the text form that Prometheus reads. Labels are our own words and configured names, never a sender's."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from tasks.intake.verifying import Proof

LABEL = tuple[tuple[str, str], ...]
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; upper ends of the histogram's ranges."""


class Counts:
    """Counters and one histogram, of one event loop's thread."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, str], int] = defaultdict(int)
        """By source and outcome: `accepted`, or the word of a refusal."""
        self.secrets: dict[tuple[str, str], int] = {}
        """When a secret (source, id) last proved something; seconds since 1970."""
        self.skew: dict[str, float] = {}
        """The sender's clock minus ours at its newest signed delivery, in seconds."""
        self._ranges = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def took(self, seconds: float) -> None:
        """One accepted delivery took so long, from its header to the answer."""
        self._ranges[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def proved(self, source: str, proof: Proof, now_ns: int) -> None:
        """Which secret proved a delivery, and how far the sender's clock is from ours."""
        if proof.secret is not None:
            self.secrets[source, proof.secret] = now_ns // 1_000_000_000
        if proof.signed_ns is not None:
            self.skew[source] = (proof.signed_ns - now_ns) / 1e9

    def lines(self) -> list[str]:
        """As Prometheus reads it."""
        made = family(
            "quell_door_requests_total", "counter", "Requests by source and what became of them.",
            (((("source", s), ("outcome", o)), n) for (s, o), n in self.requests.items()),
        )  # fmt: skip
        made += family(
            "quell_door_secret_last_used_seconds", "gauge", "When a secret last proved a delivery (since 1970).",
            (((("source", s), ("secret", i)), n) for (s, i), n in self.secrets.items()),
        )  # fmt: skip
        made += family(
            "quell_door_clock_skew_seconds", "gauge", "The sender's clock minus ours at its newest signed delivery.",
            (((("source", s),), n) for s, n in self.skew.items()),
        )  # fmt: skip
        return made + self._histogram()

    def _histogram(self) -> list[str]:
        name, total = "quell_door_seconds", 0
        made = [f"# HELP {name} From an accepted delivery's header to its answer.", f"# TYPE {name} histogram"]
        for bound, count in zip((*BOUNDS, None), self._ranges, strict=True):
            total += count
            made.append(f'{name}_bucket{{le="{bound if bound is not None else "+Inf"}"}} {total}')
        return [*made, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


def family(name: str, kind: str, told: str, values: Iterable[tuple[LABEL, float]]) -> list[str]:
    """One metric with all its labels; nothing when it has no value."""
    rows = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in sorted(values)]
    return [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *rows] if rows else []


def _labels(labels: LABEL) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}"
