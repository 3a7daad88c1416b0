"""Prefect's clients in the process of a run: made before there is a run, and told what is known of it.

Nothing here can be made before the fork: sockets, loops and threads cannot be shared across one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.doors.first_words import KnownRun, be_patient, use_token
from tasks.warming import as_configured, open_early


@contextlib.contextmanager
def warmed(loop: asyncio.Runner, *, hurried: bool) -> Iterator[None]:
    """What each child would otherwise do on the way to its first line, and what cannot be shared across a fork.

    A hurried one asks the server nothing that its run may not need: in a burst that is what everybody waits for.
    """
    as_configured()
    with contextlib.suppress(AttributeError):  # a release that has no such thing
        be_patient()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Exception):  # a server that is away now may be back when the job comes
            synchronous = stack.enter_context(SyncClientContext.get_or_create())
            stack.enter_context(loop)  # after that: it sees what stood when it was entered
            asynchronous = stack.enter_context(_asynchronous_client(loop))
            if not hurried:
                EventsWorker.instance()
                APILogWorker.instance()
                with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                    synchronous.client.hello()
                    loop.run(asynchronous.client.hello())
        if not hurried:
            open_early()
        yield


@contextlib.contextmanager
def _asynchronous_client(loop: asyncio.Runner) -> Iterator[AsyncClientContext]:
    """Prefect's client for asynchronous flows, connected in the loop in which the flow will run."""
    client = AsyncClientContext.get_or_create()
    entered = loop.run(client.__aenter__())
    try:
        yield entered
    finally:
        loop.run(_left(client))


async def _left(client: contextlib.AbstractAsyncContextManager[object]) -> None:
    """First whatever a cancelled flow left running, then the client that it may need for its last words."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await client.__aexit__(None, None, None)


def give_token() -> None:
    """To the client of synchronous steps."""
    if (line := SyncClientContext.get()) is not None:
        use_token(line.client)


async def as_known(run: Coroutine[Any, Any, object], flow_run: FlowRun, deployment_id: UUID | None) -> None:
    """Run it; its engine finds the client that is connected already, and what is known of the run."""
    if (line := AsyncClientContext.get()) is not None:
        use_token(line.client)
        KnownRun(line.client, flow_run, deployment_id)
    await run
