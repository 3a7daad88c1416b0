"""One incident per real incident: which signals belong together, and when a new incident begins.

Two keys, never one. The *event key* says that the same event was delivered again; such a signal is known and changes
nothing. The *correlation key* says that two events belong to one incident: same system, environment, outcome and
entity. Who reported it is not part of it, so a monitor's alert and a customer's complaint meet in one incident.

Rules of `correlate`, in order:
1. A resolved signal neither opens nor closes an incident. It is kept with what it resolves.
2. While somebody keeps a system quiet (a snooze, maintenance), its signals are kept and counted and open nothing, save
   those that are worse than what was foreseen. When the quiet ends, what still fires is looked at again.
3. A signal joins an incident that is open: received within `join_minutes` of its last signal and within `oldest_hours`
   of its opening. Joining may raise the severity and never lowers it. An incident that people opened takes the signals
   of its system and kind in the same way: people say neither environment nor entity. One that people classified anew
   takes, besides, those that the incident which it continues would have taken, and that one takes no more.
4. A signal that was received before the incident's last signal, or before it was closed, came late: it joins and wakes
   nothing, unless it was received while the incident stood and is worse than all that people were told of.
   So does, as long as the window lasts, one that is no worse when the response took nothing away (triage, a near
   miss, a system that nobody knows): such a response ends at once, and every further alert of the same kind would be
   one more incident and page.
5. Otherwise a new incident opens. If one with the same key ended within `recurrence_days`, it is linked as its
   recurrence. An incident that was closed stays closed: its effects were judged and given back, and what comes now
   needs a plan and consent of its own.
6. A signal that may start containment without people joins no incident that may not: a weak report that came first
   must not delay what policy allows at once. A weak signal joins the strong incident. One that was received longer
   ago than policy allows is a weak one. (Whoever classifies anew signs it: what follows joins that incident all the same.)
7. More than `storm_incidents` new ones within `storm_minutes` are a storm: it opens a parent, people are told once per
   severity, also after the parent's triage is done, and every further incident is opened, counted and linked to it.
   A storm that goes on after `storm_again_minutes` is another one, and told. Practice systems have storms of their own.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runbooks.domain.incident import Archetype, IncidentId, Name, Origin, Report
from runbooks.domain.instants import Instant, later, milliseconds_between
from runbooks.domain.likeness import correlation_key
from runbooks.domain.severity import Severity, SeverityJudgement
from runbooks.domain.signal import Basis, Classification, Classified, Signal, SignalState, Strength
from runbooks.domain.value import Digest, Value

SEVERAL_SYSTEMS = "several-systems"
"""What a storm is on when it is on no single system."""


class CorrelationRules(Value):
    """The windows. All of them are counted from when quell received a signal, by quell's own clock."""

    join_minutes: Annotated[int, Field(ge=1, le=1440)] = 30
    oldest_hours: Annotated[int, Field(ge=1, le=720)] = 24
    recurrence_days: Annotated[int, Field(ge=1, le=365)] = 14
    recurring_signals: Annotated[int, Field(ge=2)] = 50
    """So many signals of one key within `recurrence_days` count as silent recurrence, which lifts the severity of the
    incident that they open, or that they join."""
    storm_incidents: Annotated[int, Field(ge=1)] = 20
    storm_minutes: Annotated[int, Field(ge=1, le=1440)] = 5
    storm_again_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
    """So long a storm takes in what comes; after that it is another one, of which people are told anew."""


class Standing(StrEnum):
    """How an incident stands for the signals that come."""

    OPEN = "open"
    """Signals join it."""
    PASSED = "passed"
    """Its window is over; people may still be at work on it."""
    CLOSED = "closed"
    UNTOUCHED = "untouched"
    """Closed, and nothing was ever taken away: evidence only, or a near miss."""


class KnownIncident(Value):
    """What the door knows of an incident, whoever opened it. The record is the ledger; this is for finding it."""

    id: IncidentId
    key: Digest
    standing: Standing
    at_once: bool
    """Whether policy let containment begin without people when it opened, if nothing else forbids it."""
    severity: Severity
    opened_at: Instant
    last_signal_at: Instant
    ended_at: Instant | None = None
    """When its window or its response ended, whichever came first."""


class Quiet(Value):
    """Somebody decided that signals of a system open no incident for a while. It always ends."""

    id: str
    system: Name
    archetypes: tuple[Archetype, ...] = ()
    """Empty: all."""
    worst: Severity = Severity.SEV2
    """What is worse than this opens an incident all the same."""
    since: Instant
    until: Instant
    maintenance: bool
    """A planned window; otherwise a snooze."""
    person: Name
    reason: str

    def covers(self, signal: Signal, classified: Classified, now: Instant) -> bool:
        """Whether it keeps this signal quiet now."""
        return (
            self.since <= now < self.until
            and signal.system == self.system
            and (not self.archetypes or classified.archetype in self.archetypes)
            and classified.severity.severity.rank >= self.worst.rank
        )


class IncidentDraft(Value):
    """What opens an incident: the same draft opens the same incident, however often."""

    report: Report
    archetype: Archetype
    """Whose flow responds. Fixed here: Prefect knows a start by flow and key, and a second flow would be a second run."""
    drill: bool
    material: str
    """What the incident's id is made of."""
    severity: SeverityJudgement
    origin: Origin | None = None
    recurrence_of: IncidentId | None = None
    storm: IncidentId | None = None
    classification: Classification | None = None
    """Which rule chose the archetype, and why; None: a storm, or a draft of an older quell."""
    because: str


class GotWorse(Value):
    """A signal that joined was worse than its incident until then, or was one too many."""

    severity: SeverityJudgement
    delivery: str
    because: str = ""
    """Empty: the signal itself is worse."""


class Verdict(StrEnum):
    """What became of a signal."""

    OPENED = "opened"
    JOINED = "joined"
    LATE = "late"
    RESOLVED = "resolved"
    QUIET = "quiet"


class Correlated(Value):
    """What becomes of one signal, and why."""

    verdict: Verdict
    incident: IncidentId | None = None
    """The one that it joins."""
    recurrence_of: IncidentId | None = None
    passed: IncidentId | None = None
    """The one whose window is over, and which no signal joins any more."""
    quiet: str | None = None
    because: str


def starts_unasked(signal: Signal, classified: Classified) -> bool:
    """Whether this signal is of the kind that may start what policy pre-authorises: signed, fresh at the door, and no guess.

    How long ago that was is judged apart, at each step (`preauthorisation.py`).
    """
    return (
        signal.strength is Strength.SIGNED
        and not signal.human
        and not classified.near_miss
        and classified.basis not in (Basis.KEYWORD, Basis.NONE)
    )


def correlate(
    signal: Signal, classified: Classified, *, own: KnownIncident | None, stronger: KnownIncident | None,
    quiets: tuple[Quiet, ...], rules: CorrelationRules, now: Instant, spoken: KnownIncident | None = None,
    at_once: bool = False,
) -> Correlated:  # fmt: skip
    """What becomes of a new signal, by the rules at the head of this file.

    `own` is the newest incident with the signal's key; `stronger` the newest with the same key that may be contained
    at once, when this signal's may not; `spoken` the newest that people opened for the same. `at_once`: the signal's may.
    """
    if signal.state is SignalState.RESOLVED:  # 1
        return Correlated(verdict=Verdict.RESOLVED, because="a resolved signal neither opens nor closes an incident")
    quiet = next((one for one in quiets if one.covers(signal, classified, now)), None)  # 2
    if quiet is not None:
        kind = "maintenance" if quiet.maintenance else "a snooze"
        return Correlated(verdict=Verdict.QUIET, quiet=quiet.id, because=f"{kind} until {quiet.until[:16]}")
    weak = None if at_once else spoken
    for known in (stronger, *sorted((own, weak), key=_is_over)):  # 3, 4, 6
        late = known is not None and known.standing is not Standing.OPEN
        if (
            known is not None
            and joins(signal.received_at, known, rules)
            and not (late and signal.received_at >= known.opened_at and _is_worse(classified, known))
        ):
            return Correlated(
                verdict=Verdict.LATE if late else Verdict.JOINED, incident=known.id,
                because="it was received before the incident ended" if late else "the incident is open",
            )  # fmt: skip
        if known is not None and _adds_nothing(signal, classified, known, rules):
            return Correlated(
                verdict=Verdict.LATE, incident=known.id,
                because="more of the same, and its response took nothing away",
            )  # fmt: skip
    opened = _opened(signal, own or stronger or weak, own, rules)
    if at_once and spoken is not None and not _is_over(spoken):
        because = f"{opened.because}; {spoken.id} is open for the same, and there people are waited for"
        return opened.model_copy(update={"because": because})
    return opened


def _is_over(known: KnownIncident | None) -> bool:
    return known is None or known.standing is not Standing.OPEN


def joins(received_at: Instant, known: KnownIncident, rules: CorrelationRules) -> bool:
    """Whether a signal that was received then belongs to this incident."""
    if known.standing is not Standing.OPEN:
        return received_at <= (known.ended_at or known.last_signal_at)
    return received_at <= later(known.last_signal_at, 60 * rules.join_minutes) and received_at <= later(
        known.opened_at, 3600 * rules.oldest_hours
    )


def _is_worse(classified: Classified, known: KnownIncident) -> bool:
    return classified.severity.severity.rank < known.severity.rank


def _adds_nothing(signal: Signal, classified: Classified, known: KnownIncident, rules: CorrelationRules) -> bool:
    """Whether it is more of an incident that was closed with evidence only, within its window, and no worse."""
    if known.standing not in (Standing.UNTOUCHED, Standing.CLOSED):
        return False
    took_nothing = known.standing is Standing.UNTOUCHED or (
        (classified.near_miss or classified.archetype is Archetype.UNCLASSIFIED)
        and any(known.key == correlation_key(signal, classified, at_once=one) for one in (False, True))
    )  # of another key is one that people named anew: what its response took away, this signal does not say
    return (
        took_nothing
        and not _is_worse(classified, known)
        and joins(signal.received_at, known.model_copy(update={"standing": Standing.OPEN}), rules)
    )


def _opened(
    signal: Signal, before: KnownIncident | None, own: KnownIncident | None, rules: CorrelationRules
) -> Correlated:
    passed = own.id if own is not None and own.standing is Standing.OPEN else None
    if before is None:
        return Correlated(verdict=Verdict.OPENED, because="nothing like it is open")
    ended = before.ended_at or before.last_signal_at
    if signal.received_at > later(ended, 86_400 * rules.recurrence_days):
        return Correlated(verdict=Verdict.OPENED, passed=passed, because="the last one like it is long over")
    minutes = max(0, milliseconds_between(ended, signal.received_at) // 60_000)
    if signal.received_at <= ended:
        because = f"{before.id} is over, and this, which came before its end, is worse than all that it was told of"
        return Correlated(verdict=Verdict.OPENED, recurrence_of=before.id, passed=passed, because=because)
    how = "was closed" if before.standing in (Standing.CLOSED, Standing.UNTOUCHED) else "had its last signal"
    return Correlated(
        verdict=Verdict.OPENED, recurrence_of=before.id, passed=passed,
        because=f"it came back: {before.id} {how} {minutes} minutes earlier",
    )  # fmt: skip


def is_storm(opened_lately: int, rules: CorrelationRules) -> bool:
    """Whether one more incident, after so many within `storm_minutes`, belongs to a storm."""
    return opened_lately >= rules.storm_incidents


class AlertState(Value):
    """Whether what a source calls one alert fires or is over."""

    state: SignalState
    at: Instant


def newer(known: AlertState | None, signal: Signal) -> AlertState:
    """The alert's state after one more signal, whatever order they arrive in.

    The sender's own time decides; at the same time resolved comes after firing, because a sender states when it began.
    """
    told = AlertState(state=signal.state, at=signal.occurred_at or signal.received_at)
    if known is None or told.at > known.at:
        return told
    if told.at == known.at and told.state is SignalState.RESOLVED:
        return told
    return known
