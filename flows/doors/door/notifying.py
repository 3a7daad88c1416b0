"""What SNS's signature needs from Amazon: its certificate, and the confirmation of a subscription. Both bounded."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from flows.doors.door.answers import Refusal, unwell
from flows.doors.door.reception import Allowance
from runbooks.domain.sources import Notifications
from tasks.intake.sns import Envelope, check_envelope, read_envelope
from tasks.intake.verifying import Proof

MOST_BYTES = 64 * 1024
DEADLINE_SECONDS = 8.0
"""Less than the 15 s after which SNS gives a delivery up."""
KEPT_SECONDS = 86_400.0
MOST_KEPT = 16
FETCHES_PER_MINUTE = 20
"""Of certificates: a stranger who makes up addresses does not make us ask Amazon for each."""

Fetch = Callable[[str], Awaitable[bytes]]


class FetchError(Exception):
    """Nothing usable came back."""


async def fetch(url: str) -> bytes:
    """A small answer from this address: 200 only, and no other address that it names."""
    import httpx  # noqa: PLC0415 - 0.2 s that a door without SNS need not pay

    try:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            httpx.AsyncClient(follow_redirects=False, timeout=DEADLINE_SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            found = bytearray()
            async for piece in answer.aiter_bytes():
                found += piece
                if len(found) > MOST_BYTES:
                    raise FetchError("too long")
            if answer.status_code != 200:
                raise FetchError(f"status {answer.status_code}")
            return bytes(found)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchError(type(error).__name__) from error


class Notary:
    """Judges envelopes; keeps certificates that proved something, for a day."""

    def __init__(self, get: Fetch = fetch) -> None:
        self._get = get
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._allowance = Allowance()
        self._one = asyncio.Lock()

    async def judge(self, body: bytes, rules: Notifications, now_ns: int) -> tuple[Envelope, Proof]:
        """The envelope and its proof; Refusal 401, or 503 when its certificate cannot be had now."""
        envelope = read_envelope(body, rules)
        if envelope is None:
            raise Refusal(401, "not proven")
        certificate = await self._certificate(envelope.certificate)
        proof = check_envelope(envelope, certificate, now_ns)
        if proof is None:
            raise Refusal(401, "not proven")
        if envelope.certificate not in self._kept and len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[envelope.certificate] = (time.monotonic() + KEPT_SECONDS, certificate)
        return envelope, proof

    async def confirm(self, envelope: Envelope) -> None:
        """Confirm the subscription that a proven envelope asks for; 503 when Amazon did not take it: SNS asks again."""
        if envelope.confirm is not None:
            try:
                await self._get(envelope.confirm)
            except FetchError as error:
                raise unwell("not confirmed") from error

    async def _certificate(self, url: str) -> bytes:
        async with self._one:
            until, found = self._kept.get(url, (0.0, b""))
            if time.monotonic() < until:
                return found
            if not self._allowance.take("certificates", FETCHES_PER_MINUTE):
                raise unwell("certificate")
            try:
                return await self._get(url)
            except FetchError as error:
                raise unwell("certificate") from error
