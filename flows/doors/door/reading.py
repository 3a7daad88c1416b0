"""A request's body, bounded: kept up to a size, hashed up to a larger one, refused beyond it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive

from flows.doors.door.answers import Refusal, unwell
from tasks.intake.verifying import LongCheck

MOST_HELD_BYTES = 128 * 1024 * 1024
"""Of all bodies that are being read at one time."""


class SenderLeftError(Exception):
    """The connection ended before the body did."""


@dataclass
class Held:
    """How many bytes of unfinished bodies this process holds."""

    size: int = 0


@dataclass(frozen=True)
class Body:
    """What was kept, and the digest of the whole; `check` went along with a body that is longer than what was kept."""

    kept: bytes
    digest: bytes
    truncated: bool = False
    check: LongCheck | None = None


async def read_body(
    receive: Receive, *, keep: int, most: int, held: Held, begin: Callable[[], LongCheck | None] = lambda: None
) -> Body:
    """The body; `begin` makes the check that a long one is fed to. Refusal 413 beyond `most` bytes."""
    message = await receive()
    if message["type"] != "http.request":
        raise SenderLeftError
    first: bytes = message.get("body", b"")
    if not message.get("more_body") and len(first) <= keep:
        return Body(first, hashlib.sha256(first).digest())
    reading = _Reading(keep, begin)
    try:
        while True:
            held.size += reading.take(message.get("body", b""))
            if reading.size > most:
                raise Refusal(413, "too long", close=True)
            if held.size > MOST_HELD_BYTES:
                raise unwell("crowded")
            if not message.get("more_body"):
                return reading.body()
            message = await receive()
            if message["type"] != "http.request":
                raise SenderLeftError
    finally:
        held.size -= reading.held


class _Reading:
    def __init__(self, keep: int, begin: Callable[[], LongCheck | None]) -> None:
        self.kept, self.size = bytearray(), 0
        self._keep, self._begin = keep, begin
        self._digest = hashlib.sha256()
        self._check: LongCheck | None = None

    @property
    def held(self) -> int:
        """How many bytes are held for this body: what is kept, and what its check needs."""
        return len(self.kept) + (0 if self._check is None else self._check.held)

    def take(self, piece: bytes) -> int:
        """The next bytes; how many more are held because of them."""
        before = self.held
        self._digest.update(piece)
        short = self.size <= self._keep
        self.size += len(piece)
        if short and self.size > self._keep:
            self._check = self._begin()
            if self._check is not None:
                self._check.feed(bytes(self.kept))
        if self._check is not None:
            self._check.feed(piece)
        self.kept += piece[: self._keep - len(self.kept)]
        return self.held - before

    def body(self) -> Body:
        return Body(bytes(self.kept), self._digest.digest(), self.size > self._keep, self._check)
