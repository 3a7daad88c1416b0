"""What was understood becomes incidents: one transaction per batch, by the rules of `runbooks/domain/correlation.py`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from runbooks.domain.configuration import Configuration
from runbooks.domain.correlation import (
    SEVERAL_SYSTEMS,
    Correlated,
    GotWorse,
    IncidentDraft,
    KnownIncident,
    Standing,
    Verdict,
    correlate,
    is_storm,
    joins,
    newer,
    starts_unasked,
)
from runbooks.domain.identifiers import short_id
from runbooks.domain.incident import Archetype, Origin, Report
from runbooks.domain.instants import Instant, later
from runbooks.domain.likeness import UNKNOWN_SYSTEM, correlation_key, spoken_key_of
from runbooks.domain.severity import Factors, Floor, Severity, SeverityJudgement, judge_severity
from runbooks.domain.signal import Classified, Signal, Strength
from runbooks.domain.value import Digest, canonical, digest_of
from tasks.incident import with_floors
from tasks.installation import Installation
from tasks.intake.learning import end_quiet, learn
from tasks.stores import SignalStore

MOST_AT_ONCE = 500
LONGEST_TEXT = 20_000
"""Of a signal's text in the report; the whole delivery is sealed beside it."""
EARLIEST_BEGINNING_DAYS = 7
"""A sender's clock is believed about the beginning within so many days before we heard of it, and never after."""


@dataclass(frozen=True)
class Understood:
    """A delivery that was read: its signals, and why it has none, or which of its items have none."""

    delivery: str
    found: tuple[tuple[Signal, Classified], ...] = ()
    defect: str = ""


_Part = tuple[Understood, tuple[tuple[Signal, Classified], ...], bool]


@dataclass
class Correlator:
    """Takes signals in under one configuration."""

    installation: Installation
    store: SignalStore
    configuration: Configuration
    _id: bytes = field(init=False)
    _floors: dict[Archetype, tuple[Floor, ...]] = field(default_factory=dict)
    _judged: dict[tuple[Factors, frozenset[Floor]], SeverityJudgement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._id = self.installation.id.encode()

    def take_in(self, batch: Sequence[Understood], now: Instant) -> list[Correlated]:
        """What became of every new signal of these deliveries.

        A transaction holds at most `MOST_AT_ONCE` signals, because the door waits for it. A delivery is marked read
        with its last signal; one that is read again after a crash finds its first ones known. An event that is known
        and that a corrected mapping places elsewhere is judged again; the incident that it was in keeps its count.
        """
        said: list[Correlated] = []
        for part in _parts(batch):
            with self.store.writing():
                for one, found, last in part:
                    for signal, classified in found:
                        known = self.store.known(signal)
                        if known is None or (
                            known[0] != signal.mapping and not self._is_same_place(known[1], signal, classified, now)
                        ):
                            said.append(self._take(signal, classified, now))
                    if last:
                        self.store.read(one.delivery, now, len(one.found), one.defect)
        return said

    def learn(self, now: Instant) -> None:
        """What the ledger says since we looked last."""
        learn(self.installation, self.store, self._judge, now)

    def end_quiet(self, now: Instant) -> int:
        """Signals whose quiet is over and that still fire are looked at as if they came now; how many."""
        return end_quiet(self.store, self._judge, now)

    def _is_same_place(self, key: Digest, signal: Signal, classified: Classified, now: Instant) -> bool:
        """Whether this is the key of the signal, now or while it was young enough to begin something."""
        at_once = {self._at_once(signal, classified, at) for at in (now, signal.received_at)}
        return any(key == correlation_key(signal, classified, at_once=one) for one in at_once)

    def _take(self, signal: Signal, classified: Classified, now: Instant) -> Correlated:
        key = correlation_key(signal, classified, at_once=self._at_once(signal, classified, now))
        said = self._judge(signal, classified, now, key=key)
        self.store.keep(signal, classified, key, said)
        alert = signal.alert or signal.event_key
        self.store.keep_alert(
            signal.source, alert, newer(self.store.alert(signal.source, alert), signal), said.incident
        )
        return said

    def _judge(
        self, told: Signal, classified: Classified, now: Instant, *, seen_at: Instant | None = None, key: str = ""
    ) -> Correlated:  # fmt: skip
        """What becomes of a signal. After a quiet window it counts as seen then; what it begins knows when it came."""
        signal = told if seen_at is None else told.model_copy(update={"received_at": seen_at})
        at_once = self._at_once(told, classified, now)
        key = key or correlation_key(signal, classified, at_once=at_once)
        own = self.store.newest(key)
        policy = self.configuration.policy  # without any pre-authorisation nothing is stronger
        stronger = None
        if policy.preauthorised and not at_once:
            stronger = self.store.newest(correlation_key(signal, classified, at_once=True))
        at_home = (
            own is not None and own.standing is Standing.OPEN and joins(signal.received_at, own, policy.correlation)
        )
        drill = self._is_practice(signal.system or "")
        spoken = None if at_home else spoken_key_of(signal, classified, drill=drill)  # its own one comes first
        said = correlate(
            signal, classified, own=own, stronger=stronger, quiets=tuple(self.store.quiets()),
            rules=policy.correlation, now=now, spoken=self.store.newest(spoken) if spoken else None, at_once=at_once,
        )  # fmt: skip
        incident = self._id_of(told, key)
        if said.verdict is Verdict.OPENED and self.store.find(incident) is not None:
            # a corrected mapping placed it elsewhere, and the next one back
            said = Correlated(verdict=Verdict.LATE, incident=incident, because="it opened this one before")
        if said.verdict is Verdict.OPENED:
            if said.passed and own is not None:
                self.store.end(said.passed, Standing.PASSED, own.last_signal_at)
            self._open(incident, key, told, signal.received_at, classified, said, now, at_once=at_once)
            return said.model_copy(update={"incident": incident})
        if said.incident:
            self._join(said, signal, classified, key)
        return said

    def _join(self, said: Correlated, signal: Signal, classified: Classified, key: str) -> None:
        known = self.store.find(str(said.incident))
        self.store.join(str(said.incident), signal.received_at)
        if known is None or said.verdict is not Verdict.JOINED:
            return
        severity, because = self._severity(classified), ""
        lifted = self._severity(classified, Floor.SILENT_RECURRENCE)
        if lifted.severity.rank < min(severity.severity.rank, known.severity.rank) and self._recurs(signal, key):
            rules = self.configuration.policy.correlation
            severity = lifted
            because = f"{rules.recurring_signals} signals of its kind within {rules.recurrence_days} days: they recur"
        if severity.severity.rank < known.severity.rank:
            worse = GotWorse(severity=severity, delivery=signal.delivery, because=because)
            self.store.raise_severity(known.id, severity.severity, worse)

    def _recurs(self, signal: Signal, key: str) -> bool:
        """Whether this signal is one of so many of its key that they count as silent recurrence."""
        rules = self.configuration.policy.correlation
        lately = self.store.signals_since(key, later(signal.received_at, -86_400 * rules.recurrence_days))
        return lately + 1 >= rules.recurring_signals

    def _severity(self, classified: Classified, *more: Floor) -> SeverityJudgement:
        """The worse of what the rules found and of what holds for every incident of the archetype, and `more`."""
        floors = frozenset({*classified.floors, *self._floors_of(self._flow(classified)), *more})
        if (classified.factors, floors) not in self._judged:
            self._judged[classified.factors, floors] = judge_severity(classified.factors, floors)
        return min(classified.severity, self._judged[classified.factors, floors], key=lambda one: one.severity.rank)

    def _at_once(self, signal: Signal, classified: Classified, now: Instant) -> bool:
        return starts_unasked(signal, classified) and self.configuration.lets_begin(
            self._flow(classified), self._severity(classified).severity, signal.system or UNKNOWN_SYSTEM, signal.source,
            received_at=signal.received_at, now=now,
        )  # fmt: skip

    def _flow(self, classified: Classified) -> Archetype:
        return classified.archetype if classified.archetype in self.configuration.runbooks else Archetype.UNCLASSIFIED

    def _material(self, signal: Signal, key: Digest) -> str:
        return canonical({"source": signal.source, "event": signal.event_key, "key": key}).decode()

    def _id_of(self, signal: Signal, key: Digest) -> str:
        """Of the incident that this signal opens, or once opened."""
        return short_id("INC", self._id + self._material(signal, key).encode())

    def _open(
        self, incident: str, key: Digest, signal: Signal, seen_at: Instant, classified: Classified, said: Correlated,
        now: Instant, *, at_once: bool,
    ) -> None:  # fmt: skip
        archetype, system = self._flow(classified), signal.system or UNKNOWN_SYSTEM
        severity = self._severity(classified)
        draft = IncidentDraft(
            report=self._report(signal, classified, archetype, key), archetype=archetype,
            drill=self._is_practice(system), material=self._material(signal, key), severity=severity,
            origin=Origin(
                source=signal.source, fresh=starts_unasked(signal, classified), delivery=signal.delivery,
                received_at=signal.received_at,
            ),
            recurrence_of=said.recurrence_of, storm=self._storm(incident, system, severity.severity, now),
            classification=classified.classification, because=said.because,
        )  # fmt: skip
        known = KnownIncident(
            id=incident, key=key, standing=Standing.OPEN, at_once=at_once, severity=severity.severity,
            opened_at=seen_at, last_signal_at=seen_at,
        )  # fmt: skip
        self.store.open(known, draft.canonical(), system=system, made_at=now, recurrence_of=said.recurrence_of,
                        storm=draft.storm)  # fmt: skip

    def _report(self, signal: Signal, classified: Classified, archetype: Archetype, key: str) -> Report:
        system = self.configuration.systems.get(signal.system or "")
        floors = (*classified.floors, *((Floor.SILENT_RECURRENCE,) if self._recurs(signal, key) else ()))
        report = Report(
            system=signal.system or UNKNOWN_SYSTEM, what_happened=signal.text[:LONGEST_TEXT],
            reporter=f"source {signal.source}", reporter_proven=signal.strength is Strength.SIGNED,
            lead=system.lead if system else "unknown", noticed_at=signal.received_at, began_at=_began(signal),
            factors=classified.factors, floors=floors, near_miss=classified.near_miss,
            source=f"signals/{signal.source}",
        )  # fmt: skip
        return with_floors(report, self._floors_of(archetype))

    def _is_practice(self, system: str) -> bool:
        listed = self.configuration.systems.get(system)
        return listed is not None and listed.practice

    def _floors_of(self, archetype: Archetype) -> tuple[Floor, ...]:
        if archetype not in self._floors:
            book = self.installation.runbook(archetype, self.configuration)
            self._floors[archetype] = book.severity_floors
        return self._floors[archetype]

    def _storm(self, incident: str, system: str, severity: Severity, now: Instant) -> str | None:
        """The storm that one more new incident belongs to, opened when it is the first beyond the limit."""
        rules, practice = self.configuration.policy.correlation, self._is_practice(system)
        made = self.store.made_since(later(now, -60 * rules.storm_minutes))
        lately = [one for one in made if self._is_practice(one[1]) is practice]  # a drill hides nothing real
        if not is_storm(len(lately), rules):
            return None
        under = next((storm for _, _, storm in reversed(lately) if storm), None)
        whole = self.store.find(under) if under else None
        if whole is not None and now >= later(whole.opened_at, 60 * rules.storm_again_minutes):
            under = None
        systems = {system, *(one for _, one, _ in lately)}
        return under or self._open_storm(incident, systems, severity, now, drill=practice)

    def _open_storm(self, first: str, systems: set[str], at_least: Severity, now: Instant, *, drill: bool) -> str:
        """As severe as its first, and never milder than SEV2; the keeper lifts it to what follows (`announcing`)."""
        rules = self.configuration.policy.correlation
        material = canonical({"storm": first}).decode()
        incident = short_id("INC", self._id + material.encode())
        system = systems.pop() if len(systems) == 1 else SEVERAL_SYSTEMS
        listed = self.configuration.systems.get(system)
        why = f"a storm: more than {rules.storm_incidents} new incidents within {rules.storm_minutes} minutes"
        severity = SeverityJudgement(severity=Severity.SEV2.worse_of(at_least), reasons=(why,), provisional=True)
        report = Report(
            system=system, what_happened=f"quell saw {why}. Each is open and counted; people are told of this one.",
            reporter="quell", lead=listed.lead if listed else "unknown", noticed_at=now, source="signals/storm",
        )  # fmt: skip
        draft = IncidentDraft(
            report=report, archetype=Archetype.UNCLASSIFIED, drill=drill,
            material=material, severity=severity, storm=incident, because=why,
        )  # fmt: skip
        known = KnownIncident(
            id=incident, key=digest_of(material.encode()), standing=Standing.OPEN, at_once=False,
            severity=severity.severity, opened_at=now, last_signal_at=now,
        )  # fmt: skip
        self.store.open(known, draft.canonical(), system=system, made_at=now, recurrence_of=None, storm=incident,
                        signals=0)  # fmt: skip
        return incident


def _parts(batch: Sequence[Understood]) -> Iterator[list[_Part]]:
    """The batch cut into transactions: deliveries with some of their signals, and whether those are the last."""
    part: list[_Part] = []
    held = 0
    for one in batch:
        for start in range(0, max(1, len(one.found)), MOST_AT_ONCE):
            found = one.found[start : start + MOST_AT_ONCE]
            part.append((one, found, start + MOST_AT_ONCE >= len(one.found)))
            held += len(found)
            if held >= MOST_AT_ONCE:
                yield part
                part, held = [], 0
    if part:
        yield part


def _began(signal: Signal) -> Instant | None:
    """When it began, if the sender's clock says something that can be."""
    told = signal.occurred_at
    earliest = later(signal.received_at, -86_400 * EARLIEST_BEGINNING_DAYS)
    return told if told is not None and earliest <= told <= signal.received_at else None
