"""The ledger in a database: one code for SQLite and PostgreSQL.

An append is one transaction of three statements: read the place (head, this key, this incident's last entry), insert
the entry, move the head. The database serialises writers, so index, chains and head agree without any lock of ours;
the locks here only let the threads of a process share their two lines to it.
"""

import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from runbooks.domain.instants import Instant
from runbooks.domain.ledger import ChainFault, Draft, EntryType, LedgerEntry
from runbooks.domain.value import Digest
from tasks.stores import _claims as claims
from tasks.stores import _inspection as inspection
from tasks.stores._database import connect, transact
from tasks.stores._frontier import Frontier
from tasks.stores._line import Line
from tasks.stores._prepared import Prepared
from tasks.stores._reading import Reading
from tasks.stores._rows import edge_of, entry_of, forked, row_of
from tasks.stores._schema import LAYOUT, entries, head
from tasks.stores.base import ClaimRow, LeaseRow

_before = entries.alias("before")
_LAST_OF_INCIDENT = (
    select(entries.c.index)
    .where(entries.c.incident == bindparam("of_incident"))
    .order_by(entries.c.incident_seq.desc())
    .limit(1)
    .scalar_subquery()
)

_PLACE = (
    select(
        head.c.layout,
        head.c.size,
        head.c.frontier,
        head.c.root,
        head.c.last,
        select(entries.c.leaf).where(entries.c.index == head.c.size - 1).scalar_subquery().label("stands"),
        select(entries.c.leaf).where(entries.c.index == bindparam("seen_index")).scalar_subquery().label("seen_leaf"),
        select(entries.c.index).where(entries.c.key == bindparam("wanted_key")).scalar_subquery().label("old"),
        _before.c.incident_seq,
        _before.c.leaf.label("incident_leaf"),
    )
    .select_from(head)
    .outerjoin(_before, _before.c.index == _LAST_OF_INCIDENT)
)
_PAGE, _LEAVES = 256, 16_384
"""Rows that are read at once, of entries and of leaves."""
_MOVED = ("size", "frontier", "root", "last")


def open_sql(url: str, *, even_forked: bool = False) -> "SqlLedger":
    """The ledger in this database, its tables made when missing; LedgerError when it cannot go on."""
    engine = connect(url)
    with ExitStack() as on_failure:
        on_failure.callback(engine.dispose)
        transact(engine, inspection.create)
        if not even_forked:
            transact(engine, inspection.look, reading=True)
        on_failure.pop_all()
    return SqlLedger(engine)


class SqlLedger:
    """A `LedgerStore`. Cheap to share between threads; after a fork the child gets connections of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: tuple[int, Digest | None] = (-1, None)
        """Index and leaf of the newest entry that this process has seen: as long as it stands, nothing was rolled back."""
        self._sound: tuple[int, bytes, Digest] | None = None
        """Size, edge and root that this process computed from one another: the same need not be computed again."""
        self._line = Line(engine)
        self._reading = Reading(engine)
        self._place = Prepared(_PLACE, engine.dialect)
        self._old = Prepared(select(entries).where(entries.c.index == bindparam("old")), engine.dialect)
        self._insert = Prepared(insert(entries), engine.dialect, tuple(entries.c.keys()))
        self._move_head = Prepared(update(head).where(head.c.only == 0), engine.dialect, _MOVED)
        weakref.finalize(self, engine.dispose)
        weakref.finalize(self, self._line.close)
        weakref.finalize(self, self._reading.close)

    def append(self, draft: Draft, at: Instant) -> LedgerEntry:
        return self.append_all((draft,), at)[0]

    def append_all(self, drafts: Sequence[Draft], at: Instant) -> list[LedgerEntry]:
        return self._saw(self._line.transact(lambda cursor: self._write(cursor, drafts, at)))

    def find(self, key: str) -> LedgerEntry | None:
        return self._reading.find(key)

    def entries(
        self,
        incident: str | None = None,
        *,
        since: int = 0,
        types: Collection[EntryType] = (),
        flow_run_id: str | None = None,
    ) -> list[LedgerEntry]:
        """Of one incident, its whole chain is verified first, so that an entry taken out is noticed here."""
        if incident is not None:
            found = self._reading.chain(incident)
        elif len(types) == 1:
            found = self._reading.of_type(next(iter(types)), since)
        elif not types and flow_run_id is None:
            found = self._reading.since(since)
        else:
            query = select(entries).order_by(entries.c.index).where(entries.c.index >= since)
            if types:
                query = query.where(entries.c.type.in_([kind.value for kind in types]))
            if flow_run_id is not None:
                query = query.where(entries.c.flow_run_id == flow_run_id)
            found = [entry_of(row) for row in self._read(query)]
        return [
            entry
            for entry in found
            if entry.index >= since
            and (not types or entry.type in types)
            and (flow_run_id is None or entry.flow_run_id == flow_run_id)
        ]

    def walk(
        self, *, since: int = 0, types: Collection[EntryType] = (), backwards: bool = False
    ) -> Iterator[LedgerEntry]:
        index = entries.c.index
        query = select(entries).order_by(index.desc() if backwards else index).where(index >= since).limit(_PAGE)
        if types:
            query = query.where(entries.c.type.in_([kind.value for kind in types]))
        page = query
        while found := [entry_of(row) for row in self._read(page)]:
            yield from found
            page = query.where(index < found[-1].index if backwards else index > found[-1].index)

    def leaves(self, size: int) -> bytes:
        packed, query = bytearray(), select(entries.c.leaf).order_by(entries.c.index)
        for start in range(0, size, _LEAVES):
            page = query.where(entries.c.index >= start, entries.c.index < min(start + _LEAVES, size))
            packed += bytes.fromhex("".join(str(row.leaf).removeprefix("sha256:") for row in self._read(page)))
        return bytes(packed)

    def incidents(self) -> list[str]:
        query = select(entries.c.incident).where(entries.c.incident_seq == 0).order_by(entries.c.index)
        return [row.incident for row in self._read(query)]

    def latest(self) -> Instant | None:
        found: Instant | None = self._read(select(func.max(entries.c.at)))[0][0]
        return found

    def size(self) -> int:
        return self.head()[0]

    def head(self) -> tuple[int, Digest]:
        index, leaf = self._seen
        row = self._reading.head(index)
        _not_rolled_back(index, leaf, row)
        return row.size, row.root

    def check(self) -> list[ChainFault]:
        return transact(self._engine, inspection.faults_of, reading=True)

    def demand_whole(self) -> None:
        transact(self._engine, inspection.whole, reading=True)

    def take_claim(
        self,
        effect_key: str,
        *,
        incident: str,
        grant: Digest,
        holder: str,
        now: Instant,
        lease_seconds: int,
        draft: Callable[[int, bool], Draft],
        gone: Callable[[str], bool],
    ) -> ClaimRow | None:
        def work(connection: Connection) -> ClaimRow | None:
            row = claims.take_claim(
                connection, effect_key, incident=incident, grant=grant, holder=holder, now=now,
                lease_seconds=lease_seconds, gone=gone,
            )  # fmt: skip
            if row is not None:
                written.extend(self._write(connection.connection.cursor(), (draft(row.fence, row.resumed),), now))
            return row

        written: list[LedgerEntry] = []
        taken = transact(self._engine, work)
        self._saw(written)
        return taken

    def claim_of(self, effect_key: str) -> ClaimRow | None:
        return self._reading.claim(effect_key)

    def take_lease(
        self, name: str, *, holder: str, now: Instant, seconds: int, gone: Callable[[str], bool]
    ) -> int | None:
        return transact(
            self._engine, lambda c: claims.take_lease(c, name, holder=holder, now=now, seconds=seconds, gone=gone)
        )

    def renew_lease(self, name: str, holder: str, fence: int, *, now: Instant, seconds: int) -> bool:
        return transact(self._engine, lambda c: claims.renew_lease(c, name, holder, fence, now=now, seconds=seconds))

    def release_lease(self, name: str, holder: str, fence: int) -> None:
        transact(self._engine, lambda c: claims.release_lease(c, name, holder, fence))

    def lease_of(self, name: str) -> LeaseRow | None:
        return self._reading.lease(name)

    def close(self) -> None:
        self._line.close()
        self._reading.close()
        self._engine.dispose()

    def _read(self, query: Any) -> Sequence[Any]:
        return transact(self._engine, lambda connection: connection.execute(query).all(), reading=True)

    def _write(self, cursor: Any, drafts: Sequence[Draft], at: Instant) -> list[LedgerEntry]:
        index, leaf = self._seen
        written: list[LedgerEntry] = []
        edge: Frontier | None = None
        last: LedgerEntry | None = None
        for draft in drafts:
            asked = {"wanted_key": draft.key, "of_incident": draft.incident, "seen_index": index}
            place = self._place.run(cursor, asked)
            if place is None:
                raise forked("the head row is gone")
            if edge is None:
                _not_rolled_back(index, leaf, place)
                edge = self._edge_of(place)
            if place.old is not None:
                written.append(entry_of(self._old.run(cursor, {"old": place.old})))
                continue
            last, core = LedgerEntry.with_core(
                draft,
                index=edge.size,
                at=at,
                incident_seq=None if draft.incident is None else _after(place.incident_seq),
                incident_prev=place.incident_leaf,
            )
            self._insert.run(cursor, row_of(last, core))
            edge.append(bytes.fromhex(last.leaf.removeprefix("sha256:")))
            written.append(last)
        if edge is not None and last is not None:
            self._sound = edge.size, edge.packed(), edge.root()
            self._move_head.run(cursor, dict(zip(_MOVED, (*self._sound, last.leaf), strict=True)))
        return written

    def _edge_of(self, place: Any) -> Frontier:
        """The stored right edge; LedgerError when head, edge and last entry do not agree."""
        if place.layout != LAYOUT:
            raise forked(f"its layout is {place.layout}, this program writes {LAYOUT}")
        if place.stands != place.last:
            raise forked(f"the head says {place.size} entries, the last of them is missing or another one")
        edge = edge_of(place.size, place.frontier)
        if (place.size, place.frontier, place.root) != self._sound and edge.root() != place.root:
            raise forked("the stored head does not match its own frontier")
        return edge

    def _saw(self, written: list[LedgerEntry]) -> list[LedgerEntry]:
        newest = max(written, key=lambda entry: entry.index, default=None)
        if newest is not None and newest.index > self._seen[0]:
            self._seen = (newest.index, newest.leaf)
        return written


def _not_rolled_back(index: int, leaf: Digest | None, row: Any) -> None:
    if leaf is not None and row.seen_leaf != leaf:
        raise forked(f"entry {index} is gone or another one than this process saw: the database was rolled back")


def _after(sequence: int | None) -> int:
    return 0 if sequence is None else sequence + 1
