"""How often the worker asks what is due: rarely beside the event stream, and not while a run begins."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest

from flows.doors import after_starts, worker_loops
from flows.doors.after_starts import AfterStarts


class Worker:
    """What the loops know of one; it writes down when it asked."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.hears = self.cancellations = False
        self.after = AfterStarts(None)  # type: ignore[arg-type]
        self.asked: list[float] = []

    def calm_in(self) -> float:
        return self.after.calm_in()

    async def get_and_submit_flow_runs(self) -> None:
        self.asked.append(monotonic())

    async def cancel_requested(self) -> None:
        self.cancellations = False


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_loops, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(worker_loops, "POLL_BESIDE_STREAM_SECONDS", 0.5)
    monkeypatch.setattr(after_starts, "QUIET_SECONDS", 0.4)


def _asked(of: Callable[[Worker], Awaitable[Any]], seconds: float) -> list[float]:
    async def run() -> list[float]:
        worker = Worker()
        loop = asyncio.create_task(worker_loops._submit(worker))  # type: ignore[arg-type]
        began = monotonic()
        await of(worker)
        await asyncio.sleep(max(0.0, began + seconds - monotonic()))
        loop.cancel()
        return [at - began for at in worker.asked]

    return asyncio.run(run())


async def _nothing(worker: Worker) -> None:
    del worker


async def _hears(worker: Worker) -> None:
    worker.hears = True


async def _starts(worker: Worker) -> None:
    worker.after.begun()


async def _starts_and_hears_of_another(worker: Worker) -> None:
    worker.after.begun()
    await asyncio.sleep(0.1)
    worker.wake.set()


def test_it_asks_often_without_the_stream_and_rarely_beside_it() -> None:
    assert len(_asked(_nothing, 0.4)) >= 4
    assert len(_asked(_hears, 0.4)) == 1


def test_a_poll_waits_until_the_start_is_over() -> None:
    first, second, *_ = _asked(_starts, 0.7)
    assert first < 0.2
    assert 0.4 <= second < 0.65


def test_what_is_heard_of_waits_for_nothing() -> None:
    assert any(0.1 <= at < 0.3 for at in _asked(_starts_and_hears_of_another, 0.35))
