"""Deliveries as a door keeps them, and sources as configuration has them."""

import json
import tomllib

from runbooks.domain.instants import Instant
from runbooks.domain.signal import Delivery, Signal, Strength
from runbooks.domain.sources import Signing, Source, written_out
from runbooks.domain.value import Json, digest_of
from tasks.intake.normalising import normalise
from tasks.settings import SENDERS

RECEIVED: Instant = "2026-11-21T02:00:00.000000000Z"


def a_delivery(body: bytes, *, content_type: str = "application/json", number: int = 0, **changes: object) -> Delivery:
    base: dict[str, object] = {
        "id": f"DLV-{number:026d}", "source": "watch", "received_at": RECEIVED, "content_type": content_type,
        "strength": Strength.SIGNED, "signed_at": RECEIVED, "body_digest": digest_of(body),
    }  # fmt: skip
    return Delivery.model_validate(base | changes)


def a_source(sender: str | None = None, **stanza: Json) -> Source:
    """A source without a proof of its own, as the reading of bodies sees it; or one of a shipped sender."""
    shipped = tomllib.loads((SENDERS / f"{sender}.toml").read_text()) if sender else {}
    for proof in ("signing", "token", "notifications"):
        shipped.pop(proof, None)
    return Source.model_validate(written_out({"unproven": True, "sender": sender, **stanza}, shipped))


def read(
    body: Json | bytes, source: Source, headers: dict[str, str] | None = None, **changes: object
) -> tuple[Signal, ...]:
    """The signals of one delivery of this body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return normalise(a_delivery(raw, headers=tuple((headers or {}).items()), **changes), raw, source).signals  # type: ignore[arg-type]


def shipped_signing(sender: str) -> Signing:
    """How a shipped sender signs."""
    return Signing.model_validate(tomllib.loads((SENDERS / f"{sender}.toml").read_text())["signing"])
