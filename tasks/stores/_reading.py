"""The reads that a response repeats, given straight to the driver.

An incident's chain is not read again while nobody has written. SQLite says whether anybody has, through whichever
connection of whichever process: `PRAGMA data_version` on a connection that only looks (6 µs, where a chain of forty
entries takes 400). PostgreSQL has no such word: there it is read each time.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import Engine, bindparam, select

from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.stores import _claims as claims
from tasks.stores._database import patiently
from tasks.stores._line import Line
from tasks.stores._prepared import Prepared
from tasks.stores._rows import chained, entry_of
from tasks.stores._schema import entries, head
from tasks.stores.base import ClaimRow, LeaseRow

_EVERY = select(entries).order_by(entries.c.index)
_BY_KEY = select(entries).where(entries.c.key == bindparam("wanted_key"))
_OF_INCIDENT = _EVERY.where(entries.c.incident == bindparam("of_incident"))
_SINCE = _EVERY.where(entries.c.index >= bindparam("since_index"))
_OF_TYPE = _SINCE.where(entries.c.type == bindparam("of_type"))
_SEEN = select(entries.c.leaf).where(entries.c.index == bindparam("seen_index")).scalar_subquery().label("seen_leaf")
_HEAD = select(head.c.size, head.c.root, _SEEN)
_MOST_CHAINS = 64


class Reading:
    """What stands. Every entry that is handed out was judged, and every chain verified, since it was last written to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._line = Line(engine)
        self._chains: dict[str, list[LedgerEntry]] = {}
        self._as_of = (0, 0)
        self._by_key, self._of_incident, self._since, self._of_type, self._head, self._claim, self._lease = (
            Prepared(one, engine.dialect)
            for one in (_BY_KEY, _OF_INCIDENT, _SINCE, _OF_TYPE, _HEAD, claims.CLAIM, claims.LEASE)
        )

    def find(self, key: str) -> LedgerEntry | None:
        """The entry under this key."""
        found = self._look(self._by_key, wanted_key=key)
        return entry_of(found[0]) if found else None

    def chain(self, incident: str) -> Sequence[LedgerEntry]:
        """All of one incident, verified; not to be changed."""
        if self._engine.dialect.name != "sqlite":
            return _chain(self._look(self._of_incident, of_incident=incident))
        return self._line.look(lambda cursor: self._unless_known(cursor, incident))

    def _unless_known(self, cursor: Any, incident: str) -> Sequence[LedgerEntry]:
        as_of = self._line.made, cursor.execute("PRAGMA data_version").fetchone()[0]
        if as_of != self._as_of:
            self._chains.clear()
            self._as_of = as_of
        if incident not in self._chains:  # read after the question: never older than its answer
            if len(self._chains) >= _MOST_CHAINS:
                self._chains.clear()
            self._chains[incident] = _chain(self._of_incident.all(cursor, {"of_incident": incident}))
        return self._chains[incident]

    def of_type(self, kind: EntryType, since: int) -> list[LedgerEntry]:
        """All of one type, from this index."""
        return [entry_of(row) for row in self._look(self._of_type, since_index=since, of_type=kind.value)]

    def since(self, index: int) -> list[LedgerEntry]:
        """All from this index."""
        return [entry_of(row) for row in self._look(self._since, since_index=index)]

    def head(self, seen: int) -> Any:
        """Size and root, and the leaf that stands at the index `seen`."""
        return self._look(self._head, seen_index=seen)[0]

    def claim(self, effect_key: str) -> ClaimRow | None:
        """The newest claim on this effect."""
        return claims.claim_in(next(iter(self._look(self._claim, of_effect=effect_key)), None))

    def lease(self, name: str) -> LeaseRow | None:
        """Who has this duty; None when nobody took it or it was given back."""
        return claims.lease_in(next(iter(self._look(self._lease, of_duty=name)), None))

    def close(self) -> None:
        """Let the connection go; the next look makes another."""
        self._line.close()

    def _look(self, statement: Prepared, **values: str | int) -> list[Any]:
        """One statement sees one moment without a transaction around it."""

        def attempt() -> list[Any]:
            with closing(self._engine.raw_connection()) as connection:
                return statement.all(connection.cursor(), values)

        return patiently(self._engine, attempt)


def _chain(rows: Sequence[Any]) -> list[LedgerEntry]:
    found = [entry_of(row) for row in rows]
    chained(found)
    return found
