"""Connections to the ledger's database: durable, serialised when writing, patient when locked.

A writing transaction owns the log from its first statement: BEGIN IMMEDIATE on SQLite, an advisory lock that ends
with the transaction on PostgreSQL. A reading one sees one moment throughout. Writers read under READ COMMITTED, so
that what they read after they got the lock is what the writer before them left.
"""

import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from runbooks.domain.errors import LedgerError

PATIENCE_SECONDS = 30.0
"""How long a locked database is tried again before the caller hears of it."""

RECONNECT_SECONDS = 5.0
"""The same for a PostgreSQL server that restarts, fails over or does not answer."""

_PAUSE_SECONDS = 0.02
_LOCK = 0x7175656C6C  # "quell"
LOCK_LOG = {"sqlite": "BEGIN IMMEDIATE", "postgresql": f"SELECT pg_advisory_xact_lock({_LOCK})"}
"""The first statement of a writing transaction."""
_Answer = TypeVar("_Answer")


def connect(url: str) -> Engine:
    """An engine for the ledger at this URL; LedgerError when the URL is of a kind that cannot hold a ledger."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _wrong_url(f"{url!r} is not a database URL") from error
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return _sqlite(parsed)
    if kind == "postgresql":
        return _postgresql(parsed)
    raise _wrong_url(f"the ledger is kept in SQLite or PostgreSQL, not in {kind}")


def transact(engine: Engine, work: Callable[[Connection], _Answer], *, reading: bool = False) -> _Answer:
    """Run `work` in one transaction; repeated, and failing, as `patiently` says."""

    def attempt() -> _Answer:
        with engine.connect() as connection:
            settled = _as_reader(connection) if reading else connection
            with settled.begin():
                return work(settled)

    return patiently(engine, attempt)


def patiently(engine: Engine, attempt: Callable[[], _Answer]) -> _Answer:
    """Repeat while the database is locked, and for a while when it is out of reach.

    Repeating is safe because every write is idempotent under its key, or takes a new fence. Raises LedgerError when
    patience ends, or at once for anything that waiting does not cure.
    """
    driver: Any = engine.dialect.loaded_dbapi
    begun = time.monotonic()
    while True:
        try:
            return attempt()
        except (DBAPIError, driver.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if time.monotonic() - begun > _patience(driver, cause):
                raise LedgerError(
                    f"the ledger's database did not do its part: {cause}.",
                    now="the entry is not acknowledged; whatever was written before stands.",
                    next_step="see that the database runs, has space and is not locked, then repeat: a repeated entry is written once.",
                ) from error
        except SQLAlchemyError as error:
            raise LedgerError(
                f"the ledger's database cannot be used: {error}.",
                now="nothing was written.",
                next_step="see that the database runs and that its URL is right.",
            ) from error
        time.sleep(_PAUSE_SECONDS)


def _patience(driver: Any, error: BaseException | None) -> float:
    """Seconds after which this error is final; negative for one that waiting does not cure."""
    if not isinstance(error, driver.OperationalError):
        return -1.0
    if driver.__name__ == "sqlite3":
        return PATIENCE_SECONDS if "locked" in str(error) else -1.0
    return RECONNECT_SECONDS


def _as_reader(connection: Connection) -> Connection:
    if connection.dialect.name == "postgresql":
        return connection.execution_options(quell_reading=True, isolation_level="REPEATABLE READ")
    return connection.execution_options(quell_reading=True)


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise _wrong_url("a ledger needs a file: one in memory is not durable")
    path = Path(url.database)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():  # to close a file that this process has open in SQLite would end SQLite's own locks on it
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    engine = create_engine(url, connect_args={"timeout": PATIENCE_SECONDS})

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "fullfsync=ON",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("quell_reading")
        connection.exec_driver_sql("BEGIN" if reading else LOCK_LOG["sqlite"])

    return _safe_after_fork(engine)


def _postgresql(url: URL) -> Engine:
    engine = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="READ COMMITTED")

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            if cursor.execute("SHOW synchronous_commit").fetchone()[0] == "off":
                cursor.execute("SET synchronous_commit TO on")
            durable = cursor.execute("SHOW fsync").fetchone()[0]
        connection.commit()
        if durable != "on":
            raise _wrong_url("the PostgreSQL server runs with fsync off: it would lose acknowledged entries")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("quell_reading"):
            connection.exec_driver_sql(LOCK_LOG["postgresql"])

    return _safe_after_fork(engine)


def _safe_after_fork(engine: Engine) -> Engine:
    """A child process must not use its parent's connections: SQLite would lose its locks, PostgreSQL its protocol."""
    seen = weakref.ref(engine)

    def forget() -> None:
        mine = seen()
        if mine is not None:
            mine.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
    return engine


def _wrong_url(problem: str) -> LedgerError:
    return LedgerError(
        f"{problem}.",
        now="nothing was written.",
        next_step="give a URL like sqlite:////var/lib/quell/ledger.db or postgresql://user@host/database.",
    )
