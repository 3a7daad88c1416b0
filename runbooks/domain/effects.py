"""What became of one effect, by the entries of its incident: whoever must know whether it may be done again asks here.

1. A sending has a certain outcome when its own claim (the same fence) is on record as failed, or the effect has a
   receipt. As long as one sending has none, the effect may have arrived.
2. An effect is certainly not done when it has no receipt, cannot have arrived, and nobody is at it: its newest claim is
   on record as failed, or the process that made it is certainly dead and left no word. A lease that is over is not
   enough: its holder may be asleep on the way.
3. What is on record as unknown under its newest claim is not certain, whatever was sent.
"""

from collections.abc import Iterable

from runbooks.domain.ledger import EntryType, LedgerEntry

OUTCOMES = (
    EntryType.EFFECT_SENDING, EntryType.EFFECT_FAILED, EntryType.EFFECT_UNKNOWN, EntryType.EFFECT_APPLIED,
    EntryType.EFFECT_UNDONE,
)  # fmt: skip
"""The kinds of entry that these questions need; entries of other kinds are passed over."""
_DONE = (EntryType.EFFECT_APPLIED, EntryType.EFFECT_UNDONE)


def may_have_arrived(entries: Iterable[LedgerEntry], effect_key: str, *, besides: int | None = None) -> bool:
    """Rule 1. `besides`: the fence of a claim whose own sendings are not looked at."""
    mine = _of(entries, effect_key)
    if any(entry.type in _DONE for entry in mine):
        return False
    failed = {entry.body.get("fence") for entry in mine if entry.type is EntryType.EFFECT_FAILED}
    sent = {entry.body.get("fence") for entry in mine if entry.type is EntryType.EFFECT_SENDING}
    return bool(sent - failed - {besides})


def is_not_done(entries: Iterable[LedgerEntry], effect_key: str, fence: int, *, dead: bool = False) -> bool:
    """Rules 2 and 3. `fence`: of the newest claim; `dead`: its holder is certainly dead."""
    mine = _of(entries, effect_key)
    if any(entry.type in _DONE for entry in mine) or may_have_arrived(mine, effect_key):
        return False
    said = {entry.type for entry in mine if entry.body.get("fence") == fence}
    return EntryType.EFFECT_FAILED in said or (dead and EntryType.EFFECT_UNKNOWN not in said)


def _of(entries: Iterable[LedgerEntry], effect_key: str) -> list[LedgerEntry]:
    return [entry for entry in entries if entry.type in OUTCOMES and entry.body.get("effect") == effect_key]
