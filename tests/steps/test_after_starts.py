"""What the worker leaves for later, when runs start in a burst."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from flows.doors import after_starts
from flows.doors.after_starts import AfterStarts
from flows.doors.examining import Examined
from flows.doors.nursery import RunChild

QUIET = 0.1


class Examiner:
    """Says this of every deployment."""

    def __init__(self, found: Examined | None) -> None:
        self._found = found
        self.forgotten: list[object] = []

    async def examine_since(self, *_: object) -> Examined:
        if self._found is None:
            raise OSError("nobody there")
        return self._found

    def forget(self, flow_run: FlowRun) -> None:
        self.forgotten.append(flow_run.id)


class Client:
    """Refuses some times, then writes down."""

    def __init__(self, refusals: int = 0) -> None:
        self.named: list[tuple[float, Any]] = []
        self._refusals = refusals

    async def update_flow_run(self, flow_run_id: object, *, infrastructure_pid: str) -> None:
        del flow_run_id
        if self._refusals:
            self._refusals -= 1
            raise OSError("busy")
        self.named.append((time.monotonic(), infrastructure_pid))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_starts, "QUIET_SECONDS", QUIET)
    monkeypatch.setattr(after_starts, "NAMED_AGAIN_SECONDS", (0.01, 0.01, 0.01))


def _child() -> RunChild:
    return RunChild(uuid4(), 1, "mark", asyncio.get_running_loop().create_future())


def _run(**more: Any) -> FlowRun:
    return FlowRun(flow_id=uuid4(), deployment_id=uuid4(), **more)


def test_a_process_is_named_once_nothing_started_for_a_moment() -> None:
    async def whole() -> None:
        after, client = AfterStarts(Examiner(None)), Client(refusals=1)  # type: ignore[arg-type]
        after.begun()
        naming = asyncio.create_task(after.name(client, _run(), _child(), "me"))  # type: ignore[arg-type]
        for _ in range(4):
            await asyncio.sleep(QUIET * 0.6)
            newest = after.begun()
        assert client.named == [], "others began"
        await naming
        [(when, who)] = client.named
        assert who == "me"
        assert when - newest >= QUIET

    asyncio.run(whole())


def test_starts_that_never_end_keep_nobody_nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_starts, "LONGEST_SECONDS", 3 * QUIET)

    async def whole() -> None:
        after, client = AfterStarts(Examiner(None)), Client()  # type: ignore[arg-type]
        naming = asyncio.create_task(after.name(client, _run(), _child(), "me"))  # type: ignore[arg-type]
        while not naming.done():
            after.begun()
            await asyncio.sleep(QUIET / 4)
        assert [who for _, who in client.named] == ["me"]

    asyncio.run(asyncio.wait_for(whole(), 5))


def test_a_run_that_wakes_is_named_at_once() -> None:
    async def whole() -> None:
        after, client = AfterStarts(Examiner(None)), Client()  # type: ignore[arg-type]
        began = after.begun()
        await after.name(client, _run(infrastructure_pid="host:1:old"), _child(), "me")  # type: ignore[arg-type]
        assert client.named[0][0] - began < QUIET

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("found", "says", "forgets"),
    [
        (Examined("it brings pull steps"), "it brings pull steps", False),
        (Examined("it belongs to no deployment", gone=True), "", False),
        (Examined(""), "", False),
        (None, "", True),
    ],
)
def test_what_changed_ends_a_run_and_what_has_gone_does_not(found: Examined | None, says: str, forgets: bool) -> None:
    async def whole() -> None:
        examiner, run = Examiner(found), _run()
        after = AfterStarts(examiner)  # type: ignore[arg-type]
        assert await after.examine(Client(), run, _child(), after.begun()) == says  # type: ignore[arg-type]
        assert examiner.forgotten == ([run.id] if forgets else [])

    asyncio.run(whole())
