"""The book of effects: every call of a tool, done or refused, in the order in which it happened. Rows never change."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from examples.support_agent.layout import Frozen

Outcome = Literal["done", "refused", "replayed"]

SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS call (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, tool TEXT NOT NULL, arguments TEXT NOT NULL,
  subject TEXT, jti TEXT, outcome TEXT NOT NULL, reason TEXT, moved_cents INTEGER NOT NULL,
  canary INTEGER NOT NULL, trial INTEGER NOT NULL, trial_id TEXT, trace_id TEXT, idempotency_key TEXT, result TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS once ON call (subject, idempotency_key)
  WHERE outcome = 'done' AND idempotency_key IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON call BEGIN SELECT raise(ABORT, 'the book is append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON call BEGIN SELECT raise(ABORT, 'the book is append-only'); END;
"""


class Entry(Frozen):
    """One call, before it has a place in the book.

    ``moved_cents`` is the money that really moved: 0 for canaries, refusals and replays. ``replayed`` means that an
    earlier call with the same idempotency key had been done and its result was given again.
    """

    tool: str
    arguments: dict[str, Any]
    subject: str | None = None
    jti: str | None = None
    outcome: Outcome
    reason: str | None = None
    moved_cents: int = 0
    canary: bool = False
    trial: bool = False
    trial_id: str | None = None
    trace_id: str | None = None
    idempotency_key: str | None = None
    result: dict[str, Any] | None = None


class Row(Entry):
    """One call in the book; ``at`` is UTC with nanoseconds."""

    seq: int
    at: str


def utc_now() -> str:
    """Now in UTC, ISO 8601 with nine decimals."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


COLUMNS = (*(name for name in Row.model_fields if name not in ("seq", "at")), "seq", "at")


class Book:
    """Append and read. Appends are durable when the call returns; one writing process, any number of readers."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(SCHEMA)

    def append(self, entry: Entry) -> int:
        """Write ``entry`` down and return its number."""
        values = entry.model_dump()
        values["arguments"] = json.dumps(entry.arguments)
        values["result"] = None if entry.result is None else json.dumps(entry.result)
        values["at"] = utc_now()
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        cursor = self._connection.execute(f"INSERT INTO call ({names}) VALUES ({marks})", values)  # noqa: S608 - names are our own
        if cursor.lastrowid is None:
            raise RuntimeError("expected a row number from SQLite after an insert, found none")
        return cursor.lastrowid

    def since(self, seq: int) -> list[Row]:
        """All rows after number ``seq``, oldest first."""
        return self._rows("seq > ? ORDER BY seq", (seq,))

    def done(self, subject: str, idempotency_key: str) -> Row | None:
        """The call that already did what ``idempotency_key`` stands for."""
        rows = self._rows("subject = ? AND idempotency_key = ? AND outcome = 'done'", (subject, idempotency_key))
        return rows[0] if rows else None

    def _rows(self, condition: str, values: Sequence[object]) -> list[Row]:
        query = f"SELECT {', '.join(COLUMNS)} FROM call WHERE {condition}"  # noqa: S608 - the condition is our own
        return [_row(dict(zip(COLUMNS, row, strict=True))) for row in self._connection.execute(query, values)]


def _row(values: dict[str, Any]) -> Row:
    values["arguments"] = json.loads(values["arguments"])
    values["result"] = None if values["result"] is None else json.loads(values["result"])
    return Row(**values)
