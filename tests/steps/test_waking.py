"""The worker wakes a waiting run by one change of its state, and only one that it may start."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus, StateAbortDetails, StateAcceptDetails
from prefect.exceptions import ObjectNotFound
from prefect.states import Paused, Scheduled, Suspended

from flows.doors import warm_worker
from flows.doors.examining import Examined
from flows.doors.listing import POOL
from flows.doors.waking import woken
from flows.doors.warm_worker import QuellWorker
from tasks.starting import WOKEN


class Prefect:
    """Knows one run, and answers so when its state is set."""

    def __init__(self, run: FlowRun | None, says: SetStateStatus = SetStateStatus.ACCEPT) -> None:
        self.run, self.says = run, says
        self.set: list[State] = []

    async def read_flow_run(self, _: UUID) -> FlowRun:
        if self.run is None:
            raise ObjectNotFound(Exception("gone"))
        return self.run

    async def set_flow_run_state(self, _: UUID, state: State) -> OrchestrationResult[Any]:
        self.set.append(state)
        if self.says is SetStateStatus.ACCEPT:
            return OrchestrationResult(state=state, status=self.says, details=StateAcceptDetails())
        return OrchestrationResult(state=None, status=self.says, details=StateAbortDetails(reason="no"))


class Known:
    def __init__(self, found: Examined | None) -> None:
        self._found = found

    def at_once(self, _: FlowRun) -> Examined | None:
        return self._found


OURS = Examined("", "flows.prompt_injection", "prompt_injection")


def a_run(state: State | None = None, **more: Any) -> FlowRun:
    told = {"state": state or Suspended(), "work_pool_name": POOL, "deployment_id": uuid4(), **more}
    return FlowRun(flow_id=uuid4(), **told)


def wake(prefect: Prefect, known: Examined | None = OURS) -> FlowRun | None:
    return asyncio.run(woken(prefect, uuid4(), Known(known)))  # type: ignore[arg-type]


def test_a_waiting_run_is_running_after_one_change() -> None:
    prefect = Prefect(a_run())
    found = wake(prefect)
    assert found is not None
    assert found.state is not None
    assert found.state.is_running()
    assert (found.state_name, found.state.message) == ("Running", WOKEN)
    assert [state.type for state in prefect.set] == [found.state.type]


@pytest.mark.parametrize(
    ("run", "known"),
    [
        (None, OURS), (a_run(Scheduled()), OURS), (a_run(Paused(), work_pool_name="stock"), OURS), (a_run(), None),
        (a_run(), Examined("it brings job variables")),
    ],
    ids=["gone", "does not wait", "another pool's", "of a deployment that nobody examined", "refused"],
)  # fmt: skip
def test_any_other_is_left_as_it_is(run: FlowRun | None, known: Examined | None) -> None:
    prefect = Prefect(run)
    assert wake(prefect, known) is None
    assert prefect.set == []


def test_what_prefect_does_not_accept_is_not_taken() -> None:
    assert wake(Prefect(a_run(), SetStateStatus.ABORT)) is None
    assert wake(Prefect(a_run(), SetStateStatus.REJECT)) is None


def a_worker(monkeypatch: pytest.MonkeyPatch, prefect: Prefect) -> tuple[QuellWorker, list[UUID]]:
    """A worker without anything around it; and the runs that it took."""
    worker, taken = QuellWorker.__new__(QuellWorker), list[UUID]()
    worker.claimed, worker._waking, worker._kept, worker._room, worker.draining = {}, {}, set(), 1, False
    worker.wake = asyncio.Event()
    worker._examiner, worker._client = Known(OURS), prefect  # type: ignore[assignment]

    async def take(flow_run: FlowRun, *, ours: bool) -> None:
        assert ours
        taken.append(flow_run.id)
        await asyncio.sleep(0.05)
        del worker.claimed[flow_run.id]

    monkeypatch.setattr(worker, "_take", take)
    return worker, taken


def test_two_bells_at_once_start_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run()

    async def both() -> list[bool]:
        worker, taken = a_worker(monkeypatch, Prefect(run))
        rung = await asyncio.gather(worker.begin_again(run.id), worker.begin_again(run.id))
        await asyncio.gather(*worker.claimed.values())
        assert taken == [run.id]
        assert (worker.claimed, worker._waking) == ({}, {})
        return list(rung)

    assert asyncio.run(both()) == [True, True]


def test_without_room_or_without_prefect_nothing_stays_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run()

    async def whole() -> None:
        prefect = Prefect(run)
        worker, taken = a_worker(monkeypatch, prefect)
        worker._room = 0
        assert not await worker.begin_again(run.id)
        worker._room, worker.draining = 1, True
        assert not await worker.begin_again(run.id)
        worker.draining = False

        async def away(_: UUID) -> FlowRun:
            raise OSError("nobody there")

        monkeypatch.setattr(prefect, "read_flow_run", away)
        assert not await worker.begin_again(run.id)
        assert (worker.claimed, worker._waking, taken, prefect.set) == ({}, {}, [], [])

    asyncio.run(whole())


def test_a_run_that_is_just_going_to_sleep_is_woken_when_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run()

    async def whole() -> None:
        prefect = Prefect(run)
        worker, taken = a_worker(monkeypatch, prefect)

        async def ending() -> None:
            await asyncio.sleep(0.1)
            assert prefect.set == []
            del worker.claimed[run.id]

        worker.claimed[run.id] = asyncio.create_task(ending())
        rung = await asyncio.gather(worker.begin_again(run.id), worker.begin_again(run.id))
        assert list(rung) == [True, True]
        assert taken == [run.id]

    asyncio.run(whole())


def test_a_run_at_work_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_worker, "ENDING_SECONDS", 0.05)
    run = a_run()

    async def whole() -> None:
        worker, taken = a_worker(monkeypatch, Prefect(run))
        worker._room = 2
        worker.claimed[run.id] = asyncio.create_task(asyncio.sleep(60))
        assert not await worker.begin_again(run.id)
        assert taken == []
        worker.claimed[run.id].cancel()

    asyncio.run(whole())
