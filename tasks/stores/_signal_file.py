"""The connection to the file of signals, and its tables. The spool's own table stands in the same file."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from runbooks.domain.errors import LedgerError
from tasks.stores._wal import make_wal

BUSY_SECONDS = 30.0
LAYOUT = 2
_Answer = TypeVar("_Answer")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reading(
  delivery TEXT PRIMARY KEY, read_at TEXT NOT NULL, signals INTEGER NOT NULL, defect TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reading_defect ON reading(read_at) WHERE defect <> '';
CREATE TABLE IF NOT EXISTS signal(
  seq INTEGER PRIMARY KEY, delivery TEXT NOT NULL, source TEXT NOT NULL, event_key TEXT NOT NULL, mapping TEXT NOT NULL,
  key TEXT NOT NULL, received_at TEXT NOT NULL, verdict TEXT NOT NULL, incident TEXT, quiet TEXT, because TEXT NOT NULL,
  signal BLOB NOT NULL, classified BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_event ON signal(source, event_key);
CREATE INDEX IF NOT EXISTS signal_incident ON signal(incident, seq);
CREATE INDEX IF NOT EXISTS signal_delivery ON signal(delivery);
CREATE INDEX IF NOT EXISTS signal_key ON signal(key, received_at);
CREATE INDEX IF NOT EXISTS signal_quiet ON signal(quiet) WHERE quiet IS NOT NULL;
CREATE TABLE IF NOT EXISTS alert(
  source TEXT NOT NULL, alert TEXT NOT NULL, state TEXT NOT NULL, at TEXT NOT NULL, incident TEXT,
  PRIMARY KEY (source, alert)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alert_incident ON alert(incident);
CREATE TABLE IF NOT EXISTS incident(
  id TEXT PRIMARY KEY, key TEXT NOT NULL, standing TEXT NOT NULL, at_once INTEGER NOT NULL, severity TEXT NOT NULL,
  opened_at TEXT NOT NULL, last_signal_at TEXT NOT NULL, ended_at TEXT, made_at TEXT NOT NULL, system TEXT NOT NULL,
  signals INTEGER NOT NULL, noted INTEGER NOT NULL DEFAULT 0, recurrence_of TEXT, storm TEXT) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS one_open ON incident(key) WHERE standing = 'open';
CREATE INDEX IF NOT EXISTS incident_key ON incident(key, opened_at);
CREATE INDEX IF NOT EXISTS incident_made ON incident(made_at);
CREATE TABLE IF NOT EXISTS reached(key TEXT NOT NULL, incident TEXT NOT NULL, PRIMARY KEY (key, incident)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reached_incident ON reached(incident);
CREATE TABLE IF NOT EXISTS outbox(
  seq INTEGER PRIMARY KEY, incident TEXT NOT NULL UNIQUE, rank INTEGER NOT NULL, draft BLOB NOT NULL,
  made_at TEXT NOT NULL, opened_at TEXT, started_at TEXT, run TEXT, tries INTEGER NOT NULL DEFAULT 0,
  problem TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox(tries, rank, seq) WHERE started_at IS NULL;
CREATE TABLE IF NOT EXISTS worse(incident TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quiet(id TEXT PRIMARY KEY, until TEXT NOT NULL, over INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class SignalFile:
    """One connection, for one thread. What is committed survives kill -9 and power loss."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._base = self._guarded(self._connect)

    def _connect(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        make_wal(base, BUSY_SECONDS)
        base.execute("PRAGMA synchronous = FULL")
        if base.execute("PRAGMA user_version").fetchone()[0] < LAYOUT:
            base.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {LAYOUT};COMMIT;")
        return base

    def close(self) -> None:
        """Let the file go."""
        self._base.close()

    def _guarded(self, work: Callable[[], _Answer]) -> _Answer:
        try:
            return work()
        except sqlite3.Error as error:
            raise LedgerError(
                f"the file of signals did not do what was asked: {error}.",
                now="what was acknowledged is in the spool; nothing of this step was kept.",
                next_step=f"look at the disk of {self._path}; signals are taken in as soon as it works.",
            ) from error

    @contextmanager
    def writing(self) -> Iterator[Self]:
        """One transaction that owns the file from its first statement; whatever is raised undoes all of it."""
        self._guarded(lambda: self._base.execute("BEGIN IMMEDIATE"))
        try:
            yield self
            self._guarded(lambda: self._base.execute("COMMIT"))
        finally:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")

    def _all(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return self._guarded(lambda: self._base.execute(statement, values).fetchall())

    def _do(self, statement: str, *values: object) -> int:
        return self._guarded(lambda: self._base.execute(statement, values).rowcount)


def is_made(path: Path) -> bool:
    """Whether somebody took signals in here; the spool of a new installation stands in the same file before."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as base:
            return bool(base.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error:
        return True  # whoever opens it is told what is wrong with it


def as_bytes(value: object) -> bytes:
    """What a column of bytes holds."""
    return value if isinstance(value, bytes) else str(value).encode()
