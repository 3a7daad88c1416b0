"""RFC 3161 time-stamps: the request, and the few facts of a response that can be read without believing it.

Nothing here verifies a token's signature; `openssl ts -verify` does, and a bundle holds all that it needs. What is read
here says whether a response is an answer to our request at all: granted, over our digest, with our nonce.
"""

from datetime import UTC, datetime

from runbooks.domain.instants import Instant, instant_from
from runbooks.domain.value import Value

_SHA256 = bytes.fromhex("300d06096086480165030402010500")
"""AlgorithmIdentifier of SHA-256 with NULL parameters, DER."""
_TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")
"""Object identifier id-ct-TSTInfo, DER."""
_SEQUENCE, _INTEGER, _OCTETS, _TIME, _BOOLEAN = 0x30, 0x02, 0x04, 0x18, 0x01

LARGEST_RESPONSE = 65_536
"""Bytes; tokens with a whole certificate chain have about 6,000."""


class Stamp(Value):
    """What a response says: over which SHA-256 digest, with which nonce, at which time by the authority's clock."""

    imprint: str
    nonce: int | None
    at: Instant


class NoStampError(ValueError):
    """The response is no granted time-stamp; says why."""


def request_for(digest: bytes, nonce: int) -> bytes:
    """TimeStampReq (RFC 3161 §2.4.1), DER: version 1, this digest, this nonce, certificate wanted."""
    number = nonce.to_bytes(nonce.bit_length() // 8 + 1, "big")
    imprint = _der(_SEQUENCE, _SHA256 + _der(_OCTETS, digest))
    return _der(_SEQUENCE, _der(_INTEGER, b"\x01") + imprint + _der(_INTEGER, number) + _der(_BOOLEAN, b"\xff"))


def read_response(data: bytes) -> Stamp:
    """The stamp of a TimeStampResp (RFC 3161 §2.4.2); NoStampError when it was refused or cannot be read."""
    if len(data) > LARGEST_RESPONSE:
        raise NoStampError(f"a response of {len(data)} bytes; {LARGEST_RESPONSE} is the most")
    try:
        parts = _parts(_only(data, _SEQUENCE))
        status = int.from_bytes(_parts(parts[0][1])[0][1], "big")
        if status not in (0, 1) or len(parts) < 2:
            raise NoStampError(f"the authority refused: status {status}")
        info = _info(parts[1][1])
        fields = _parts(info)
        imprint = _parts(fields[2][1])[1][1]
        when = next(content for tag, content in fields if tag == _TIME).decode("ascii")
        numbers = [content for tag, content in fields[4:] if tag == _INTEGER]
        nonce = int.from_bytes(numbers[0], "big") if numbers else None
        return Stamp(imprint=imprint.hex(), nonce=nonce, at=_instant(when))
    except (IndexError, StopIteration, ValueError) as error:
        if isinstance(error, NoStampError):
            raise
        raise NoStampError("the response is no RFC 3161 answer") from error


def _info(token: bytes) -> bytes:
    """The TSTInfo inside the CMS SignedData: it follows its object identifier."""
    start = token.index(_TST_INFO) + len(_TST_INFO)
    _, explicit, _ = _read(token[start:])
    octets = _only(explicit, _OCTETS)
    return _only(octets, _SEQUENCE)


def _instant(text: str) -> Instant:
    """GeneralizedTime in UTC, with or without a fraction."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    parsed = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return instant_from(parsed.replace(microsecond=int((fraction + "000000")[:6])))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes([tag, length]) + content
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def _read(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows of the first element; ValueError when it is cut."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("cut")
    return tag, data[start : start + length], data[start + length :]


def _only(data: bytes, wanted: int) -> bytes:
    tag, content, rest = _read(data)
    if tag != wanted or rest:
        raise ValueError("another element than expected")
    return content


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        tag, content, data = _read(data)
        found.append((tag, content))
    return found
