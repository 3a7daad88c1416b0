"""What time and the ledger bring to signals that were taken in: incidents that opened or closed, quiet that began or ended.

`Judge` says what becomes of a signal now (`correlating.py`); `seen_at` is when it counts as seen, if not when it came.
"""

from typing import Protocol

from runbooks.domain.case import Ending
from runbooks.domain.correlation import Correlated, KnownIncident, Quiet, Standing, Verdict
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.likeness import spoken_key
from runbooks.domain.severity import Severity
from runbooks.domain.signal import Classified, Signal
from runbooks.domain.value import digest_of
from tasks.installation import Installation
from tasks.stores import SignalStore

LEARNT = "ledger"
_NEWS = (EntryType.INCIDENT_OPENED, EntryType.INCIDENT_CLOSED, EntryType.SIGNALS_QUIETED)


class Judge(Protocol):
    """What becomes of a signal now."""

    def __call__(
        self, told: Signal, classified: Classified, now: Instant, *, seen_at: Instant | None = None
    ) -> Correlated:
        """Judge it, and let its incident open or take it."""


def learn(installation: Installation, store: SignalStore, judge: Judge, now: Instant) -> None:
    """What the ledger says since we looked last: incidents that people opened, or that were closed; quiet systems.

    A signal that joined in the instant of the closure, and was received after it, is judged again.
    """
    ledger, seen = installation.store, int(store.mark(LEARNT) or 0)
    size = ledger.size()
    if size == seen:
        return
    news = ledger.entries(since=seen, types=_NEWS)
    with store.writing():
        for entry in news:
            if entry.type is EntryType.SIGNALS_QUIETED:
                store.keep_quiet(Quiet.model_validate(entry.body["quiet"]))
            elif entry.type is EntryType.INCIDENT_OPENED:
                _hear_of(store, entry)
            elif entry.incident and store.find(entry.incident) is not None:
                untouched = entry.body.get("ending") in (Ending.EVIDENCE_ONLY, Ending.NEAR_MISS)
                store.end(entry.incident, Standing.UNTOUCHED if untouched else Standing.CLOSED, entry.at)
                for kept in store.joined_after(entry.incident, entry.at):
                    store.settle(kept.signal, judge(kept.signal, kept.classified, now))
        store.set_mark(LEARNT, str(size))


def _hear_of(store: SignalStore, entry: LedgerEntry) -> None:
    """An incident that signals did not open here: those of its system and kind join it from now on."""
    if entry.incident is None or store.find(entry.incident) is not None:
        return
    body, known = entry.body, entry.incident
    system, archetype, near_miss = str(body["system"]), Archetype(body["archetype"]), bool(body.get("near_miss"))
    store.hear_of(
        KnownIncident(
            id=known, key=digest_of(known.encode()), standing=Standing.OPEN, at_once=False,
            severity=Severity(body["severity"]), opened_at=entry.at, last_signal_at=entry.at,
        ),
        system, spoken_key(system, archetype, near_miss=near_miss, drill=bool(body["drill"])),
    )  # fmt: skip
    if body.get("continues"):
        store.hand_over(str(body["continues"]), known, entry.at)


def end_quiet(store: SignalStore, judge: Judge, now: Instant) -> int:
    """Signals whose quiet is over and that still fire are looked at as if they came now; how many.

    What they begin without people depends on when they came: keeping quiet makes no signal younger.
    """
    looked = 0
    for quiet in store.quiets():
        if now < quiet.until:
            continue
        with store.writing():
            store.keep_quiet(quiet, over=True)
            for kept in store.kept_quiet(quiet.id):
                _settle(store, judge, kept.signal, kept.classified, now)
                looked += 1
    return looked


def _settle(store: SignalStore, judge: Judge, kept: Signal, classified: Classified, now: Instant) -> None:
    alert = store.alert(kept.source, kept.alert or kept.event_key)
    if alert is not None and (alert.at > (kept.occurred_at or kept.received_at) or alert.state != kept.state):
        store.settle(kept, Correlated(verdict=Verdict.QUIET, because="it was over before the quiet ended"))
        return
    store.settle(kept, judge(kept, classified, now, seen_at=now))
