"""RFC 3161: somebody else's clock says that a checkpoint existed. Over HTTP (RFC 3161 §3.4)."""

import hashlib
import secrets

import httpx

from runbooks.domain.errors import LedgerError
from runbooks.domain.timestamp import LARGEST_RESPONSE, NoStampError, read_response, request_for

SECONDS = 10.0
"""How long the authority may take to answer."""


class TimeStamps:
    """One time-stamp authority."""

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)

    @property
    def name(self) -> str:
        """How it is called in the record; a password in the address stays out."""
        return str(self._url.copy_with(userinfo=b""))

    def stamp(self, body: bytes) -> tuple[bytes, bytes]:
        """Request and response over these bytes, as `openssl ts -verify` takes them; LedgerError when there is none."""
        digest, nonce = hashlib.sha256(body).digest(), secrets.randbits(63) | 1 << 62
        request = request_for(digest, nonce)
        try:
            with httpx.stream(
                "POST", self._url, content=request, headers={"Content-Type": "application/timestamp-query"},
                timeout=SECONDS,
            ) as answer:  # fmt: skip
                answer.raise_for_status()
                response = b""
                for piece in answer.iter_bytes():
                    response += piece
                    if len(response) > LARGEST_RESPONSE:
                        break
            found = read_response(response)
        except (httpx.HTTPError, NoStampError) as error:
            raise self._failed(f"{self.name} gave no time-stamp ({error or type(error).__name__})") from error
        if found.imprint != digest.hex() or found.nonce != nonce:
            raise self._failed(f"{self.name} stamped something else than it was asked to")
        return request, response

    def _failed(self, problem: str) -> LedgerError:
        return LedgerError(
            f"{problem}.", now="the response goes on; entries since the last anchor are not time-stamped.",
            next_step="look whether the authority of anchor_tsa_url is up; it is asked again by itself.",
        )  # fmt: skip
