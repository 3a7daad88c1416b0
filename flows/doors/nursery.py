"""The worker's side of the nursery (see `standby.py`): orders a child per run, and learns how each one ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

from flows.doors.processes import Child, start_child, stop_children

START_TIMEOUT_SECONDS = 120.0  # imports on a cold, busy machine
ORDER_TIMEOUT_SECONDS = 30.0
TERM_THEN_KILL_SECONDS = 10.0
AGAIN_SECONDS = 1.0
"""Before another nursery is started in the place of one that ended."""

_log = logging.getLogger("quell.worker")


@dataclass(frozen=True)
class Run:
    """What one child is to run."""

    flow_run_id: UUID
    flow_run: str
    """As the engine told it when the run was taken, JSON: the child need not ask again."""
    module: str
    attribute: str
    environment: dict[str, str]
    token: str
    """With which its clients may write to the engine, JSON; empty when they ask for their own."""


@dataclass(eq=False)
class RunChild:
    """One child that runs, or ran, one flow run. `ended` becomes its exit code, negative for a signal."""

    flow_run_id: UUID
    pid: int
    mark: str
    ended: asyncio.Future[int]


class NurseryError(RuntimeError):
    """A run has no process, and gets none by this order."""


def _tell(ended: asyncio.Future[int], code: int) -> None:
    if not ended.done():  # whoever waited for it may have gone
        ended.set_result(code)


@dataclass
class NurseryDoor:
    """Starts the nursery process, restarts it if it dies (its children die with it), and talks with it.

    One that says nothing for `order_seconds` after an order, or while a child is to be ended, can neither start, end nor
    bury a run: it is killed, and another takes its place. A child that begins after its order was given up is ended: its run
    is somebody else's by then.
    """

    checkout: Path
    log: Path
    entrypoints: tuple[str, ...]
    standby: int
    environment: dict[str, str]
    order_seconds: float = ORDER_TIMEOUT_SECONDS
    ready_seconds: float = START_TIMEOUT_SECONDS
    flow_names: dict[str, str] = field(default_factory=dict)  # entry point to the flow's own name
    broken: dict[str, str] = field(default_factory=dict)  # entry points whose module does not import
    _children: dict[int, RunChild] = field(default_factory=dict)
    _asked: dict[int, asyncio.Future[RunChild]] = field(default_factory=dict)  # by the number of the order
    _orders: int = 0
    _process: Child | None = None
    _writer: asyncio.StreamWriter | None = None
    _reading: asyncio.Task[None] | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False
    _launched: float = 0.0
    _heard: float = 0.0
    """When it was started, and when it last said anything (monotonic seconds)."""
    _killed: list[Child] = field(default_factory=list)
    _related: list[tuple[str, str, str]] = field(default_factory=list)

    async def open(self) -> None:
        """Start it and wait until everything is imported."""
        await self._launch()
        await asyncio.wait_for(self._ready.wait(), self.ready_seconds)

    async def _launch(self) -> None:
        self._killed = [one for one in self._killed if one.running()]  # which reaps those that are gone
        self._launched = monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-m", "flows.doors.standby", str(theirs.fileno()), str(os.getpid())]
            self._process = start_child(
                "nursery",
                [*argv, str(self.standby), *self.entrypoints],
                env=self.environment,
                log=self.log,
                cwd=self.checkout,
                pass_fds=(theirs.fileno(),),
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._heard = monotonic()
                self._hear(json.loads(line))
        except (OSError, ValueError, KeyError) as error:  # killed with an order unread; or it says what we do not know
            _log.warning("The nursery process is heard no more (%s: %s).", type(error).__name__, error)
        self._lose()
        while not self._closing:
            _log.error("The nursery process ended; see %s. Starting another.", self.log)
            await asyncio.sleep(AGAIN_SECONDS)
            try:
                if not self._closing:
                    await self._launch()
            except OSError as error:  # no processes, no memory, no files
                _log.error("Another nursery process could not be started (%s).", error)
            else:
                return

    def _lose(self) -> None:
        """It ended, or has to: its children end with it, and nobody else begins there."""
        if not self._closing:
            self._kill()
        self._ready.clear()
        for child in self._children.values():
            _tell(child.ended, -signal.SIGKILL)
        self._children.clear()
        for asked in self._asked.values():
            asked.set_exception(NurseryError("the nursery ended before the child had begun"))
        self._asked.clear()

    def _kill(self) -> None:
        self._ready.clear()
        if self._process is not None and self._process.running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._killed.append(self._process)  # not waited for: one that hangs in the kernel would stop the worker too
        self._hang_up()

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()  # closing would wait until it has read what was said to it

    def _hear(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self.flow_names.clear()
            self.flow_names |= message["ready"]  # in place: others hold it
            self.broken = message["broken"]
            for entrypoint, error in self.broken.items():
                _log.error("Cannot start %s: %s", entrypoint, error)
            if self._related:
                self.know(self._related)
            self._ready.set()
        elif "started" in message:
            child = RunChild(
                UUID(message["started"]), message["pid"], message["mark"], asyncio.get_running_loop().create_future()
            )
            self._children[child.pid] = child
            if asked := self._asked.pop(message["order"], None):
                asked.set_result(child)
            else:
                self._end_late(child)
        elif child_ended := self._children.pop(message["ended"], None):
            _tell(child_ended.ended, message["code"])

    def _end_late(self, child: RunChild) -> None:
        _log.warning("Flow run %s got a process too late; it is ended.", child.flow_run_id)
        self._say({"signal": child.pid, "number": int(signal.SIGKILL)})

    def _say(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    def know(self, related: list[tuple[str, str, str]]) -> None:
        """What Prefect names beside the events of every run: kind, key, JSON. Children forked from now on have it."""
        self._related = related
        self._say({"know": related})

    async def start(self, run: Run) -> RunChild:
        """Give the run to a waiting child, or to one forked now. Raises NurseryError: no child has it, or the late one is ended."""
        await self._until_ready()
        self._orders += 1
        order, began = self._orders, monotonic()
        asked: asyncio.Future[RunChild] = asyncio.get_running_loop().create_future()
        self._asked[order] = asked
        self._say(
            {
                "start": str(run.flow_run_id),
                "order": order,
                "flow_run": run.flow_run,
                "module": run.module,
                "attribute": run.attribute,
                "environment": run.environment,
                "token": run.token,
            }
        )
        try:
            await asyncio.wait([asked], timeout=self.order_seconds)
        except asyncio.CancelledError:
            if asked.done() and asked.exception() is None:
                self._end_late(asked.result())
            raise
        finally:
            self._asked.pop(order, None)
        if asked.done():
            return asked.result()
        if self._heard < began:
            self._kill()
        raise NurseryError(f"the nursery began no process within {self.order_seconds:.0f} seconds")

    async def _until_ready(self) -> None:
        try:
            await asyncio.wait_for(self._ready.wait(), self.ready_seconds)
        except TimeoutError:
            if monotonic() - self._launched >= self.ready_seconds:
                self._kill()
            raise NurseryError(f"there was no nursery for {self.ready_seconds:.0f} seconds; see {self.log}") from None

    async def end(self, child: RunChild, first: int, grace_seconds: float) -> None:
        """Signal the child, wait, then TERM, then KILL. Harmless when it has ended already."""
        began = monotonic()
        for number, patience in (
            (first, grace_seconds),
            (signal.SIGTERM, TERM_THEN_KILL_SECONDS),
            (signal.SIGKILL, TERM_THEN_KILL_SECONDS),
        ):
            self._say({"signal": child.pid, "number": int(number)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(child.ended), patience)
                return
        if self._heard < began:  # it hangs, and passed none of this on
            self._kill()

    def by_run(self, flow_run_id: UUID) -> RunChild | None:
        """The child that runs this flow run now."""
        return next((child for child in self._children.values() if child.flow_run_id == flow_run_id), None)

    def by_pid(self, pid: int) -> RunChild | None:
        """The running child with this process number."""
        return self._children.get(pid)

    def running(self) -> list[RunChild]:
        """All children that run something now."""
        return list(self._children.values())

    async def close(self) -> None:
        """End the nursery; what still waits there ends too."""
        self._closing = True
        self._hang_up()
        if self._reading is not None:
            await self._reading
        if self._process is not None:
            await asyncio.to_thread(stop_children, [self._process], grace_seconds=5.0)
        self._killed = [one for one in self._killed if one.running()]
