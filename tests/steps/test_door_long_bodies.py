"""A body that is longer than what is kept of it, signed with Ed25519: proven whole, and never held beyond the bounds."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows.doors.door import reading
from flows.doors.door.reception import Reception
from runbooks.domain.value import digest_of
from tests.steps.doorstep import a_reception, furnish, keep_secret, signed, visiting

KEPT = 65_536
JSON = {"content-type": "application/json"}
BODY = bytes(range(256)) * 8192
SOURCE = """
[sources.detector]
sender = "standard-webhooks"
secrets = [{id = "shared", secret = "file:secrets/whsec"}, {id = "public", secret = "file:secrets/whpk"}]
"""
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Reception]:
    home = furnish(tmp_path / "home", SOURCE, f"door_body_kept_bytes = {KEPT}\n")
    public = PRIVATE.public_key().public_bytes_raw()
    keep_secret(home, "whpk", "whpk_" + base64.b64encode(public).decode())
    with a_reception(home) as found:
        yield found


def by_ed25519(body: bytes) -> dict[str, str]:
    stamp = str(int(time.time()))
    shown = base64.b64encode(PRIVATE.sign(f"msg_1.{stamp}.".encode() + body)).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": f"v1a,{shown}"}


def answers(door: Reception, *deliveries: tuple[bytes, dict[str, str]]) -> list[int]:
    """To these, each sent piece by piece."""

    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for at in range(0, len(body), 50_000):
            yield body[at : at + 50_000]

    async def visit() -> list[int]:
        async with visiting(door) as client:
            return [
                (await client.post("/signals/detector", content=pieces(body), headers={**JSON, **headers})).status_code
                for body, headers in deliveries
            ]

    return asyncio.run(visit())


def test_it_is_proven_whole_and_kept_in_part(door: Reception) -> None:
    changed = BODY[:-1] + b"x"
    assert answers(door, (BODY, by_ed25519(BODY)), (changed, by_ed25519(BODY)), (BODY, signed(BODY))) == [200, 401, 200]
    found = door.reading.after("", 10)
    assert [(delivery.truncated, kept, delivery.body_digest) for delivery, kept in found] == 2 * [
        (True, BODY[:KEPT], digest_of(BODY))
    ]
    assert set(door.counts.secrets) == {("detector", "public"), ("detector", "shared")}
    assert door.held.size == 0


def test_what_is_held_for_it_counts(door: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_HELD_BYTES", 1_000_000)
    told = answers(door, (BODY, by_ed25519(BODY)), (BODY, signed(BODY)))
    assert told == [503, 200], "an HMAC needs no more than what is kept"
    assert door.held.size == 0
