"""How often the worker asks what is due: rarely beside the event stream, and not while a run begins."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from flows.doors import after_starts, run_endings, worker_loops
from flows.doors.after_starts import AfterStarts
from flows.doors.warm_worker import QuellWorker


class Worker:
    """What the loops know of one; it writes down when it asked."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.hears = self.cancellations = self.never_done = False
        self.after = AfterStarts(None)  # type: ignore[arg-type]
        self.asked: list[float] = []

    def calm_in(self) -> float:
        return self.after.calm_in()

    async def get_and_submit_flow_runs(self) -> None:
        self.asked.append(monotonic())

    async def cancel_requested(self) -> None:
        self.cancellations = self.never_done


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


async def _hears_of_one(worker: Worker) -> None:
    worker.hears = True
    await asyncio.sleep(0.2)
    worker.wake.set()


async def _hears_and_cancels(worker: Worker) -> None:
    worker.hears = True
    worker.never_done = worker.cancellations = True


async def _starts(worker: Worker) -> None:
    worker.after.begun()


async def _starts_and_hears_of_another(worker: Worker) -> None:
    worker.after.begun()
    await asyncio.sleep(0.1)
    worker.wake.set()


def test_it_asks_often_without_the_stream_and_rarely_beside_it() -> None:
    assert len(_asked(_nothing, 0.4)) >= 4
    assert len(_asked(_hears, 0.4)) == 2, "at first, and once more soon after it"


def test_a_poll_waits_until_the_start_is_over() -> None:
    first, second, *_ = _asked(_starts, 1.0)
    assert second - first >= 0.35, "without a start it asks after a twentieth of a second"


def test_what_is_heard_of_waits_for_nothing() -> None:
    heard = _asked(_starts_and_hears_of_another, 1.0)
    assert heard[1] - heard[0] < 0.35, "it did not wait for the end of the start"


def test_after_what_was_heard_it_looks_again_soon() -> None:
    """An event may come before the transaction that it tells of."""
    asked = _asked(_hears_of_one, 0.45)
    assert [one for one in asked if one > 0.2][1:2], "the look after it, and a second one"


def test_one_that_could_not_be_cancelled_yet_is_looked_at_soon() -> None:
    assert len(_asked(_hears_and_cancels, 0.4)) >= 3


def test_a_cancellation_that_is_heard_of_while_it_looks_is_not_forgotten() -> None:
    worker: Any = object.__new__(QuellWorker)

    class Endings:
        async def cancel_requested(self, client: object, claimed: object, later: Callable[[], None]) -> None:
            del client, claimed, later
            worker.cancellations = True  # as the event stream does, meanwhile

    worker._client, worker.claimed, worker.cancellations, worker._endings = object(), {}, False, Endings()
    asyncio.run(worker.cancel_requested())
    assert worker.cancellations


def test_one_that_is_just_being_started_is_cancelled_later_whatever_fails_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starting, gone = SimpleNamespace(id="starting"), SimpleNamespace(id="gone")

    async def cancelling(*_: object) -> list[Any]:
        return [starting, gone]

    async def away(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(run_endings, "runs_of_pool", cancelling)
    monkeypatch.setattr(run_endings, "gone", lambda _: True)
    client: Any = SimpleNamespace(set_flow_run_state=away)
    nursery: Any = SimpleNamespace(by_run=lambda _: None)
    again: list[bool] = []
    endings = run_endings.Endings(nursery, lambda *_: None)
    with pytest.raises(ConnectionError):
        asyncio.run(endings.cancel_requested(client, {starting.id: None}, lambda: again.append(True)))
    assert again == [True]
