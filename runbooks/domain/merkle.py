"""Proofs about an RFC 6962 tree: an entry is in it (inclusion), a later tree only added to it (consistency).

Hashes here are the raw 32 bytes. Algorithms: RFC 6962 §2.1.1 and §2.1.2 make the proofs, RFC 9162 §2.1.3.2 and
§2.1.4.2 check them. A proof that is too long or too short is wrong, not merely odd.
"""

import hashlib
from collections.abc import Sequence

WIDTH = 32
"""Bytes of a hash."""

LONGEST_PATH = 64
"""More levels than any tree has that fits into this world."""


def leaf(data: bytes) -> bytes:
    """RFC 6962 §2.1 leaf hash."""
    return hashlib.sha256(b"\x00" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1 interior node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _at(level: bytes, index: int) -> bytes:
    """The hash at this place of a level; nothing behind its end."""
    return level[index * WIDTH : (index + 1) * WIDTH]


class Tree:
    """All levels over the leaf hashes, so that a proof costs a walk from the leaf to the root.

    Takes 64 bytes per leaf: a level is one piece of bytes. `leaves` may be such a piece.
    """

    def __init__(self, leaves: Sequence[bytes] | bytes) -> None:
        below = leaves if isinstance(leaves, bytes) else b"".join(leaves)
        if len(below) % WIDTH:
            raise ValueError(f"{len(below)} bytes are not hashes of {WIDTH}")
        self._levels = [below]
        while len(below) > WIDTH:
            pairs = range(0, len(below) - WIDTH, 2 * WIDTH)
            above = [hashlib.sha256(b"\x01" + below[at : at + 2 * WIDTH]).digest() for at in pairs]
            below = b"".join(above) + below[len(above) * 2 * WIDTH :]
            self._levels.append(below)

    @property
    def size(self) -> int:
        """How many leaves."""
        return len(self._levels[0]) // WIDTH

    def root(self) -> bytes:
        """The root over all leaves; the hash of nothing for an empty tree."""
        return self._levels[-1] if self.size else hashlib.sha256(b"").digest()

    def inclusion(self, index: int) -> list[bytes]:
        """The path that proves leaf `index` against the root; IndexError when there is no such leaf."""
        if not 0 <= index < self.size:
            raise IndexError(f"leaf {index} of a tree of {self.size}")
        path = []
        for level in self._levels[:-1]:
            beside = _at(level, index ^ 1)
            if beside:
                path.append(beside)
            index //= 2
        return path

    def consistency(self, old: int) -> list[bytes]:
        """The path that proves that the tree of the first `old` leaves is the beginning of this one."""
        if not 0 < old <= self.size:
            raise IndexError(f"the first {old} leaves of a tree of {self.size}")
        return self._subproof(old, 0, self.size, whole=True)

    def _subproof(self, old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if old == end - start:
            return [] if whole else [self._over(start, end)]
        split = _split(end - start)
        if old <= split:
            return [*self._subproof(old, start, start + split, whole=whole), self._over(start + split, end)]
        return [*self._subproof(old - split, start + split, end, whole=False), self._over(start, start + split)]

    def _over(self, start: int, end: int) -> bytes:
        """Root over the leaves from start to end, a subtree of this tree."""
        count = end - start
        if count & (count - 1) == 0:
            return _at(self._levels[count.bit_length() - 1], start // count)
        split = _split(count)
        return node(self._over(start, start + split), self._over(start + split, end))


def _split(count: int) -> int:
    """The largest power of two below count."""
    return 1 << ((count - 1).bit_length() - 1)


def root_by(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that this inclusion proof leads to; None when the proof does not fit index and size."""
    if not 0 <= index < size or len(path) > LONGEST_PATH:
        return None
    at, last, found = index, size - 1, leaf_hash
    for step in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = node(step, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, step)
        at, last = at >> 1, last >> 1
    return found if last == 0 else None


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the path proves that the tree `old` is the beginning of the tree `new`."""
    if not 0 < old <= new or len(path) > 2 * LONGEST_PATH:
        return False
    if old == new:
        return not path and old_root == new_root
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    was = now = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            was, now = node(step, was), node(step, now)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            now = node(now, step)
        at, last = at >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root
