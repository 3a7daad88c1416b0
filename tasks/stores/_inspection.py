"""The whole log against its own rules: what `check` does, and what start-up does of it."""

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import DBAPIError

from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import EMPTY_ROOT, ChainFault, LedgerEntry, check_entries
from tasks.stores._frontier import Frontier
from tasks.stores._rows import entry_of, forked, row_leaf, unchecked_entry_of
from tasks.stores._schema import LAYOUT, entries, head, metadata

log = logging.getLogger("quell.ledger")

_AT_ONCE = 1000
"""Rows that are fetched together."""


def faults_of(connection: Connection) -> list[ChainFault]:
    """Every fault: unreadable rows, the domain's own rules, and the stored head against all leaves."""
    faults: list[ChainFault] = []
    edge = Frontier()
    last: str | None = None
    if connection.dialect.name == "sqlite":
        connection.connection.driver_connection.text_factory = _any_text  # type: ignore[union-attr]

    def readable() -> Iterator[LedgerEntry]:
        nonlocal last
        query = select(entries).order_by(entries.c.index).execution_options(yield_per=_AT_ONCE)
        with closing(connection.execute(query)) as rows:
            for row in rows:
                last = row.leaf
                edge.append(_leaf_bytes(row.leaf))
                try:
                    yield unchecked_entry_of(row)
                except LedgerError as error:
                    faults.append(ChainFault(index=row.index, what=error.problem))

    faults += check_entries(readable())
    faults += _head_faults(connection.execute(select(head)).all(), edge, last)
    return sorted(faults, key=lambda fault: fault.index)


def _head_faults(rows: Any, edge: Frontier, last: str | None) -> list[ChainFault]:
    if len(rows) != 1 or rows[0].layout != LAYOUT:
        return [ChainFault(index=edge.size, what="the head row is missing, doubled or of another layout")]
    stored, faults = rows[0], []
    if stored.size != edge.size:
        faults.append(f"the head says {stored.size} entries, {edge.size} are there: the end was cut off or invented")
    if (stored.root, stored.frontier, stored.last) != (edge.root(), edge.packed(), last):
        faults.append("the stored head is not the head of these entries: they were changed, moved or replaced")
    return [ChainFault(index=edge.size, what=what) for what in faults]


def _leaf_bytes(leaf: Any) -> bytes:
    """An unreadable leaf still takes its place in the tree, as one that fits nothing."""
    try:
        return bytes.fromhex(leaf.removeprefix("sha256:"))
    except (ValueError, TypeError, AttributeError):
        return bytes(32)


def create(connection: Connection) -> None:
    """Create what is missing. A head row is made only for a log without entries: a lost one is not made up again."""
    metadata.create_all(connection)
    for index in entries.indexes:  # a ledger that is older than the index has the table already
        try:
            with connection.begin_nested():
                index.create(connection, checkfirst=True)
        except DBAPIError as error:  # a role that may only read and add; it is found all the same, only later
            log.warning("the ledger has no index %s, and it could not be made: %s", index.name, error.orig)
    if connection.execute(select(head.c.only)).first() is None and connection.execute(select(entries)).first() is None:
        connection.execute(
            insert(head),
            {"only": 0, "layout": LAYOUT, "size": 0, "frontier": b"", "root": EMPTY_ROOT, "last": None},
        )


def look(connection: Connection) -> None:
    """Whether head and last entry agree, quickly; LedgerError when they do not."""
    newest = connection.execute(select(entries).order_by(entries.c.index.desc()).limit(1)).first()
    last = None if newest is None else entry_of(newest)
    stored = connection.execute(select(head)).first()
    if stored is None or stored.layout != LAYOUT:
        raise forked("the head row is missing or of another layout")
    if stored.size != (0 if last is None else last.index + 1) or stored.last != (last and last.leaf):
        raise forked(f"the head says {stored.size} entries, the last one there is {last.index if last else 'none'}")


def whole(connection: Connection) -> None:
    """Whether every entry has its leaf and all leaves give the head: LedgerError when not. Keeps nothing in memory.

    `faults_of` says everything that is wrong and takes ten times as long; this is what starting can afford.
    """
    edge = Frontier()
    query = select(entries.c.index, entries.c.core, entries.c.leaf).order_by(entries.c.index)
    with closing(connection.execute(query.execution_options(yield_per=_AT_ONCE))) as rows:
        for row in rows:
            if row.index != edge.size:  # type: ignore[comparison-overlap]  # the column of that name
                raise forked(f"entry {edge.size} is missing")
            edge.append(_leaf_bytes(row_leaf(row)))
    found = (LAYOUT, edge.size, edge.packed(), edge.root())
    stored = connection.execute(select(head.c.layout, head.c.size, head.c.frontier, head.c.root)).first()
    if stored is None or tuple(stored) != found:
        raise forked("the stored head is not the head of these entries")


def _any_text(stored: bytes) -> str:
    """Bytes that are no UTF-8 in a column of text: they differ from every entry, and that is then said."""
    return stored.decode(errors="surrogateescape")
