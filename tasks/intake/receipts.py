"""Receipts: `DLV-` and 26 letters of Crockford's base 32, the first ten from the clock, the rest by chance (as in a ULID)."""

import os

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def receipt(received_ns: int, chance: bytes = b"") -> str:
    """The receipt of something received then; `chance` is ten random bytes."""
    number = (received_ns // 1_000_000) << 80 | int.from_bytes(chance or os.urandom(10))
    return "DLV-" + "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -10, -10)])
