"""One connection of a process that is kept open, shared by its threads one after the other.

A pool's hand-over costs as much as the statements of an append, so appending does without.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Engine

from tasks.stores._database import LOCK_LOG, patiently

_Answer = TypeVar("_Answer")
CLOSE_SECONDS = 5.0
"""For whoever is at work; after that the connection ends with the process."""
_not_ours: list[Any] = []
"""Connections of the process that this one was forked from: kept so that nothing here ever closes them."""


class Line:
    """Runs writing transactions, or looks, on a connection of its own; after a fork the child makes itself another."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._connection: Any = None
        self.made = 0
        """How many connections it made so far: what one of them said is no word of the next."""
        seen = weakref.ref(self)

        def forget() -> None:
            line = seen()
            if line is not None:
                line.forget()

        os.register_at_fork(after_in_child=forget)

    def transact(self, work: Callable[[Any], _Answer]) -> _Answer:
        """Run `work` with the driver's cursor in one transaction that owns the log; repeated as `patiently` says."""

        def owning(cursor: Any) -> _Answer:
            cursor.execute(LOCK_LOG[self._engine.dialect.name])
            answer = work(cursor)
            self._connection.commit()
            return answer

        return self.look(owning)

    def look(self, work: Callable[[Any], _Answer]) -> _Answer:
        """Run `work` with the driver's cursor, and no transaction around it; repeated as `patiently` says.

        On PostgreSQL the driver would begin one and leave it open: there only `transact` is asked.
        """
        return patiently(self._engine, lambda: self._attempt(work))

    def _attempt(self, work: Callable[[Any], _Answer]) -> _Answer:
        with self._turn:
            if self._connection is None:
                self.made += 1
                self._connection = self._engine.raw_connection()
                self._connection.detach()
            done = False
            try:
                answer = work(self._connection.cursor())
                done = True
            finally:
                if not done:
                    self._drop()  # which rolls back what was not committed
            return answer

    def forget(self) -> None:
        """What a child does first: it must not use, and not close, what is its parent's."""
        _not_ours.append(self._connection)
        self._turn, self._connection = threading.Lock(), None

    def close(self) -> None:
        """Give the connection up, once nobody is at work on it; the next one makes another.

        SQLite does not survive that a connection is closed under a thread that reads on it (signal 11).
        """
        if self._turn.acquire(timeout=CLOSE_SECONDS):
            try:
                self._drop()
            finally:
                self._turn.release()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
