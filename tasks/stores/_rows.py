"""Between a row of the database and an entry of the ledger, believing nothing."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import LedgerEntry, leaf_hash
from runbooks.domain.value import Json
from tasks.stores._frontier import Frontier

LARGEST_CORE = 65_535
"""Bytes; the limit of an entry in a C2SP tlog-tiles bundle. Entries hold digests, payloads belong into the vault."""

_REPEATED = ("type", "at", "incident", "incident_seq", "incident_prev", "flow_run_id")


def row_of(entry: LedgerEntry, core: bytes) -> dict[str, Json]:
    """The row of a new entry; LedgerError when its core is too large."""
    if len(core) > LARGEST_CORE:
        raise LedgerError(
            f"an entry {entry.type} of {len(core)} bytes was to be written; the limit is {LARGEST_CORE}.",
            now="the entry was not written.",
            next_step="put the payload into the vault and its digest into the entry.",
        )
    row = {name: getattr(entry, name) for name in ("index", "key", "leaf", *_REPEATED)}
    return row | {"type": entry.type.value, "core": core}


def entry_of(row: Any) -> LedgerEntry:
    """The entry of a row; LedgerError naming the index when row, core and leaf do not agree.

    A row that this process has judged already, byte for byte, is not judged again: most reads meet the same ones.
    """
    seen = tuple(row)
    known = _judged.get(row.index)
    if known is not None and known[0] == seen:
        return known[1]
    row_leaf(row)
    entry = unchecked_entry_of(row)
    if len(_judged) >= _MOST_JUDGED:
        _judged.clear()
    _judged[row.index] = (seen, entry)
    return entry


_MOST_JUDGED = 2048
_judged: dict[int, tuple[tuple[Any, ...], LedgerEntry]] = {}


def row_leaf(row: Any) -> str:
    """The leaf of a row; LedgerError naming the index when it is not the leaf of the core beside it."""
    leaf: str = row.leaf
    if leaf_hash(_core(row)) != leaf:
        raise forked(f"entry {row.index} does not match its leaf hash: it was changed")
    return leaf


def unchecked_entry_of(row: Any) -> LedgerEntry:
    """The same without comparing the leaf, for a check that goes on to report it; LedgerError when unreadable."""
    try:
        entry = LedgerEntry(**json.loads(_core(row)), index=row.index, key=row.key, leaf=row.leaf)
    except (ValueError, TypeError, ValidationError) as error:
        raise forked(f"entry {row.index} cannot be read: it was changed") from error
    for name in _REPEATED:
        if getattr(row, name) != getattr(entry, name):
            raise forked(f"the column {name} of entry {row.index} differs from the entry itself")
    return entry


def _core(row: Any) -> bytes:
    """SQLite keeps what it is given, whatever the column is for: text in place of bytes is no core."""
    if isinstance(row.core, str):
        raise forked(f"the core of entry {row.index} is text, not bytes: it was changed")
    return bytes(row.core)


def edge_of(size: Any, frontier: Any) -> Frontier:
    """The right edge as the head row has it; LedgerError when it cannot be the edge of a tree of this size."""
    try:
        return Frontier(size, bytes(frontier))
    except (ValueError, TypeError, AttributeError) as error:
        raise forked(f"the stored head is damaged: no right edge of a tree of {size} leaves") from error


def chained(entries: Sequence[LedgerEntry]) -> None:
    """LedgerError when these entries are not one incident's whole chain from its start."""
    previous: LedgerEntry | None = None
    for position, entry in enumerate(entries):
        if entry.incident_seq != position or entry.incident_prev != (previous.leaf if previous else None):
            raise forked(f"the chain of {entry.incident} is broken before entry {entry.index}: an entry was taken out")
        previous = entry


def forked(problem: str) -> LedgerError:
    """The error of a record that contradicts itself."""
    return LedgerError(
        f"the ledger contradicts itself: {problem}.",
        now="nothing was written; the ledger refuses to go on from here.",
        next_step="keep a copy of the database as it is, compare it with the last anchored checkpoint, and have a second person restore it.",
    )
