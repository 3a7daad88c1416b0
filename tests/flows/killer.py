"""Death at a given instant: watches the record and kills the process that holds the response, `-9`, at each boundary."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.ledger import clock
from tests.flows.ground import Ground
from tests.flows.people import until

GLANCE_SECONDS = 0.004


@dataclass(frozen=True)
class Boundary:
    """The first entry of this type; `undo`: the first that belongs to giving something back."""

    kind: EntryType
    undo: bool | None = None

    def reached(self, entry: LedgerEntry) -> bool:
        """Whether this entry is at the boundary."""
        return entry.type is self.kind and (
            self.undo is None or str(entry.body.get("effect", "")).startswith("undo/") is self.undo
        )


@dataclass
class Kill:
    """One kill: why, when, and after how many milliseconds a run was at work again."""

    why: str
    at: Instant
    index: int
    again_after: int | None = None


@dataclass
class Killer:
    """A thread that kills the process of one response at each boundary, once."""

    ground: Ground
    incident: str
    boundaries: list[Boundary]
    kills: list[Kill] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for kill in self.kills:
            kill.again_after = back_after(self.ground, self.incident, kill)

    @property
    def struck(self) -> int:
        """How many processes died."""
        return len({kill.at for kill in self.kills})

    @property
    def left(self) -> list[Boundary]:
        """Boundaries that were not met."""
        met = {kill.why for kill in self.kills}
        return [boundary for boundary in self.boundaries if str(boundary) not in met]

    def _watch(self) -> None:
        store = self.ground.installation.store
        seen, waiting, stopped = 0, list(self.boundaries), False
        while not stopped:  # a last look after it is stopped: the end of a response is a boundary too
            stopped = self._stop.wait(GLANCE_SECONDS)
            for entry in store.entries(self.incident, since=seen):
                seen = entry.index + 1
                met = next((boundary for boundary in waiting if boundary.reached(entry)), None)
                if met is None:
                    continue
                if kill_worker(self.ground, self.incident):
                    self.kills.append(Kill(str(met), clock(), entry.index))
                elif self.kills and entry.at < self.kills[-1].at:  # it got a little further before that kill struck
                    self.kills.append(replace(self.kills[-1], why=str(met)))
                else:
                    continue
                waiting.remove(met)


def kill_worker(ground: Ground, incident: str) -> bool:
    """`kill -9` of the process that holds the response now; whether there was one."""
    held = ground.worker_of(incident)
    if held is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(held[0], signal.SIGKILL)
        return True
    return False


def back_after(ground: Ground, incident: str, kill: Kill) -> int | None:
    """Milliseconds until a run was at work again; None if it never was (nothing was left to do)."""
    later = [e for e in ground.entries(incident, EntryType.RUN_STARTED) if e.at > kill.at]
    return milliseconds_between(kill.at, later[0].at) if later else None


def slowest(kills: list[Kill]) -> float:
    """The longest time without a run after a kill, in seconds."""
    return max((kill.again_after or 0 for kill in kills), default=0) / 1000


def kill_at_random(ground: Ground, incident: str, times: int, instant: Callable[[], float]) -> list[Kill]:
    """Kill the response's process so many times, each after so many seconds of work."""
    kills: list[Kill] = []
    due: float | None = None
    while len(kills) < times and not ground.has(incident, EntryType.INCIDENT_CLOSED):
        ground.help(incident)
        if due is None and ground.worker_of(incident) is not None:
            due = time.monotonic() + instant()
        if due is not None and time.monotonic() >= due:
            index = ground.installation.store.size()
            if kill_worker(ground, incident):
                kills.append(Kill("at random", clock(), index))
                due = None
        time.sleep(GLANCE_SECONDS)
    return kills


@contextlib.contextmanager
def stopped(home: Path, pid: int) -> Iterator[None]:
    """The process sleeps while inside; it goes on whatever happens.

    It is not stopped while it owns the ledger's file: SQLite would keep everybody waiting for it.
    """

    def between_transactions() -> bool:
        os.kill(pid, signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(home / "ledger.db", timeout=0.3, isolation_level=None)) as ledger:
            try:
                ledger.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                return False
            ledger.execute("ROLLBACK")
        return True

    try:
        until(between_transactions, 20, what="it is stopped between two transactions")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
