"""The short way from the dispatcher to the worker of the same home: a new response begins without asking the engine twice.

1. The dispatcher asks whether there is room; the worker keeps a place free for it.
2. The dispatcher creates the run, as one that is at work already, and hands it over as the engine told it.
3. The worker examines it like any other and starts it. What it refuses to take, the dispatcher puts into the queue.
4. Nobody there, or no room: the run waits in the queue from the beginning, where every worker finds it.
5. No answer: whether it was taken shows in the record, 20 s later (`tasks/starting.py`); only one that
   nobody took is put into the queue. A dispatcher that dies in between leaves it to the keeper (40 s).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, Self
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from flows.doors.listing import POOL
from flows.doors.worker_line import LOOK, NO, ROOM, TAKEN, WAKE, YES, socket_of

PATIENCE_SECONDS = 1.0
"""The dispatcher's, for each answer of the worker."""
KEPT_FREE_SECONDS = 20.0
"""How long the worker keeps a place for a run that is being created."""
BUSY_SECONDS = 5.0
LARGEST = 1 << 20


class Place:
    """A place that the worker keeps free. Leave it, whatever happened."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def give(self, flow_run: str) -> bool | None:
        """Hand over a run, as JSON; whether the worker took it, or None when that is not known."""
        try:
            self._line.sendall(flow_run.encode() + b"\n")
            return self._line.recv(len(TAKEN)) == TAKEN
        except TimeoutError:
            return None
        except OSError:
            return False  # the worker is gone, and what it started with it


@dataclass
class Places:
    """Asks the worker of this home for places; for a while not at all, when it was too busy to answer."""

    home: Path
    _not_before: float = 0.0

    def __call__(self, pool: str) -> Place | None:
        """A place for a run of this pool, if there is one now."""
        if time.monotonic() < self._not_before:
            return None
        began = time.monotonic()
        place = ask_for_a_place(self.home, pool)
        if time.monotonic() - began > PATIENCE_SECONDS / 2:
            self._not_before = time.monotonic() + BUSY_SECONDS
        return place


def ask_for_a_place(home: Path, pool: str) -> Place | None:
    """A place with the worker of this home; None when there is none now, or runs of this pool are not its business."""
    if pool != POOL:
        return None
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(PATIENCE_SECONDS)
    try:
        line.connect(str(socket_of(home)))
        line.sendall(ROOM)
        if line.recv(len(YES)) == YES:
            return Place(line)
    except OSError:
        pass  # no worker, or one that is too busy to answer: there is the queue
    line.close()
    return None


class Taker(Protocol):
    """The worker, as this file needs it."""

    def keep_free(self) -> UUID | None:
        """A ticket for one place; None when there is no room."""

    def free(self, ticket: UUID) -> None:
        """Give the place back, if it is still kept."""

    def take_handed(self, ticket: UUID, flow_run: FlowRun) -> bool:
        """Start this run in the place that was kept; False when it will not."""

    def look(self) -> None:
        """Ask the engine at once what is due."""

    async def begin_again(self, flow_run_id: UUID) -> bool:
        """Wake this run, which waits for people, and take it; whether that was done."""


@asynccontextmanager
async def listening(home: Path, worker: Taker) -> AsyncIterator[None]:
    """Let the dispatcher of this home hand runs over while inside; without a socket all go through the queue."""
    path = socket_of(home)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    try:
        server = await asyncio.start_unix_server(partial(_attend, worker), path, limit=LARGEST)
        path.chmod(0o600)
        ours = path.stat().st_ino
    except OSError:  # a path that is too long for a socket; or another worker of this home starts at the same time
        yield
        return
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            if path.stat().st_ino == ours:  # a newer worker's stays
                path.unlink()


async def _attend(worker: Taker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    ticket: UUID | None = None
    try:
        word = await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
        if word == LOOK:
            worker.look()
        if word.startswith(WAKE):
            writer.write(YES if await worker.begin_again(UUID(word.removeprefix(WAKE).decode().strip())) else NO)
        if word != ROOM:
            return
        ticket = worker.keep_free()
        writer.write(YES if ticket else NO)
        if ticket is None:
            return
        told = await asyncio.wait_for(reader.readline(), KEPT_FREE_SECONDS)
        if told.endswith(b"\n"):
            writer.write(TAKEN if worker.take_handed(ticket, FlowRun.model_validate_json(told)) else NO)
    except (TimeoutError, OSError, ValueError):
        pass  # the dispatcher sees that it was not taken
    finally:
        if ticket is not None:
            worker.free(ticket)
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()
