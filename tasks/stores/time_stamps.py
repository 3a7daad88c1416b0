"""RFC 3161: somebody else's clock says that a checkpoint existed. Over HTTP (RFC 3161 §3.4)."""

import contextlib
import hashlib
import secrets
import socket
import threading
from collections.abc import Mapping
from typing import Any

import httpx

from runbooks.domain.errors import LedgerError
from runbooks.domain.timestamp import LARGEST_RESPONSE, NoStampError, read_response, request_for

SECONDS = 10.0
"""How long the authority may take to answer, from the first byte to the last."""


class TimeStamps:
    """One time-stamp authority. LedgerError when its address is none."""

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise _failed(
                f"the address of the time-stamp authority is none ({error})",
                "correct anchor_tsa_url in config/defaults.toml.",
            ) from error

    @property
    def name(self) -> str:
        """How it is called in the record; a password in the address stays out."""
        return str(self._url.copy_with(userinfo=b""))

    def stamp(self, body: bytes) -> tuple[bytes, bytes]:
        """Request and response over these bytes, as `openssl ts -verify` takes them; LedgerError when there is none."""
        digest, nonce = hashlib.sha256(body).digest(), secrets.randbits(63) | 1 << 62
        request, end = request_for(digest, nonce), _End(self._seconds)
        try:
            with (
                end,
                httpx.Client(timeout=self._seconds) as client,
                client.stream(
                    "POST", self._url, content=request, headers={"Content-Type": "application/timestamp-query"},
                    extensions={"trace": end.hear},
                ) as answer,
            ):  # fmt: skip
                answer.raise_for_status()
                response = b""
                for piece in answer.iter_bytes():
                    response += piece
                    if len(response) > LARGEST_RESPONSE:
                        break
            found = read_response(response)
        except (httpx.HTTPError, NoStampError) as error:
            why = f"not within {self._seconds:g} s" if end.came else str(error) or type(error).__name__
            raise _failed(f"{self.name} gave no time-stamp ({why})") from error
        if found.imprint != digest.hex() or found.nonce != nonce:
            raise _failed(f"{self.name} stamped something else than it was asked to")
        return request, response


class _End:
    """Ends the connection when the time is over: a client's own time-out begins anew with each byte that drips in."""

    def __init__(self, seconds: float) -> None:
        self._lines: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.came = False

    def hear(self, event: str, said: Mapping[str, Any]) -> None:
        """What httpx tells of its connection (its `trace` extension)."""
        if event.endswith("connect_tcp.complete"):
            self._lines.append(said["return_value"].get_extra_info("socket").dup())
            if self.came:
                self._cut()

    def _cut(self) -> None:
        self.came = True
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        for line in self._lines:
            line.close()


def _failed(problem: str, next_step: str = "") -> LedgerError:
    return LedgerError(
        f"{problem}.", now="the response goes on; entries since the last anchor are not time-stamped.",
        next_step=next_step or "look whether the authority of anchor_tsa_url is up; it is asked again by itself.",
    )  # fmt: skip
