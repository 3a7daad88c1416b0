"""Deliveries in one SQLite file, durable before anybody is told that they were received.

WAL with synchronous=FULL: a commit is on the disk when it returns. The file holds payloads, so only its owner reads it.
The tables that say what became of a delivery stand in the same file, so that one transaction can write both.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from runbooks.domain.errors import LedgerError
from runbooks.domain.instants import instant_from_ns
from runbooks.domain.signal import Delivery, Strength
from tasks.stores._files import make_directory, sync_directory
from tasks.stores._wal import make_wal
from tasks.stores.base import Arrival

BUSY_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.001
SCHEMA = """
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    received_ns INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    headers TEXT NOT NULL,
    strength TEXT NOT NULL,
    signed_ns INTEGER,
    secret TEXT,
    truncated INTEGER NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS delivery_unread ON delivery (seq) WHERE done = 0;
CREATE INDEX IF NOT EXISTS delivery_source ON delivery (source, seq);
"""
"""`seq` is the order of storing; `done` is set, in one transaction with what follows from it, by whoever read it."""

_INSERT = """INSERT INTO delivery
(id, source, received_ns, content_type, headers, strength, signed_ns, secret, truncated, digest, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_COLUMNS = "id, source, received_ns, content_type, headers, strength, signed_ns, truncated, digest, body"


class SqliteSpool:
    """One connection, used by one thread at a time; other processes have their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._told("opened"):
            make_directory(path.parent)
            fresh = not path.exists()
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            make_wal(self._connection, BUSY_SECONDS)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
            if fresh:
                sync_directory(path.parent)

    def append(self, arrivals: Sequence[Arrival]) -> None:
        """Store all of them, in one transaction; durable before return."""
        rows = [_row(arrival) for arrival in arrivals]
        with self._told("written"):
            self._begin()
            try:
                self._connection.executemany(_INSERT, rows)
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        """Take the file for writing. Who reads deliveries writes there too, for milliseconds: so often we look again.

        SQLite's own patience looks again after up to a tenth of a second, which every sender would feel.
        """
        deadline = time.monotonic() + BUSY_SECONDS
        self._connection.execute("PRAGMA busy_timeout = 0")
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_AGAIN_SECONDS)
            else:
                return

    def unread(self, limit: int) -> list[tuple[Delivery, bytes]]:
        """The oldest ones that nobody marked done yet, with their bodies."""
        return self._rows("WHERE done = 0 ORDER BY seq LIMIT ?", limit)

    def read(self, delivery: str) -> tuple[Delivery, bytes] | None:
        """One delivery by its receipt, with its body."""
        found = self._rows("WHERE id = ?", delivery)
        return found[0] if found else None

    def after(self, delivery: str, limit: int) -> list[tuple[Delivery, bytes]]:
        """What was stored after this one, done or not, oldest first; an empty name means from the beginning."""
        since = "WHERE seq > coalesce((SELECT seq FROM delivery WHERE id = ?), 0) ORDER BY seq LIMIT ?"
        return self._rows(since, delivery, limit)

    def waiting(self) -> tuple[int, int | None]:
        """How many are not done, and when the oldest of them came (nanoseconds since 1970)."""
        with self._told("read"):
            (count,) = self._connection.execute("SELECT count(*) FROM delivery WHERE done = 0").fetchone()
            oldest = self._connection.execute(
                "SELECT received_ns FROM delivery WHERE done = 0 ORDER BY seq LIMIT 1"
            ).fetchone()
        return int(count), None if oldest is None else int(oldest[0])

    def last_from(self, source: str) -> int | None:
        """When this source's newest delivery came (nanoseconds since 1970)."""
        with self._told("read"):
            found = self._connection.execute(
                "SELECT received_ns FROM delivery WHERE source = ? ORDER BY seq DESC LIMIT 1", (source,)
            ).fetchone()
        return None if found is None else int(found[0])

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._connection.close()

    def _rows(self, rest: str, *values: str | int) -> list[tuple[Delivery, bytes]]:
        with self._told("read"):
            found = self._connection.execute(f"SELECT {_COLUMNS} FROM delivery {rest}", values).fetchall()  # noqa: S608 - our own words
        return [_delivery(*row) for row in found]

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                raise LedgerError(
                    f"the spool {self.path} could not be {what}: {type(error).__name__}: {error}.",
                    now="what was acknowledged stays; what was to be stored now is not acknowledged.",
                    next_step="see that the disk has room and that quell's user may write there.",
                ) from error


def _row(arrival: Arrival) -> tuple[str | int | bytes | None, ...]:
    headers = orjson.dumps(arrival.headers).decode() if arrival.headers else "[]"
    return (
        *arrival[:4], headers, arrival.strength.value, arrival.signed_ns, arrival.secret, int(arrival.truncated),
        arrival.digest, arrival.body,
    )  # fmt: skip


def _delivery(
    name: str, source: str, received_ns: int, content_type: str, headers: str, strength: str, signed_ns: int | None,
    truncated: int, digest: bytes, body: bytes,
) -> tuple[Delivery, bytes]:  # fmt: skip
    delivery = Delivery(
        id=name, source=source, received_at=instant_from_ns(received_ns), content_type=content_type,
        headers=tuple((key, value) for key, value in orjson.loads(headers)), strength=Strength(strength),
        signed_at=None if signed_ns is None else instant_from_ns(signed_ns), truncated=bool(truncated),
        body_digest="sha256:" + digest.hex(),
    )  # fmt: skip
    return delivery, body
