"""The nursery: one process that imports Prefect and our flows once, and forks a fresh child for every flow run.

`python -m flows.doors.standby FD` talks JSON lines with the worker over the socket FD. It keeps a few children forked
ahead and waiting, each used for one run, so that a run starts without an interpreter start (2 s) or a fork. It has one
thread only, which is what makes forking safe, and it alone reaps its children, so a signal never meets a reused number.

Worker to nursery: {"start": RUN, "order": NUMBER, "flow_run": AS THE ENGINE TOLD IT, "module": M, "attribute": A, "environment": {..},
"token": FOR THE API}, {"know": [[KIND, KEY, JSON], ..]}, {"signal": PID, "number": N}.
Nursery to worker: {"ready": {ENTRYPOINT: FLOW NAME}, "broken": {ENTRYPOINT: ERROR}}, {"started": RUN, "order": NUMBER, "pid": ..,
"mark": ..},
{"ended": PID, "code": ..}. When the worker goes away, however it goes, everything here dies with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, NoReturn
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.engine import handle_engine_signals
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.doors.child_clients import as_known, give_token, warmed
from flows.doors.first_words import know_token
from flows.doors.no_results import NO_RESULTS
from flows.doors.processes import die_with_parent, start_mark
from flows.doors.relations import know
from tasks.giving_way import hold_back, speak
from tasks.warming import warm

CANCEL_SIGNAL = signal.SIGUSR1  # stop without touching the run's state: the worker sets Cancelled afterwards
SWITCH_SECONDS = 0.001
"""How long one thread of a run keeps the interpreter while another waits for it; Python's own 5 ms add up in a hurry."""
REFILL_PAUSE_SECONDS = 1.5  # so that a new run has the processor first, and a broken machine is not also a fork bomb
MOST_OF_ERROR = 2000
"""Characters: what the worker reads as one line must not be longer than it can be."""
LATE_IMPORTS = (
    "prefect.task_engine",
    "prefect.flow_runs",
    "prefect.events.worker",
    "prefect._internal.observers",
    "anyio._backends._asyncio",
    "prefect.utilities.visualization",
    "encodings.idna",
    "rich._emoji_codes",
)


@dataclass
class Nursery:
    """The children: those that wait (`idle`, pid to the pipe that will bring their job) and those that run."""

    control: socket.socket
    standby: int
    idle: dict[int, int] = field(default_factory=dict)
    busy: dict[int, int] = field(default_factory=dict)  # pid to the same pipe, held open while the child lives
    leaving: set[int] = field(default_factory=set)
    refill_after: float = 0.0
    warmed: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  # in a child: what it has prepared
    loop: asyncio.Runner = field(default_factory=asyncio.Runner)  # in a child: where an asynchronous flow will run
    _wakeup: tuple[int, int] = (-1, -1)

    def serve(self) -> dict[str, Any] | None:
        """Until the worker goes away (None), or, in a child, until that child has its job (the job)."""
        self._wakeup = os.pipe()
        for end in self._wakeup:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        received = b""
        while True:
            while len(self.idle) < self.standby and time.monotonic() >= self.refill_after:
                if (job := self._fork()) is not None:
                    return job
            ready, _, _ = select.select([self.control.fileno(), self._wakeup[0]], [], [], REFILL_PAUSE_SECONDS)
            if self._wakeup[0] in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup[0], 4096)
            self._reap()
            if self.control.fileno() not in ready:
                continue
            chunk = self.control.recv(65536)
            if not chunk:
                return None
            *lines, received = (received + chunk).split(b"\n")
            for line in lines:
                if (job := self._obey(json.loads(line))) is not None:
                    return job

    def _obey(self, order: dict[str, Any]) -> dict[str, Any] | None:
        if "know" in order:
            know(order["know"])
            for pid, pipe in self.idle.items():  # they do not know it; others take their places
                os.close(pipe)  # on which each of them ends itself
                self.leaving.add(pid)
            self.idle.clear()
            return None
        if "signal" in order:
            if order["signal"] in self.busy:
                os.kill(order["signal"], order["number"])
            return None
        while True:
            if not self.idle and (job := self._fork(hurried=True)) is not None:
                return job  # we are the child now
            pid, pipe = self.idle.popitem()
            try:
                os.write(pipe, json.dumps(order).encode() + b"\n")
            except BrokenPipeError:  # it died while waiting
                os.close(pipe)
                continue
            self.busy[pid] = pipe
            self.refill_after = time.monotonic() + REFILL_PAUSE_SECONDS  # the new run has the processor first
            self.say({"started": order["start"], "order": order["order"], "pid": pid, "mark": start_mark(pid)})
            return None

    def _fork(self, *, hurried: bool = False) -> dict[str, Any] | None:
        """In the nursery: one more standby, None. In the child: wait, and return the job. `hurried`: it is there already."""
        read_end, write_end = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.close(read_end)
            self.idle[pid] = write_end
            return None
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        die_with_parent(parent)
        for other in (write_end, *self._wakeup, *self.idle.values(), *self.busy.values()):
            os.close(other)
        self.control.close()
        self.warmed, self.loop = contextlib.ExitStack(), asyncio.Runner()
        self.warmed.enter_context(warmed(self.loop, hurried=hurried))
        return _await_job(read_end)

    def _reap(self) -> None:
        while self.idle or self.busy or self.leaving:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self.busy:
                os.close(self.busy.pop(pid))
                self.say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})
            elif pid in self.leaving:
                self.leaving.remove(pid)
            elif pid in self.idle:
                os.close(self.idle.pop(pid))
                self.refill_after = time.monotonic() + REFILL_PAUSE_SECONDS

    def say(self, message: dict[str, Any]) -> None:
        """One line to the worker; if it is gone, the next read says so."""
        with contextlib.suppress(OSError):
            self.control.sendall(json.dumps(message).encode() + b"\n")


def _await_job(pipe: int) -> dict[str, Any]:
    received = b""
    while not received.endswith(b"\n"):
        chunk = os.read(pipe, 65536)
        if not chunk:
            os._exit(0)  # the nursery is gone, or needs us no more
        received += chunk

    def leave_with_nursery() -> None:
        os.read(pipe, 1)  # returns only when the nursery is gone; on Linux the kernel is quicker
        os._exit(1)

    threading.Thread(target=leave_with_nursery, name="leave-with-nursery", daemon=True).start()
    job: dict[str, Any] = json.loads(received)
    return job


def run_child(job: dict[str, Any], prepared: contextlib.ExitStack, loop: asyncio.Runner) -> NoReturn:
    """Run one flow run to its end, its suspension or its failure, then end the process with Prefect's exit code."""

    def cancelled(*_: object) -> None:
        raise Abort("The flow run was cancelled.")

    signal.signal(CANCEL_SIGNAL, cancelled)
    os.environ.update(job["environment"])
    flow_run_id = UUID(job["start"])
    know_token(job["token"])
    hold_back()
    prepared.callback(speak)
    with prepared, handle_engine_signals(flow_run_id):
        flow = getattr(importlib.import_module(job["module"]), job["attribute"])
        flow.result_storage = NO_RESULTS
        # Without its deployment Prefect's engine does not watch, over a connection of its own that the run waits for
        # (0.1 s), whether somebody suspends it from outside: such a state stops no response. Its context has it again.
        told = FlowRun.model_validate_json(job["flow_run"])
        flow_run = told.model_copy(update={"deployment_id": None})
        give_token()
        outcome = run_flow(flow, flow_run=flow_run)
        if asyncio.iscoroutine(outcome):
            loop.run(as_known(outcome, flow_run, told.deployment_id))
    sys.exit(0)


def preload(entrypoints: list[str]) -> dict[str, dict[str, str]]:
    """Import the engine and the listed flows; one broken module must not take the others with it."""
    for module in LATE_IMPORTS:  # found by comparing sys.modules before and after a run; none of them is essential
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    unprepared = warm()
    names: dict[str, str] = {}
    broken: dict[str, str] = {}
    for entrypoint in entrypoints:
        module, _, attribute = entrypoint.rpartition(".")
        try:
            names[entrypoint] = str(getattr(importlib.import_module(module), attribute).name)
        except Exception as error:  # noqa: BLE001  a runbook under repair is reported, the rest works
            broken[entrypoint] = f"{type(error).__name__}: {error}"[:MOST_OF_ERROR]
    broken |= {f"(warming {number})": fault[:MOST_OF_ERROR] for number, fault in enumerate(unprepared, start=1)}
    return {"ready": names, "broken": broken}


def main() -> None:
    """Entry of the process; argv: socket number, worker's pid, standby count, entry points."""
    die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker decides when we end
    nursery = Nursery(socket.socket(fileno=int(sys.argv[1])), standby=int(sys.argv[3]))
    report = preload(sys.argv[4:])
    if threading.active_count() > 1:
        report["broken"]["(threads)"] = "a flow module started a thread at import; forking after that can hang"
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # keeps the shared pages shared: the children's collector does not touch them
    nursery.say(dict(report))
    # Heartbeats cost each synchronous flow one second at its end; this worker sees its children directly.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # here: new settings take 30 ms, in each child
        job = nursery.serve()
        if job is not None:
            run_child(job, nursery.warmed, nursery.loop)
    for pid in (*nursery.busy, *nursery.idle):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
