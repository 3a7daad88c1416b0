"""What time and the ledger bring to signals that were taken in: incidents that opened or closed, quiet that began or ended.

`Judge` says what becomes of a signal now (`correlating.py`); `seen_at` is when it counts as seen, if not when it came.
"""

from typing import Protocol

from runbooks.domain.case import Ending
from runbooks.domain.correlation import Correlated, Quiet, Standing, Verdict
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType
from runbooks.domain.signal import Classified, Signal
from tasks.installation import Installation
from tasks.stores import SignalStore

LEARNT = "ledger"


class Judge(Protocol):
    """What becomes of a signal now."""

    def __call__(
        self, told: Signal, classified: Classified, now: Instant, *, seen_at: Instant | None = None
    ) -> Correlated:
        """Judge it, and let its incident open or take it."""


def learn(installation: Installation, store: SignalStore, judge: Judge, now: Instant) -> None:
    """What the ledger says since we looked last: incidents that were closed, systems that are kept quiet.

    A signal that joined in the instant of the closure, and was received after it, is judged again.
    """
    ledger, seen = installation.store, int(store.mark(LEARNT) or 0)
    size = ledger.size()
    if size == seen:
        return
    news = ledger.entries(since=seen, types=(EntryType.INCIDENT_CLOSED, EntryType.SIGNALS_QUIETED))
    with store.writing():
        for entry in news:
            if entry.type is EntryType.SIGNALS_QUIETED:
                store.keep_quiet(Quiet.model_validate(entry.body["quiet"]))
            elif entry.incident and store.find(entry.incident) is not None:
                untouched = entry.body.get("ending") in (Ending.EVIDENCE_ONLY, Ending.NEAR_MISS)
                store.end(entry.incident, Standing.UNTOUCHED if untouched else Standing.CLOSED, entry.at)
                for kept in store.joined_after(entry.incident, entry.at):
                    store.settle(kept.signal, judge(kept.signal, kept.classified, now))
        store.set_mark(LEARNT, str(size))


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
