"""Connections that do not get on: slow headers, slow bodies, endless headers, idle ones, too many. Each is let go.

uvicorn waits for a started request for ever; this stands in front of whichever of its two parsers is installed.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.importer import import_from_string

from flows.doors.door.answers import refuse, unwell
from flows.doors.door.counts import Counts

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Parser
else:
    try:
        Parser = import_from_string(HTTP_PROTOCOLS["httptools"])
    except ImportError:
        Parser = import_from_string(HTTP_PROTOCOLS["h11"])

MOST_HEADER_BYTES = 65_536
IDLE_SECONDS = 75.0
"""Longer than reverse proxies keep a connection, so that they close it and not we, just when they use it."""
LOOKS_PER_PATIENCE = 4


class Guarded(Parser):
    """One connection."""

    patience_seconds = 10.0
    most_connections = 1000
    counts = Counts()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_bytes = 0
        self._since = self.loop.time()
        self._began: Any = None
        """The request that is on its way; `_since` counts from its beginning."""
        self._look: asyncio.TimerHandle | None = None
        if len(self.connections) > 2 * self.most_connections:
            transport.abort()
            return
        if len(self.connections) > self.most_connections:
            self.app = self._if_there_is_room
        self._look_later()

    async def _if_there_is_room(self, scope: Scope, receive: Receive, send: Send) -> None:
        """For connections beyond the limit, and for none of the others: uvicorn's own answer says not when to come again."""
        if len(self.connections) > self.most_connections:
            self.counts.requests["(all)", "connections"] += 1
            await refuse(send, unwell("connections"))
        else:
            await self.config.loaded_app(scope, receive, send)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._header_bytes and not self._going_on():
            self._since = self.loop.time()  # an idle connection begins a request
        super().data_received(data)
        if self._going_on():
            self._header_bytes = 0
        else:
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADER_BYTES:
                self.transport.abort()

    def _going_on(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look_later(self) -> None:
        self._look = self.loop.call_later(self.patience_seconds / LOOKS_PER_PATIENCE, self._look_now)

    def _look_now(self) -> None:
        if self.transport.is_closing():
            return
        now, going_on = self.loop.time(), self._going_on()
        if going_on and self._began is not self.cycle:
            self._began, self._since = self.cycle, now
        waits_for_sender = self.cycle.more_body if going_on else bool(self._header_bytes)
        patience = self.patience_seconds if waits_for_sender or self.cycle is None else IDLE_SECONDS
        if now - self._since >= patience and (waits_for_sender or not going_on):
            self.transport.abort()
            return
        self._look_later()


def guarded(patience_seconds: float, most_connections: int, counts: Counts) -> type[Guarded]:
    """The protocol class for uvicorn: a header and a body have `patience_seconds` each.

    Those beyond `most_connections` are sent away to come again; beyond twice as many nobody is answered.
    """
    limits = {"patience_seconds": patience_seconds, "most_connections": most_connections, "counts": counts}
    return type("Guarded", (Guarded,), limits)
