"""Amazon SNS: the one sender whose signature covers parsed fields, so its envelope is read before the acknowledgement.

Source: "Verifying the signatures of Amazon SNS messages" (canonical text, versions 1 and 2). Nothing in a message
names an address that we follow unless it is Amazon's own: the certificate must come from `sns.REGION.amazonaws.com`,
and a subscription is confirmed only after the signature held, under the same rule. The order is: envelope, topic,
address of the certificate, signature.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from runbooks.domain.signal import Strength
from runbooks.domain.sources import Notifications
from tasks.intake.verifying import Proof

FRESH_SECONDS = 300
"""Older messages are taken all the same (SNS repeats for up to an hour), but nothing begins unasked because of them."""
LEAST_KEY_BITS = 2048
NOTIFICATION, SUBSCRIPTION, UNSUBSCRIPTION = "Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    UNSUBSCRIPTION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_MAY_BE_MISSING = frozenset({"Subject"})
_AMAZON = re.compile(r"sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


@dataclass(frozen=True)
class Envelope:
    """A message whose shape is right; nothing in it is proven yet."""

    kind: str
    fields: Mapping[str, str]
    signature: bytes
    signed_ns: int

    @property
    def certificate(self) -> str:
        """Where it says that its certificate is; one of Amazon's addresses."""
        return self.fields["SigningCertURL"]

    @property
    def confirm(self) -> str | None:
        """The address that confirms a subscription; to be followed only after the signature held."""
        found = self.fields.get("SubscribeURL", "")
        return found if self.kind == SUBSCRIPTION and is_amazons(found) else None


def is_amazons(url: str) -> bool:
    """Whether this is an address of SNS itself: https, its host, no user, no other port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    host = parts.hostname or ""
    return (
        plain
        and parts.scheme == "https"
        and port in (None, 443)
        and "@" not in parts.netloc
        and bool(_AMAZON.fullmatch(host))
    )


def read_envelope(body: bytes, rules: Notifications) -> Envelope | None:
    """The envelope, when these rules could ever take it: known kind, listed topic, certificate at Amazon's."""
    try:
        found = orjson.loads(body)
        fields = {key: value for key, value in found.items() if isinstance(value, str)}
        signature = base64.b64decode(fields.get("Signature", ""), validate=True)
    except (orjson.JSONDecodeError, AttributeError, binascii.Error, ValueError):
        return None
    kind, signed_ns = fields.get("Type", ""), _nanoseconds(fields.get("Timestamp", ""))
    whole = kind in _SIGNED and all(name in fields for name in _SIGNED[kind] if name not in _MAY_BE_MISSING)
    if not whole or signed_ns is None or fields["TopicArn"] not in rules.topics:
        return None
    if not _is_certificate(fields.get("SigningCertURL", "")):
        return None
    if fields.get("SignatureVersion") not in (("1", "2") if rules.version_1 else ("2",)):
        return None
    return Envelope(kind, fields, signature, signed_ns)


def _is_certificate(url: str) -> bool:
    if not is_amazons(url):
        return False
    parts = urlsplit(url)
    return parts.path.endswith(".pem") and not parts.query and not parts.fragment


def check_envelope(envelope: Envelope, certificate: bytes, now_ns: int) -> Proof | None:
    """The proof, when this certificate (PEM, from the envelope's address) signed it and is valid now."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError:
        return None
    now, key = datetime.fromtimestamp(now_ns / 1e9, UTC), found.public_key()
    if not found.not_valid_before_utc <= now <= found.not_valid_after_utc:
        return None
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        return None
    how = SHA256() if envelope.fields["SignatureVersion"] == "2" else SHA1()  # noqa: S303 - only where the source says so
    try:
        key.verify(envelope.signature, signed_text(envelope), PKCS1v15(), how)
    except InvalidSignature:
        return None
    fresh = abs(now_ns - envelope.signed_ns) <= FRESH_SECONDS * 1_000_000_000
    return Proof(Strength.SIGNED if fresh else Strength.SIGNED_UNDATED, None, envelope.signed_ns)


def signed_text(envelope: Envelope) -> bytes:
    """Name and value of each signed field, a line each, in the order of their names."""
    lines = [
        f"{name}\n{envelope.fields[name]}\n" for name in _SIGNED[envelope.kind] if name in envelope.fields
    ]  # fmt: skip
    return "".join(lines).encode("utf-8", "surrogatepass")


def _nanoseconds(text: str) -> int | None:
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000
    except (ValueError, OverflowError):
        return None
