"""What the door says back: short JSON, no detail for those who are not proven, and when to come again."""

from typing import Any

import orjson
from starlette.types import Send

from runbooks.domain.value import Json

COME_AGAIN_SECONDS = 30
"""Below the 120 s after which some senders' repeated signatures would be too old."""

Header = tuple[bytes, bytes]
CLOSE: Header = (b"connection", b"close")
COME_AGAIN: Header = (b"retry-after", str(COME_AGAIN_SECONDS).encode())
JSON: Header = (b"content-type", b"application/json")
_PLAIN: tuple[Header, ...] = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


class Refusal(Exception):  # noqa: N818 - an answer, not a fault of ours
    """Why a request is not taken; `word` names it in the counts and in the answer."""

    def __init__(self, status: int, word: str, *headers: Header, close: bool = False) -> None:
        super().__init__(word)
        self.status, self.word = status, word
        self.headers = (*headers, CLOSE) if close else headers


def unwell(word: str, *, close: bool = True) -> Refusal:
    """Not now: the sender shall come again, and nothing is lost."""
    return Refusal(503, word, COME_AGAIN, close=close)


async def say(send: Send, status: int, value: Json, *headers: Header) -> None:
    """One JSON object."""
    await say_bytes(send, status, orjson.dumps(value), JSON, *headers)


async def say_bytes(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """These bytes; the headers say of which type they are."""
    length = (b"content-length", str(len(body)).encode())
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": [length, *_PLAIN, *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refusal: Refusal) -> None:
    """The refusal, with its word and nothing else."""
    await say(send, refusal.status, {"status": "refused", "because": refusal.word}, *refusal.headers)
