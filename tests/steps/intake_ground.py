"""Signals and an installation for the tests of what becomes of them. The clock is a number of seconds after NOW."""

from dataclasses import dataclass, field
from pathlib import Path

from runbooks.domain.configuration import Configuration, Policy
from runbooks.domain.containment import Verb
from runbooks.domain.correlation import Correlated, CorrelationRules, IncidentDraft
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import later
from runbooks.domain.preauthorisation import Preauthorisation
from runbooks.domain.severity import Severity, SeverityJudgement
from runbooks.domain.signal import Basis, Classified, Signal, SignalState, Strength, TriageOutcome
from runbooks.domain.sources import Source
from runbooks.domain.value import digest_of
from tasks.installation import Installation
from tasks.intake.correlating import Correlator, Understood
from tasks.intake.receipts import receipt
from tasks.stores import SignalStore, open_signals, open_spool
from tasks.stores.base import Arrival

NOW = "2026-11-21T02:00:00.000000000Z"
NOON_NS = 1_795_226_400_000_000_000
AT_ONCE = Preauthorisation(
    id="stop-it", archetypes=(Archetype.AGENTIC_MISALIGNMENT,), systems=("helper",), verbs=(Verb.DISABLE_TOOL,),
    sources=("monitor",), incidents_per_hour=2, why="it runs",
)  # fmt: skip


def a_judgement(severity: Severity = Severity.SEV2) -> SeverityJudgement:
    return SeverityJudgement(severity=severity, reasons=("told",), provisional=False)


def a_signal(key: str = "one", seconds: int = 0, **changes: object) -> Signal:
    """A signal received so many seconds after NOW; `key` makes its event key."""
    return Signal(
        delivery=receipt(NOON_NS + seconds, digest_of(key.encode())[7:17].encode()), ordinal=0, source="monitor",
        mapping="sha256:" + "7" * 64, kind="alert", event_key=digest_of(key.encode()), system="helper",
        environment="production", occurred_at=later(NOW, seconds), received_at=later(NOW, seconds),
        strength=Strength.SIGNED, text="a ticket made it refund",
    ).model_copy(update=changes)  # fmt: skip


def a_classified(severity: Severity = Severity.SEV2, **changes: object) -> Classified:
    return Classified(
        outcome=TriageOutcome.PROMPT_INJECTION, archetype=Archetype.PROMPT_INJECTION, basis=Basis.LABEL,
        severity=a_judgement(severity), rule="label", rules_version="sha256:" + "3" * 64, reasons=("its label",),
    ).model_copy(update=changes)  # fmt: skip


def resolved(key: str = "over", seconds: int = 0, **changes: object) -> Signal:
    """The end of an alert."""
    return a_signal(key, seconds, state=SignalState.RESOLVED, **changes)


def a_configuration(place: Installation, **rules: object) -> Configuration:
    """The installation's own, with a monitor that may start containment, and these correlation rules."""
    base = place.proposed()
    policy = base.policy.model_copy(
        update={"preauthorised": (AT_ONCE,), "correlation": CorrelationRules.model_validate(rules)}
    )
    sources = {name: Source(title=name, unproven=True) for name in ("monitor", "customers")}
    return base.model_copy(update={"policy": Policy.model_validate(policy), "sources": sources})


@dataclass
class Intake:
    """A correlator on an installation, and the hands that feed it."""

    place: Installation
    rules: dict[str, object] = field(default_factory=dict)
    store: SignalStore = field(init=False)
    correlator: Correlator = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_signals(self.place.settings.signals)
        self.correlator = Correlator(self.place, self.store, a_configuration(self.place, **self.rules))

    def take(self, *signals: Signal, classified: Classified | None = None, at: int | None = None) -> list[Correlated]:
        """One batch, a delivery for each signal, taken in `at` so many seconds after NOW, or when the last was received."""
        known = classified or a_classified()
        batch = [Understood(signal.delivery, ((signal, known),)) for signal in signals]
        now = later(NOW, at) if at is not None else signals[-1].received_at
        return self.correlator.take_in(batch, now)

    def incidents(self) -> list[str]:
        """Those that wait for their response, storms too, in the order in which they will start."""
        return [row.incident for row in self.store.waiting()]


def deliver(path: Path, signal: Signal, body: bytes = b"{}") -> None:
    """Put the delivery of this signal into the spool, as the door does."""
    open_spool(path).append([
        Arrival(signal.delivery, signal.source, NOON_NS, "application/json", (), signal.strength, None, None, False,
                bytes.fromhex(digest_of(body)[7:]), body)
    ])  # fmt: skip


def draft_of(intake: Intake, incident: str) -> IncidentDraft:
    """What opens this incident, while it waits for its response."""
    row = next(row for row in intake.store.waiting() if row.incident == incident)
    return IncidentDraft.from_bytes(row.draft)
