"""What keeps the worker going: the event stream, the polls, the sign of life, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter

from flows.doors.after_starts import CONNECTION_ERRORS
from flows.doors.first_words import TOKEN_SECONDS
from flows.doors.handing import listening
from flows.doors.listing import POOL, read_listing
from flows.doors.nursery import NurseryDoor
from flows.doors.run_endings import OnRefused
from flows.doors.warm_worker import QuellWorker
from tasks.collecting import collect_rarely

POLL_SECONDS, POLL_BESIDE_STREAM_SECONDS = 2.0, 6.0
"""Between two looks at what is due: without the event stream, and after each thing that was heard, for an event may come
before its transaction; and beside the stream while nothing is heard. A start that is just going on adds up to a second.
"""
SYNC_SECONDS = 20.0  # keeps the worker "online" in Prefect
ORPHAN_SECONDS = 5.0
RECONNECT_SECONDS = 1.0
TERM_GRACE_SECONDS = 15.0

_log = logging.getLogger("quell.worker")


async def work(
    *, checkout: Path, prefect_file: Path, log: Path, environment: dict[str, str], limit: int, standby: int,
    on_refused: OnRefused, grace_seconds: float, name: str | None,
) -> int:  # fmt: skip
    """Run the worker until SIGTERM or SIGINT. A second signal shortens the wait for running children to none."""
    listed = tuple(one for one in read_listing(prefect_file) if one.pool == POOL)
    nursery = NurseryDoor(checkout, log, tuple(dict.fromkeys(one.entrypoint for one in listed)), standby, environment)
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stopping.is_set() else stopping).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    await nursery.open()
    collect_rarely()
    worker = QuellWorker(listed=listed, nursery=nursery, on_refused=on_refused, limit=limit, name=name)
    async with worker, listening(Path(environment["QUELL_HOME"]), worker):
        learning = asyncio.create_task(_tried(worker.learn))
        loops = [
            asyncio.create_task(_submit(worker)),
            asyncio.create_task(_listen(worker)),
            asyncio.create_task(_every(SYNC_SECONDS, worker, worker.sync_with_backend)),
            asyncio.create_task(_every(ORPHAN_SECONDS, worker, worker.settle_orphans)),
            asyncio.create_task(_every(TOKEN_SECONDS, worker, worker.renew_token)),
        ]
        _log.info("Worker %r started: pool %s, limit %d, %d entry points.", worker.name, POOL, limit, len(listed))
        waits = [asyncio.create_task(stopping.wait()), *loops]
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        failed = next((task.exception() for task in done if task in loops), None)
        worker.draining = True
        for task in (*waits, learning):
            task.cancel()
        await asyncio.gather(*waits, learning, return_exceptions=True)
        await _drain(worker, nursery, hurry, grace_seconds)
    await nursery.close()
    if failed is not None:
        _log.error("Worker stopped by an unexpected error.", exc_info=failed)
        return 3
    return 0


async def _submit(worker: QuellWorker) -> None:
    quiet = False
    while True:
        worker.wake.clear()
        await _tried(worker.get_and_submit_flow_runs)
        if worker.cancellations:
            worker.cancellations = False
            await _tried(worker.cancel_requested)  # sets it again when it had to leave one for later
        long = worker.hears and quiet and not worker.cancellations
        quiet = not await _woken(worker, POLL_BESIDE_STREAM_SECONDS if long else POLL_SECONDS)
        if quiet and not await _woken(worker, worker.calm_in()):
            worker.cancellations = True


async def _woken(worker: QuellWorker, seconds: float) -> bool:
    with suppress(TimeoutError):
        return await asyncio.wait_for(worker.wake.wait(), seconds)
    return False


async def _listen(worker: QuellWorker) -> None:
    """Wake the submitter on every scheduled or cancelling run; any loss of the stream is repaired, the poll covers it."""
    wanted = EventFilter(event=EventNameFilter(prefix=["prefect.flow-run."]))
    while True:
        try:
            async with get_events_subscriber(filter=wanted, reconnection_attempts=0) as events:
                worker.hears = worker.cancellations = True
                worker.wake.set()
                async for event in events:
                    kind = event.resource.get("prefect.state-type")
                    worker.cancellations |= kind == "CANCELLING"
                    if kind in ("SCHEDULED", "CANCELLING"):
                        worker.wake.set()
        except Exception as error:  # noqa: BLE001  the subscriber raises bare Exception when it cannot authenticate
            _log.warning("Event stream lost (%s); polling every %.0f s meanwhile.", error, POLL_SECONDS)
        if worker.hears:
            worker.hears = False
            worker.wake.set()  # the next poll comes sooner
        await asyncio.sleep(RECONNECT_SECONDS)


async def _every(seconds: float, worker: QuellWorker, duty: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await asyncio.sleep(worker.calm_in())
        await _tried(duty)


async def _tried(duty: Callable[[], Awaitable[object]]) -> None:
    """One attempt; a server that is away or busy is met again at the next turn."""
    try:
        await duty()
    except CONNECTION_ERRORS as error:
        _log.warning("Prefect did not answer (%s: %s); trying again.", type(error).__name__, error)


async def _drain(worker: QuellWorker, nursery: NurseryDoor, hurry: asyncio.Event, grace_seconds: float) -> None:
    """Let running children finish for a while, then TERM them: Prefect's engine in the child reports the crash itself."""
    if worker.claimed:
        _log.info("Stopping; waiting up to %.0f s for %d running.", grace_seconds, len(worker.claimed))
        quiet = asyncio.create_task(asyncio.wait(list(worker.claimed.values())))
        hurried = asyncio.create_task(hurry.wait())
        waits: list[asyncio.Task[Any]] = [quiet, hurried]
        await asyncio.wait(waits, timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
        await asyncio.gather(*(nursery.end(child, signal.SIGTERM, TERM_GRACE_SECONDS) for child in nursery.running()))
    if worker.claimed:  # their last words to Prefect
        await asyncio.wait(list(worker.claimed.values()), timeout=TERM_GRACE_SECONDS)
