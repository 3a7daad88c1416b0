"""Send a signal, signed by Standard Webhooks. The standard library is enough: copy this file into your detector.

    send("https://quell.example/signals/detector", secret, "guard.tripped", {"system": "support-agent", "text": "..."})

A delivery is tried again, under the same id and with a fresh signature, until it is acknowledged or finally refused; so
the same signal may arrive twice, and counts once. Source of the signature: https://www.standardwebhooks.com (1.0).
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import random
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

WAITS = (0.2, 1.0, 3.0, 10.0, 30.0)
"""Seconds between one try and the next, where the receiver asks for nothing else."""
LONGEST_WAIT = 60.0


class NotSentError(Exception):
    """It was not acknowledged: refused for good, or not reached in all tries. `status` is None when nobody answered."""

    def __init__(self, problem: str, status: int | None) -> None:
        super().__init__(problem)
        self.status = status


class _StayHere(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **named: object) -> None:
        """A signed body goes to the address that it was meant for, or nowhere."""


_opener = urllib.request.build_opener(_StayHere)


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """The `webhook-signature` of this body. `secret` is `whsec_` and base64; `at` is seconds since 1970."""
    try:
        key = base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("expected the secret as base64 after whsec_") from None
    made = hmac.digest(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(made).decode()}"


def signed_headers(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """All headers of one delivery of this body."""
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature(secret, message_id, at, body),
    }


def signal_body(kind: str, data: Mapping[str, Any]) -> bytes:
    """The body of a signal of this kind that happened now."""
    return json.dumps({"type": kind, "timestamp": datetime.now(UTC).isoformat(), "data": dict(data)}).encode()


def send(
    url: str, secret: str, kind: str, data: Mapping[str, Any], *, message_id: str | None = None,
    timeout_seconds: float = 10.0, waits: tuple[float, ...] = WAITS,
) -> str:  # fmt: skip
    """What the receiver answered when it acknowledged (quell: JSON with a receipt). Raises NotSentError.

    `data` may hold system, environment, archetype, labels, severity, state ("resolved"), near_miss, occurred_at, title,
    text, entity, and alert: the name under which it fires and is later resolved.
    """
    body = signal_body(kind, data)
    return deliver(url, secret, body, message_id=message_id, timeout_seconds=timeout_seconds, waits=waits)


def deliver(
    url: str, secret: str, body: bytes, *, message_id: str | None = None, timeout_seconds: float = 10.0,
    waits: tuple[float, ...] = WAITS,
) -> str:  # fmt: skip
    """The same for a body that is made already."""
    if not url.startswith(("https://", "http://")):
        raise ValueError("expected an address that begins with https:// (or http:// on this machine)")
    name = message_id or f"msg_{uuid.uuid4().hex}"
    problem, status = "never tried", None
    for wait in (*waits, None):
        headers = signed_headers(secret, name, int(time.time()), body)
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - checked above
        asked_wait = None
        try:
            with _opener.open(request, timeout=timeout_seconds) as answer:
                return str(answer.read(65_536).decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            with error:
                problem, status = f"it was answered with {error.code}", error.code
                asked_wait = error.headers.get("retry-after")
            if error.code < 500 and error.code not in {408, 429}:
                break
        except (OSError, http.client.HTTPException) as error:
            problem, status = f"nobody answered ({type(error).__name__})", None
        if wait is not None:
            time.sleep(_waiting(wait, asked_wait))
    raise NotSentError(f"the signal was not acknowledged: {problem}.", status)


def _waiting(wait: float, asked: str | None) -> float:
    """Seconds: what was asked for, bounded; else ours, spread, so that many detectors do not come back at once."""
    if asked is not None and asked.strip().isdigit():
        return min(float(asked), LONGEST_WAIT)
    return wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
