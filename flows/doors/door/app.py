"""The door's routes, and what lives as long as it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.doors.door.deciding import DecisionRoute
from flows.doors.door.receiving import SIGNALS, SignalRoute
from flows.doors.door.reception import Reception
from flows.doors.door.reporting import ReportRoute
from flows.doors.door.telling import Telling


def make_app(reception: Reception) -> ASGIApp:
    """The application; its lifespan looks after the reception, and ends it.

    Signals take a way of their own, before any routing: they are many, and their senders have little patience.
    """

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

    signals, report, telling = SignalRoute(reception), ReportRoute(reception), Telling(reception)
    app = Starlette(
        routes=[
            Route("/decisions", DecisionRoute(reception), methods=["POST"]),
            Route("/report", report, methods=["GET", "POST"]),
            Route("/report/{receipt}", report, methods=["GET"]),
            Route("/health", telling.health),
            Route("/ready", telling.ready),
            Route("/metrics", telling.metrics),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would name the host that the sender named

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(SIGNALS):
            await signals(scope, receive, send)
        else:
            await app(scope, receive, send)

    return front
