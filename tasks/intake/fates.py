"""What became of a delivery, in a word: for the person who sent it, who is shown nothing else."""

from contextlib import closing
from enum import StrEnum

from runbooks.domain.correlation import Standing
from tasks.installation import Installation
from tasks.stores import open_signals
from tasks.stores.base import Spool

OVER = (Standing.CLOSED, Standing.UNTOUCHED)


class Fate(StrEnum):
    """How far a delivery has come."""

    RECEIVED = "received"
    UNREAD = "unreadable"
    NOTED = "noted"
    RESPONDING = "responding"
    OVER = "over"


def fate_of(installation: Installation, spool: Spool, delivery: str, source: str) -> Fate | None:
    """What became of this delivery of this source; None when there is none. `spool` is one that is open for reading."""
    found = spool.read(delivery)
    if found is None or found[0].source != source:
        return None
    with closing(open_signals(installation.settings.signals)) as store:
        said = store.fate(delivery)
    if said is None:
        return Fate.RECEIVED
    if said.unreadable:
        return Fate.UNREAD
    if not said.incidents:
        return Fate.NOTED
    return Fate.OVER if all(standing in OVER for standing in said.incidents) else Fate.RESPONDING
