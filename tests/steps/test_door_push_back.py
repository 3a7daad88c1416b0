"""A door that cannot keep anything now sends everybody away to come again, and says the same when it is asked."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from flows.doors.door import reading, reception
from flows.doors.door.app import make_app
from flows.doors.door.reception import Reception
from tasks.installation import Installation
from tasks.intake.committing import Arrival
from tasks.settings import load_settings
from tests.steps.doorstep import bearer, furnish

SOURCE = '[sources.alerts]\nsender = "alertmanager"\nsecrets = [{id = "old", secret = "file:secrets/old"}]\n'
HEADERS = {**bearer("old"), "content-type": "application/json"}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Reception]:
    installation = Installation(load_settings(furnish(tmp_path / "home", SOURCE), {}))
    installation.activate_if_fresh()
    made = Reception(installation)
    yield made
    made.end()


def visiting(door: Reception) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(make_app(door)), base_url="http://door")


async def send(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/signals/alerts", content=b"{}", headers=HEADERS)


async def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5  # the writer waits longer than that for its file
    while not seen():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def sent_away(client: httpx.AsyncClient, word: str) -> None:
    """A sender, a prober and a scraper are told the same."""
    answer = await send(client)
    assert (answer.status_code, answer.json()["because"], answer.headers["retry-after"]) == (503, word, "30")
    ready = await client.get("/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "unwell", "problems": [word]})
    assert f'quell_door_problems{{problem="{word}"}} 1' in (await client.get("/metrics")).text


async def well(client: httpx.AsyncClient) -> None:
    assert (await send(client)).status_code == 200
    assert (await client.get("/ready")).json() == {"status": "ready", "problems": []}


@pytest.mark.parametrize(("limit", "most"), [("MOST_WAITING", 3), ("MOST_WAITING_BYTES", 6)])
def test_while_too_much_waits_for_its_commit(
    door: Reception, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(reception, limit, most)
    writing, append = threading.Event(), door.spool.append

    def noted(arrivals: Sequence[Arrival]) -> None:
        writing.set()
        append(arrivals)

    monkeypatch.setattr(door.spool, "append", noted)

    async def visit() -> None:
        async with visiting(door) as client:
            await well(client)
            writing.clear()
            with closing(sqlite3.connect(door.installation.settings.signals, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                waiting = [asyncio.create_task(send(client))]
                await until(writing.is_set)
                waiting += [asyncio.create_task(send(client)) for _ in range(3)]  # behind the one in the writer's hand
                await until(lambda: door.queue == (3, 6))
                await sent_away(client, "busy")
                other.execute("ROLLBACK")
            assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 4
            await well(client)

    asyncio.run(visit())
    assert len(door.reading.after("", 100)) == 6, "what was answered with 503 was not kept, and nothing else is missing"


def test_when_the_thread_that_writes_has_ended(door: Reception) -> None:
    async def visit() -> None:
        async with visiting(door) as client:
            await well(client)
            door._committer.end()
            await sent_away(client, "writer")

    asyncio.run(visit())
    assert len(door.reading.after("", 100)) == 1


def test_when_bodies_that_are_being_read_hold_too_much(door: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_HELD_BYTES", 10)

    async def piece_by_piece(size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b" "
            await asyncio.sleep(0)

    async def visit() -> None:
        async with visiting(door) as client:
            answer = await client.post("/signals/alerts", content=piece_by_piece(11), headers=HEADERS)
            assert (answer.status_code, answer.json()["because"], answer.headers["retry-after"]) == (
                503, "crowded", "30",
            )  # fmt: skip
            assert door.held.size == 0, "what was refused is held no more"
            short = await client.post("/signals/alerts", content=piece_by_piece(9), headers=HEADERS)
            assert short.status_code == 200
            await well(client)

    asyncio.run(visit())
