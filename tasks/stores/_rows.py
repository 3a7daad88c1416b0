"""Between a row of the database and an entry of the ledger, believing nothing."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import LedgerEntry, leaf_hash
from runbooks.domain.value import Json

LARGEST_CORE = 65_535
"""Bytes; the limit of an entry in a C2SP tlog-tiles bundle. Entries hold digests, payloads belong into the vault."""

_REPEATED = ("type", "at", "incident", "incident_seq", "incident_prev", "flow_run_id")


def row_of(entry: LedgerEntry) -> dict[str, Json]:
    """The row of a new entry; LedgerError when its core is too large."""
    core = entry.core()
    if len(core) > LARGEST_CORE:
        raise LedgerError(
            f"an entry {entry.type} of {len(core)} bytes was to be written; the limit is {LARGEST_CORE}.",
            now="the entry was not written.",
            next_step="put the payload into the vault and its digest into the entry.",
        )
    row = {name: getattr(entry, name) for name in ("index", "key", "leaf", *_REPEATED)}
    return row | {"type": entry.type.value, "core": core}


def entry_of(row: Any, prefix: str = "") -> LedgerEntry:
    """The entry of a row; LedgerError naming the index when row, core and leaf do not agree."""
    index: int = getattr(row, f"{prefix}index")
    core = bytes(getattr(row, f"{prefix}core"))
    leaf: str = getattr(row, f"{prefix}leaf")
    if leaf_hash(core) != leaf:
        raise forked(f"entry {index} does not match its leaf hash: it was changed")
    return _believed(row, prefix, index, core, leaf)


def unchecked_entry_of(row: Any) -> LedgerEntry:
    """The same without comparing the leaf, for a check that goes on to report it; LedgerError when unreadable."""
    return _believed(row, "", row.index, bytes(row.core), row.leaf)


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


def _believed(row: Any, prefix: str, index: int, core: bytes, leaf: str) -> LedgerEntry:
    try:
        entry = LedgerEntry(**json.loads(core), index=index, key=getattr(row, f"{prefix}key"), leaf=leaf)
    except (ValueError, TypeError, ValidationError) as error:
        raise forked(f"entry {index} cannot be read: it was changed") from error
    for name in _REPEATED:
        if getattr(row, prefix + name) != getattr(entry, name):
            raise forked(f"the column {name} of entry {index} differs from the entry itself")
    return entry
