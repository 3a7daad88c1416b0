"""Which signals are alike: the keys by which they find their incident. How long a key holds: `correlation.py`."""

from runbooks.domain.incident import Archetype
from runbooks.domain.signal import Classified, Signal, TriageOutcome
from runbooks.domain.value import Digest, canonical, digest_of

UNKNOWN_SYSTEM = "unknown-system"
"""What an incident is on when its signals name no system. The inventory does not know it: kept and told, never acted."""


def correlation_key(signal: Signal, classified: Classified, *, at_once: bool) -> Digest:
    """What incident a signal belongs to. Parts are kept apart by their names, so that no two can run together."""
    return digest_of(
        canonical({
            "system": signal.system or UNKNOWN_SYSTEM, "environment": signal.environment,
            "outcome": classified.outcome, "archetype": classified.archetype, "near_miss": classified.near_miss,
            "entity": signal.entity, "at_once": at_once,
        })
    )  # fmt: skip


def spoken_key(system: str, archetype: Archetype, *, near_miss: bool, drill: bool) -> Digest:
    """By which further signals reach an incident that people opened: no more than people say when they open one.

    A drill is reached by signals of practice systems only: it must not swallow what really happens.
    """
    return digest_of(
        canonical(
            {"opened": "by people", "system": system, "archetype": archetype, "near_miss": near_miss, "drill": drill}
        )
    )


def spoken_key_of(signal: Signal, classified: Classified, *, drill: bool) -> Digest | None:
    """The key of incidents that people opened for what this signal tells of; None where people have no word for it."""
    if classified.outcome not in (TriageOutcome(classified.archetype), TriageOutcome.NEAR_MISS):
        return None  # a supplier's outage and somebody's misuse are both unclassified, and not the same
    return spoken_key(
        signal.system or UNKNOWN_SYSTEM, classified.archetype, near_miss=classified.near_miss, drill=drill
    )
