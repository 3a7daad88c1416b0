"""The nursery may die, hang or answer late: the worker gets another one, and no run is left without a word.

A real nursery, with nothing to import but Prefect. What it gets to run is no flow run, so a child ends at once.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Running

from flows.doors import nursery
from flows.doors.after_starts import AfterStarts
from flows.doors.listing import ROOT
from flows.doors.nursery import NurseryDoor, NurseryError, Run
from flows.doors.processes import start_mark
from flows.doors.warm_worker import QuellWorker
from tests.flows.ground import family

pytestmark = [pytest.mark.slow]
LIMIT_SECONDS = 60.0


def _order(module: str = "flows.replay") -> Run:
    return Run(uuid4(), "{}", module, "none", {}, "")


def _pid(door: NurseryDoor) -> int:
    assert door._process is not None
    return door._process.pid


@contextlib.asynccontextmanager
async def _nursery(home: Path, *, standby: int = 0, **limits: float) -> AsyncIterator[NurseryDoor]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{home}"}
    door = NurseryDoor(ROOT, home / "runs.log", (), standby, environment)
    door.order_seconds = limits.get("order_seconds", door.order_seconds)
    await door.open()
    try:
        yield door
    finally:
        await door.close()


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not true():  # noqa: ASYNC110  what we wait for happens in other processes
            await asyncio.sleep(0.01)


async def _ends(door: NurseryDoor) -> int:
    """Start something that is no flow run; its exit code."""
    child = await door.start(_order())
    return await asyncio.wait_for(child.ended, LIMIT_SECONDS)


def _with(home: Path, story: Callable[[NurseryDoor], Awaitable[None]], **kinds: float) -> None:
    async def run() -> None:
        async with _nursery(home, **kinds) as door:  # type: ignore[arg-type]
            await story(door)

    asyncio.run(run())


def test_one_killed_with_an_order_unread_is_replaced(tmp_path: Path) -> None:
    async def story(door: NurseryDoor) -> None:
        first = _pid(door)
        os.kill(first, signal.SIGSTOP)
        order = asyncio.create_task(door.start(_order()))
        await _until(lambda: bool(door._asked))  # it lies in its socket now
        os.kill(first, signal.SIGKILL)
        with pytest.raises(NurseryError, match="ended before"):
            await order
        assert await _ends(door) != 0
        assert _pid(door) != first

    _with(tmp_path, story)


def test_one_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    async def story(door: NurseryDoor) -> None:
        hung, mark = _pid(door), start_mark(_pid(door))
        os.kill(hung, signal.SIGSTOP)
        with pytest.raises(NurseryError, match="began no process"):
            await door.start(_order())
        await _until(lambda: start_mark(hung) != mark)
        door.order_seconds = 30.0
        assert await _ends(door) != 0

    _with(tmp_path, story, order_seconds=0.5)


def test_a_child_that_begins_after_its_order_was_given_up_is_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "endless.py").write_text("import time\n\ntime.sleep(600)\n")

    async def story(door: NurseryDoor) -> None:
        os.kill(_pid(door), signal.SIGSTOP)
        order = asyncio.create_task(door.start(_order("endless")))
        await _until(lambda: bool(door._asked))  # it lies in its socket now
        order.cancel()
        os.kill(_pid(door), signal.SIGCONT)
        with pytest.raises(asyncio.CancelledError):
            await order
        await _until(lambda: "too late" in caplog.text)
        await _until(lambda: not door.running())
        assert await _ends(door) != 0, "the next one is started"

    _with(tmp_path, story)


def test_one_that_hangs_before_it_is_ready_is_killed_and_replaced(tmp_path: Path) -> None:
    async def story(door: NurseryDoor) -> None:
        first = _pid(door)
        os.kill(first, signal.SIGKILL)
        await _until(lambda: _pid(door) != first)
        os.kill(second := _pid(door), signal.SIGSTOP)
        door.ready_seconds = 0.5
        with pytest.raises(NurseryError, match="there was no nursery"):
            await door.start(_order())
        door.ready_seconds = LIMIT_SECONDS
        assert await _ends(door) != 0
        assert _pid(door) != second

    _with(tmp_path, story)


def test_what_one_that_hangs_does_not_end_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "endless.py").write_text("import time\n\ntime.sleep(600)\n")
    monkeypatch.setattr(nursery, "TERM_THEN_KILL_SECONDS", 0.2)

    async def story(door: NurseryDoor) -> None:
        child = await door.start(_order("endless"))
        os.kill(_pid(door), signal.SIGSTOP)
        await door.end(child, signal.SIGTERM, 0.2)
        assert await asyncio.wait_for(child.ended, LIMIT_SECONDS) == -signal.SIGKILL
        await _until(lambda: start_mark(child.pid) != child.mark)

    _with(tmp_path, story)


def test_it_is_closed_also_while_it_hangs_and_has_not_read_what_was_said(tmp_path: Path) -> None:
    async def story(door: NurseryDoor) -> None:
        os.kill(_pid(door), signal.SIGSTOP)
        door.know([("kind", "key", "x" * 1_000_000)])
        await asyncio.wait_for(door.close(), LIMIT_SECONDS)

    _with(tmp_path, story)


def test_a_worker_that_slept_past_the_limit_has_the_child_that_began_meanwhile(tmp_path: Path) -> None:
    async def story(door: NurseryDoor) -> None:
        starting = asyncio.create_task(door.start(_order()))
        await _until(lambda: door._orders == 1)
        time.sleep(3)  # noqa: ASYNC251  the whole worker stands still
        child = await starting
        assert await asyncio.wait_for(child.ended, LIMIT_SECONDS) != 0

    _with(tmp_path, story, order_seconds=1.0)


def test_a_run_gets_a_child_that_was_waiting(tmp_path: Path) -> None:
    async def story(door: NurseryDoor) -> None:
        pid = _pid(door)
        await _until(lambda: len(family(pid)) == 3)
        waiting = set(family(pid)) - {pid}
        child = await door.start(_order())
        assert child.pid in waiting
        assert await asyncio.wait_for(child.ended, LIMIT_SECONDS) != 0
        await _until(lambda: len(set(family(pid)) - {pid, child.pid}) == 2)

    _with(tmp_path, story, standby=2)


def test_a_run_that_gets_no_process_is_no_lost_touch_but_crashed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Deaf:
        async def start(self, run: Run) -> None:
            raise NurseryError(f"no process for {run.flow_run_id}")

    class Told:
        async def crashed(self, _: object, flow_run_id: UUID, why: str) -> None:
            told.append(f"{flow_run_id} {why}")

    flow_run = FlowRun(id=uuid4(), flow_id=uuid4(), state=Running())
    worker = object.__new__(QuellWorker)
    monkeypatch.setattr(QuellWorker, "client", None)
    known = SimpleNamespace(objection="", module="flows.replay", attribute="none")
    for name, value in {
        "claimed": {flow_run.id: None}, "wake": asyncio.Event(), "name": "one", "backend_id": None, "_token": "",
        "_endings": Told(), "_nursery": Deaf(), "_after": AfterStarts(None),  # type: ignore[arg-type]
        "_examiner": SimpleNamespace(at_once=lambda _: known),
    }.items():  # fmt: skip
        setattr(worker, name, value)
    asyncio.run(worker._take(flow_run, ours=True))
    assert len(told) == 1
    assert told[0].startswith(str(flow_run.id))
    assert worker.claimed == {}
