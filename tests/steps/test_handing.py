"""From the dispatcher straight to the worker of the same home: a place, a run, and what happens when either fails."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from flows.doors.handing import Places, ask_for_a_place, listening
from flows.doors.listing import POOL
from flows.doors.worker_line import nudge, socket_of, wake
from tests.flows.people import until


@dataclass
class Worker:
    """Room for some, and the runs that it was handed."""

    room: int = 1
    draining: bool = False
    kept: set[UUID] = field(default_factory=set)
    taken: list[UUID] = field(default_factory=list)
    looks: int = 0
    asleep: set[UUID] = field(default_factory=set)

    def keep_free(self) -> UUID | None:
        if len(self.kept) >= self.room:
            return None
        ticket = uuid4()
        self.kept.add(ticket)
        return ticket

    def free(self, ticket: UUID) -> None:
        self.kept.discard(ticket)

    def take_handed(self, ticket: UUID, flow_run: FlowRun) -> bool:
        self.kept.remove(ticket)
        if not self.draining:
            self.taken.append(flow_run.id)
        return not self.draining

    def look(self) -> None:
        self.looks += 1

    async def begin_again(self, flow_run_id: UUID) -> bool:
        waits = flow_run_id in self.asleep
        self.asleep.discard(flow_run_id)
        return waits


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker that listens in `tmp_path`, in a thread of its own."""
    found, ready, stop = Worker(), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with listening(tmp_path, found):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(10)
    yield found
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()
    assert not socket_of(tmp_path).exists()


def a_run() -> FlowRun:
    return FlowRun(flow_id=uuid4())


def test_a_run_is_handed_over_and_the_place_is_no_longer_kept(worker: Worker, tmp_path: Path) -> None:
    place, run = ask_for_a_place(tmp_path, POOL), a_run()
    assert place is not None
    assert len(worker.kept) == 1
    with place:
        assert place.give(run.model_dump_json())
    assert worker.taken == [run.id]
    assert worker.kept == set()


def test_without_room_there_is_no_place(worker: Worker, tmp_path: Path) -> None:
    worker.room = 0
    assert ask_for_a_place(tmp_path, POOL) is None


def test_a_worker_that_has_begun_to_stop_takes_nothing(worker: Worker, tmp_path: Path) -> None:
    place = ask_for_a_place(tmp_path, POOL)
    assert place is not None
    worker.draining = True
    with place:
        assert place.give(a_run().model_dump_json()) is False
    assert worker.taken == []


def test_runs_of_another_pool_are_left_to_its_workers(worker: Worker, tmp_path: Path) -> None:
    assert ask_for_a_place(tmp_path, "stock") is None
    assert worker.kept == set()


def test_a_dispatcher_that_goes_away_frees_its_place(worker: Worker, tmp_path: Path) -> None:
    place = ask_for_a_place(tmp_path, POOL)
    assert place is not None
    with place:
        pass
    until(lambda: not worker.kept, 10, what="the place is free again")
    assert worker.taken == []


@pytest.mark.parametrize("said", ["", "{}", '{"flow_id": "no"}', "[" * 5000, "\x00", '{"id": "' + "9" * 70_000 + '"}'])
def test_what_is_no_run_is_not_taken(worker: Worker, tmp_path: Path, said: str) -> None:
    place = ask_for_a_place(tmp_path, POOL)
    assert place is not None
    with place:
        assert not place.give(said)
    until(lambda: not worker.kept, 10, what="the place is free again")
    assert worker.taken == []


def test_nobody_there_is_no_place_and_no_error(tmp_path: Path) -> None:
    assert ask_for_a_place(tmp_path, POOL) is None
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(socket_of(tmp_path)))  # as a killed worker leaves it
    dead.close()
    assert ask_for_a_place(tmp_path, POOL) is None


def test_a_worker_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(socket_of(tmp_path)))
        silent.listen()
        places = Places(tmp_path)
        assert places(POOL) is None
        began = time.monotonic()
        assert places(POOL) is None
        assert time.monotonic() - began < 0.5, "it is not asked again at once"


def test_an_answer_that_does_not_come_leaves_it_open(tmp_path: Path) -> None:
    """Whether it was taken nobody knows; the run itself will show it."""
    with socket.socket(socket.AF_UNIX) as slow:
        slow.bind(str(socket_of(tmp_path)))
        slow.listen()
        pool = ThreadPoolExecutor(1)
        asked = pool.submit(ask_for_a_place, tmp_path, POOL)
        line, _ = slow.accept()
        line.recv(16)
        line.sendall(b"yes\n")
        place = asked.result()
        assert place is not None
        with place:
            assert place.give(a_run().model_dump_json()) is None
        line.close()
        pool.shutdown()


def test_a_home_whose_path_is_too_long_for_a_socket_does_without(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 25) / ("longer" * 10)
    deep.mkdir(parents=True)

    async def serve() -> bool:
        async with listening(deep, Worker()):
            return not socket_of(deep).exists()

    assert asyncio.run(serve())
    assert ask_for_a_place(deep, POOL) is None


def test_only_its_owner_may_hand_over(worker: Worker, tmp_path: Path) -> None:
    assert worker.room
    assert socket_of(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_worker_that_is_nudged_looks_and_gives_no_place_away(worker: Worker, tmp_path: Path) -> None:
    nudge(tmp_path)
    until(lambda: worker.looks == 1, 5, what="a look")
    assert worker.kept == set()


def test_nudging_nobody_or_a_dead_worker_is_quick_and_silent(tmp_path: Path) -> None:
    nudge(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_of(tmp_path)))
    nudge(tmp_path)


def test_a_waiting_run_is_woken_once(worker: Worker, tmp_path: Path) -> None:
    run = uuid4()
    worker.asleep.add(run)
    assert wake(tmp_path, str(run))
    assert not wake(tmp_path, str(run))


@pytest.mark.parametrize("name", ["", "no run", "../etc", "ÿ", "9" * 70_000])
def test_what_names_no_run_wakes_nothing(worker: Worker, tmp_path: Path, name: str) -> None:
    assert not wake(tmp_path, name)
    worker.asleep.add(run := uuid4())
    assert wake(tmp_path, str(run)), "and the worker listens as before"


def test_nobody_there_wakes_nothing(tmp_path: Path) -> None:
    assert not wake(tmp_path, str(uuid4()))
