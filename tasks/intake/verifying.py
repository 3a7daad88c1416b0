"""Is this delivery really from its source? One declarative verifier for all that sign with HMAC or Ed25519.

1. What can be judged before the body is read is judged then: a missing header costs an unknown sender nothing of ours.
2. Signatures are checked over the bytes as they came, against every secret that is valid now and every one offered,
   in constant time and without stopping at the first: an answer's time tells nobody which secret was right.
3. Nothing here raises on what a sender wrote, and nothing of it is repeated.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from runbooks.domain.signal import Strength
from runbooks.domain.sources import Encoding, SecretForm, Signing, TimeForm

MOST_OFFERS = 8
_HEX = re.compile(rb"[0-9a-fA-F]{64}")
_UNIX = re.compile(r"[0-9]{1,12}")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_WHSEC, _WHPK = "whsec_", "whpk_"
_NS = 1_000_000_000
_BLOCK = 64
_INNER, _OUTER = bytes(byte ^ 0x36 for byte in range(256)), bytes(byte ^ 0x5C for byte in range(256))


class UnusableSecretError(ValueError):
    """A secret that cannot be a key of this kind; the text says what was expected, never what was found."""


@dataclass(frozen=True)
class Key:
    """One secret, ready for use."""

    id: str
    shared: bytes = b""
    public: Ed25519PublicKey | None = None

    @cached_property
    def _begun(self) -> tuple["hashlib._Hash", "hashlib._Hash"]:
        """The two hashes of HMAC (RFC 2104) with the key already in them."""
        key = hashlib.sha256(self.shared).digest() if len(self.shared) > _BLOCK else self.shared
        padded = key.ljust(_BLOCK, b"\0")
        return hashlib.sha256(padded.translate(_INNER)), hashlib.sha256(padded.translate(_OUTER))

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA256. Unlike `hmac.digest` it keeps the interpreter, which the thread that writes would take meanwhile."""
        inner, outer = self._begun
        first, last = inner.copy(), outer.copy()
        first.update(message)
        last.update(first.digest())
        return last.digest()


@dataclass(frozen=True)
class Proof:
    """Who sent it is proven, this well, by this secret. `signed_ns`: the sender's clock, nanoseconds since 1970."""

    strength: Strength
    secret: str | None = None
    signed_ns: int | None = None


@dataclass(frozen=True)
class Claim:
    """What the headers of a signed delivery offer, before its body is known."""

    offers: tuple[bytes, ...]
    """HMACs."""
    ed25519: tuple[bytes, ...]
    before: bytes
    """What is signed before the body."""
    after: bytes
    signed_ns: int | None


def signing_key(identity: str, text: str, form: SecretForm) -> Key:
    """The key that this secret's text stands for."""
    if form is SecretForm.RAW:
        if not text:
            raise UnusableSecretError("expected a secret, found an empty one")
        return Key(identity, shared=text.encode())
    public = text.startswith(_WHPK)
    try:
        raw = base64.b64decode(text.removeprefix(_WHPK if public else _WHSEC), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnusableSecretError("expected base64 after whsec_ (or whpk_)") from error
    if public:
        if len(raw) != 32:
            raise UnusableSecretError("expected an Ed25519 public key of 32 bytes after whpk_")
        return Key(identity, public=Ed25519PublicKey.from_public_bytes(raw))
    if not 24 <= len(raw) <= 64:
        raise UnusableSecretError("expected 24 to 64 bytes of base64 after whsec_")
    return Key(identity, shared=raw)


class ClaimReader:
    """Reads claims of one way of signing; made once, used for every delivery."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        pieces = signing.pieces()
        split = pieces.index((True, "body"))
        self._before, self._after = pieces[:split], pieces[split + 1 :]
        self._reach = signing.tolerance_seconds * _NS

    def read(self, headers: Mapping[str, str], now_ns: int) -> Claim | None:
        """What these headers (lower-case names) offer; None when that can prove nothing: no signature, or not of our time."""
        signing = self._signing
        offered = headers.get(signing.header, "")
        parts = offered.split(signing.separator, 32) if signing.separator else [offered]
        signed_ns, timestamp = None, ""
        if signing.timestamp is not None:
            timestamp = _timestamp(signing.timestamp, headers, parts)
            signed_ns = _nanoseconds(timestamp, signing.time_form)
            if signed_ns is None or abs(now_ns - signed_ns) > self._reach:
                return None
        offers, ed25519 = _offers(signing, parts)
        if not offers and not ed25519:
            return None
        before, after = _signed_side(self._before, headers, timestamp), _signed_side(self._after, headers, timestamp)
        if before is None or after is None:
            return None
        return Claim(offers, ed25519, before, after, signed_ns)


def read_claim(signing: Signing, headers: Mapping[str, str], now_ns: int) -> Claim | None:
    """The same for one delivery alone."""
    return ClaimReader(signing).read(headers, now_ns)


def _signed_side(pieces: tuple[tuple[bool, str], ...], headers: Mapping[str, str], timestamp: str) -> bytes | None:
    """What is signed on one side of the body; None when a header of it is missing."""
    texts = []
    for field, text in pieces:
        if not field:
            texts.append(text)
        elif text == "timestamp":
            texts.append(timestamp)
        else:
            found = headers.get(text[len("header:") :])
            if found is None:
                return None
            texts.append(found)
    try:
        return "".join(texts).encode("latin-1")
    except UnicodeEncodeError:
        return None


def check_signature(claim: Claim, keys: Iterable[Key], body: bytes | bytearray) -> Proof | None:
    """The proof, when any of these keys made any of the offered signatures over this body."""
    message = b"".join((claim.before, body, claim.after))
    found: str | None = None
    for key in keys:
        if key.public is not None:
            matches = any([_signed(key.public, offer, message) for offer in claim.ed25519])  # noqa: C419 - no early exit
        else:
            matches = _among(key.mac(message), claim.offers)
        found = key.id if matches else found
    return _proof(claim, found)


class LongCheck:
    """The same for a body that is too long to be kept: fed piece by piece, and held whole only where Ed25519 may prove it."""

    def __init__(self, claim: Claim, keys: Iterable[Key]) -> None:
        self._claim, known = claim, tuple(keys)
        self._macs = [(key.id, hmac.new(key.shared, claim.before, hashlib.sha256)) for key in known if not key.public]
        self._public = [key for key in known if key.public and claim.ed25519]
        self._whole = bytearray()

    @property
    def held(self) -> int:
        """How many bytes of the body are held here."""
        return len(self._whole)

    def feed(self, piece: bytes) -> None:
        """The next bytes of the body."""
        for _, mac in self._macs:
            mac.update(piece)
        if self._public:
            self._whole += piece

    def end(self) -> Proof | None:
        """The proof, after the last piece."""
        found: str | None = None
        for identity, mac in self._macs:
            mac.update(self._claim.after)
            found = identity if _among(mac.digest(), self._claim.offers) else found
        proof = check_signature(self._claim, self._public, self._whole) if self._public else None
        return proof or _proof(self._claim, found)


def _offers(signing: Signing, parts: list[str]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    macs: list[bytes] = []
    others: list[bytes] = []
    for part in map(str.strip, parts):
        if signing.ed25519_prefix and part.startswith(signing.ed25519_prefix):
            raw = _base64(part.removeprefix(signing.ed25519_prefix), 64)
            others += [raw] if raw else []
        elif part and part.startswith(signing.prefix):
            raw = _mac(part.removeprefix(signing.prefix), signing.encoding)
            macs += [raw] if raw else []
    return tuple(macs[:MOST_OFFERS]), tuple(others[:MOST_OFFERS])


def _mac(text: str, encoding: Encoding) -> bytes:
    """The 32 bytes written so; nothing when it is not that."""
    raw = text.encode("utf-8", "surrogatepass")
    if encoding is not Encoding.BASE64 and _HEX.fullmatch(raw):
        return bytes.fromhex(text)
    return b"" if encoding is Encoding.HEX else _base64(text, 32)


def _base64(text: str, length: int) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if len(raw) == length else b""


def _timestamp(where: str, headers: Mapping[str, str], parts: list[str]) -> str:
    kind, _, name = where.partition(":")
    if kind == "header":
        return headers.get(name, "")
    found = [part.strip().removeprefix(f"{name}=") for part in parts if part.strip().startswith(f"{name}=")]
    return found[0] if len(found) == 1 else ""


def _nanoseconds(text: str, form: TimeForm) -> int | None:
    if form is TimeForm.UNIX:
        return int(text) * _NS if _UNIX.fullmatch(text) else None
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError):
        return None


def _among(expected: bytes, offers: tuple[bytes, ...]) -> bool:
    found = False
    for offer in offers:
        found |= hmac.compare_digest(expected, offer)
    return found


def _signed(key: Ed25519PublicKey, offer: bytes, message: bytes) -> bool:
    try:
        key.verify(offer, message)
    except InvalidSignature:
        return False
    return True


def _proof(claim: Claim, secret: str | None) -> Proof | None:
    if secret is None:
        return None
    strength = Strength.SIGNED if claim.signed_ns is not None else Strength.SIGNED_UNDATED
    return Proof(strength, secret, claim.signed_ns)
