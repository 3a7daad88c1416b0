"""Receipts: `DLV-` and 26 letters of Crockford's base 32, the first ten from the clock, the rest by chance (as in a ULID)."""

import os
from functools import lru_cache

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_CHANCE_SHIFTS = range(70, -10, -10)
_CHANCE_MASK = 1023


class _Chance:
    """Random bytes, fetched many at a time: the system is asked seldom, and the interpreter is kept."""

    def __init__(self) -> None:
        self._left = b""

    def take(self) -> bytes:
        if len(self._left) < 10:
            self._left = os.urandom(5120)
        taken, self._left = self._left[:10], self._left[10:]
        return taken


def receipt(received_ns: int, chance: bytes = b"") -> str:
    """The receipt of something received then; `chance` is ten random bytes."""
    number = int.from_bytes(chance or _CHANCE.take())
    return _beginning(received_ns // 1_000_000) + "".join(
        [_PAIRS[number >> at & _CHANCE_MASK] for at in _CHANCE_SHIFTS]
    )


_CHANCE = _Chance()


@lru_cache(maxsize=64)
def _beginning(milliseconds: int) -> str:
    return "DLV-" + "".join([_PAIRS[milliseconds >> at & _CHANCE_MASK] for at in range(40, -10, -10)])
