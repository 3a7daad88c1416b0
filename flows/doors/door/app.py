"""The door's routes, and what lives as long as it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import Route

from flows.doors.door.receiving import SignalRoute
from flows.doors.door.reception import Reception
from flows.doors.door.telling import Telling


def make_app(reception: Reception) -> Starlette:
    """The application; its lifespan looks after the reception, and ends it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        looking = asyncio.create_task(reception.look_again())
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            await asyncio.to_thread(reception.end)

    signals, telling = SignalRoute(reception), Telling(reception)
    return Starlette(
        routes=[
            Route("/signals/{source}", signals, methods=["POST", "OPTIONS"]),
            Route("/signals/{source}/{token}", signals, methods=["POST", "OPTIONS"]),
            Route("/health", telling.health),
            Route("/ready", telling.ready),
            Route("/metrics", telling.metrics),
        ],
        lifespan=lifespan,
    )
