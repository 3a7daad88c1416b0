"""How long the keeper waits before it starts a response again: at once when something happened, ever longer when nothing did."""

from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.ledger import ActorKind, EntryType, LedgerEntry

SETTLE_SECONDS = 10
"""How long whoever opened an incident may take to start its run before that counts as missing."""
LONGEST_PAUSE_SECONDS = 45
"""Between two restarts that led to nothing new; the pause doubles up to here."""
NOTHING_NEW = (
    EntryType.RUN_STARTED, EntryType.RUN_WOKEN, EntryType.RUN_SUPERSEDED, EntryType.RUN_INTERFERED,
    EntryType.PERSON_NEEDED, EntryType.HISTORY_MIRRORED, EntryType.SIGNAL_RECEIVED,
)  # fmt: skip
"""What a run that fails at once writes, again and again; and what signals that go on coming write."""


def is_due(entries: list[LedgerEntry], now: Instant, *, begun: bool) -> bool:
    """Whether the pause is over. Signals that go on coming do not put it off."""
    newest = next(entry for entry in reversed(entries) if entry.type is not EntryType.SIGNAL_RECEIVED)
    return milliseconds_between(newest.at, now) >= 1000 * pause_before_restart(entries, begun=begun)


def pause_before_restart(entries: list[LedgerEntry], *, begun: bool) -> int:
    """Seconds since the newest entry: none at first, doubling with every restart that led to nothing new."""
    if not begun:
        return SETTLE_SECONDS
    fruitless, failed = 0, False
    for entry in reversed(entries):
        failed = failed or (entry.type is EntryType.PERSON_NEEDED and entry.actor.kind is ActorKind.FLOW)
        if entry.type is EntryType.RESPONSE_RESTARTED:
            fruitless += 1
        elif entry.type is EntryType.RUN_SUSPENDED and failed:
            failed = False  # it wanted to wait, and could not
        elif entry.type not in NOTHING_NEW:
            break
    return int(min(2**fruitless - 1, LONGEST_PAUSE_SECONDS))
