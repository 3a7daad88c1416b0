"""The right edge of an RFC 6962 tree: enough to append leaves and to know the root, in O(log n) space.

`nodes` are the roots of the full subtrees that the size's binary digits name, largest first. The rule itself stands
in `runbooks.domain.ledger.merkle_root`; a test holds the two equal for all inputs.
"""

import hashlib

from runbooks.domain.ledger import EMPTY_ROOT
from runbooks.domain.value import Digest

_WIDTH = 32


class Frontier:
    """A growing tree of leaf hashes (32 bytes each), of which only the right edge is kept."""

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, packed: bytes = b"") -> None:
        """From its packed form; ValueError when it cannot be the edge of a tree of this size."""
        if len(packed) != size.bit_count() * _WIDTH:
            raise ValueError(f"{len(packed)} bytes are not the edge of a tree of {size} leaves")
        self.size = size
        self.nodes = [packed[start : start + _WIDTH] for start in range(0, len(packed), _WIDTH)]

    def append(self, leaf: bytes) -> None:
        """Put one leaf hash at the right."""
        rest = self.size
        while rest & 1:
            leaf = hashlib.sha256(b"\x01" + self.nodes.pop() + leaf).digest()
            rest >>= 1
        self.nodes.append(leaf)
        self.size += 1

    def root(self) -> Digest:
        """The root over all leaves so far."""
        if not self.nodes:
            return EMPTY_ROOT
        node = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            node = hashlib.sha256(b"\x01" + left + node).digest()
        return "sha256:" + node.hex()

    def packed(self) -> bytes:
        """The nodes in one piece, as stored."""
        return b"".join(self.nodes)
