"""`POST /signals/{source}`: is it really from them, is it on the disk; then 200 and a receipt. Nothing is parsed before.

Order of the questions: known source; room; size and type as announced; what the headers can prove; the body, as it
came; the signature over it; the disk. 200 exactly, because some senders take any other success for a failure, and 503
with Retry-After when it cannot be kept now, never 429, because some senders never come back after that.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from flows.doors.door.answers import JSON, Refusal, refuse, say, say_bytes, unwell
from flows.doors.door.notifying import Notary
from flows.doors.door.reading import SenderLeftError, read_body
from flows.doors.door.reception import Reception
from runbooks.domain.signal import Strength
from runbooks.domain.sources import TokenPlace
from tasks.intake.admitting import Admitted
from tasks.intake.committing import Arrival
from tasks.intake.receipts import receipt
from tasks.intake.sns import Envelope
from tasks.intake.tokens import check_token
from tasks.intake.verifying import Claim, LongCheck, Proof, check_signature

log = logging.getLogger("quell.door")

SIGNALS = "/signals/"
ALLOW = (b"allow", b"POST, OPTIONS")
UNPROVEN = Proof(Strength.UNPROVEN)
MOST_QUERY = 2000


class SignalRoute:
    """The route as ASGI calls it."""

    def __init__(self, reception: Reception, notary: Notary | None = None) -> None:
        self._reception = reception
        self._notary = notary or Notary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        began = time.perf_counter()
        counts, name = self._reception.counts, ""
        asked, _, token = scope["path"][len(SIGNALS) :].partition("/")
        try:
            admitted = self._reception.find(asked)
            name = admitted.name
            if scope["method"] == "OPTIONS":
                await _greet(scope, send, self._most_per_minute(admitted))
                return
            named = await self._take(admitted, token, scope, receive)
        except Refusal as refusal:
            counts.requests[name or "(unknown)", refusal.word] += 1
            await refuse(send, refusal)
            return
        except SenderLeftError:
            counts.requests[name, "sender left"] += 1
            return
        await say_bytes(send, 200, b'{"status":"accepted","receipt":"%b"}' % named.encode(), JSON)
        counts.requests[name, "accepted"] += 1
        counts.took(time.perf_counter() - began)

    async def _take(self, admitted: Admitted, token: str, scope: Scope, receive: Receive) -> str:
        reception, source, now_ns = self._reception, admitted.source, time.time_ns()
        reception.demand_room(admitted)
        headers = Heads(dict(scope["headers"]))
        content_type = self._announced(admitted, scope["method"], headers)
        claim: Claim | None = None
        proof: Proof | None = UNPROVEN
        if source.token is not None:
            if source.token.place is TokenPlace.BASIC:
                demand_own_site(headers)
            query = dict(parse_qsl(scope["query_string"].decode("latin-1")[:MOST_QUERY]))
            proof = check_token(source.token, admitted.keys, headers, token, query)
            demand(proof, admitted, close=True)
        elif admitted.reader is not None:
            claim = admitted.reader.read(headers, now_ns)
            if claim is None:
                raise Refusal(401, "not proven", close=True)
        body = await read_body(
            receive, keep=reception.limits.door_body_kept_bytes, most=reception.limits.door_body_most_bytes,
            held=reception.held, begin=lambda: None if claim is None else LongCheck(claim, admitted.keys),
        )  # fmt: skip
        envelope: Envelope | None = None
        if source.notifications is not None:
            envelope, proof = await self._notary.judge(body.kept, source.notifications, now_ns)
        elif claim is not None:
            proof = body.check.end() if body.check else check_signature(claim, admitted.keys, body.kept)
        proven = demand(proof, admitted)
        named = receipt(now_ns)
        await reception.store(Arrival(
            named, admitted.name, now_ns, content_type[:200], admitted.keeps(headers.raw), proven.strength,
            proven.signed_ns, proven.secret, body.truncated, body.digest, body.kept,
        ))  # fmt: skip
        if envelope is not None:
            await self._notary.confirm(envelope)
        reception.counts.proved(admitted.name, proven, now_ns)
        return named

    def _most_per_minute(self, admitted: Admitted) -> str:
        """As CloudEvents writes it."""
        return str(self._reception.limits.door_unproven_per_minute) if admitted.source.unproven else "*"

    def _announced(self, admitted: Admitted, method: str, headers: Mapping[str, str]) -> str:
        """What the body says that it is; Refusal when it is announced as something that we do not take."""
        if method != "POST":
            raise Refusal(405, "method", ALLOW, close=True)
        demand_readable(headers, self._reception.limits.door_body_most_bytes)
        content_type = headers.get("content-type", "")
        if not admitted.takes(content_type):
            raise Refusal(415, "content type", close=True)
        return content_type


def demand(proof: Proof | None, admitted: Admitted, *, close: bool = False) -> Proof:
    """The proof; Refusal 401, or 503 when a secret that might have proven it cannot be read now."""
    if proof is not None:
        return proof
    if admitted.unreadable:
        raise unwell("secret")
    raise Refusal(401, "not proven", close=close)


class Heads(Mapping[str, str]):
    """A request's headers by their lower-case names; the last of several counts. Only what is asked for is decoded."""

    __slots__ = ("raw",)

    def __init__(self, raw: dict[bytes, bytes]) -> None:
        self.raw = raw

    def __getitem__(self, name: str) -> str:
        return self.raw[name.encode()].decode("latin-1")

    def get(self, name: str, default: Any = None) -> Any:  # quicker than by exceptions
        """The header, or the default."""
        found = self.raw.get(name.encode())
        return default if found is None else found.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def demand_own_site(headers: Mapping[str, str]) -> None:
    """Refusal 403 of what a browser sends for a page of another site: it adds the password by itself, and proves nothing."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise Refusal(403, "another site", close=True)


def demand_readable(headers: Mapping[str, str], most: int) -> None:
    """Refusal when the body is announced as packed or as too long."""
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Refusal(415, "content encoding", close=True)
    announced = headers.get("content-length", "0")
    if announced.isdigit() and int(announced[:20]) > most:
        raise Refusal(413, "too long", close=True)


async def _greet(scope: Scope, send: Send, rate: str) -> None:
    """The handshake of CloudEvents' webhooks: who asks whether it may send is told yes, and how much; proving it comes later."""
    asked = next((value for name, value in scope["headers"] if name == b"webhook-request-origin"), b"")
    allowed = [(b"webhook-allowed-origin", asked), (b"webhook-allowed-rate", rate.encode())]
    await say(send, 200, {"status": "ready"}, ALLOW, *(allowed if asked.isascii() and 0 < len(asked) < 254 else ()))
