"""The tree against published values, and the right edge that the store keeps against the rule itself."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.domain.ledger import EMPTY_ROOT, leaf_hash, merkle_root
from runbooks.domain.merkle import Tree
from tasks.stores._frontier import Frontier

# Inputs and roots of the reference tree in the Certificate Transparency project's own tests.
INPUTS = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

hashes = st.integers(0, 2**64).map(lambda number: hashlib.sha256(number.to_bytes(9, "big")).digest())


@pytest.mark.parametrize("size", range(1, 9))
def test_published_roots(size: int) -> None:
    leaves = [leaf_hash(bytes.fromhex(text)) for text in INPUTS[:size]]
    assert merkle_root(leaves) == f"sha256:{ROOTS[size - 1]}"


def test_the_empty_tree_has_the_digest_of_nothing() -> None:
    assert merkle_root([]) == EMPTY_ROOT == Frontier().root() == f"sha256:{hashlib.sha256(b'').hexdigest()}"


@given(st.lists(hashes, max_size=70), st.integers(0, 70))
def test_edge_levels_and_rule_give_one_root(leaves: list[bytes], stop: int) -> None:
    edge = Frontier()
    for leaf in leaves[:stop]:
        edge.append(leaf)
    edge = Frontier(edge.size, edge.packed())  # stored and read again at any point
    for leaf in leaves[stop:]:
        edge.append(leaf)
    expected = merkle_root([f"sha256:{leaf.hex()}" for leaf in leaves])
    assert edge.root() == expected
    assert f"sha256:{Tree(leaves).root().hex()}" == expected


@given(st.integers(0, 2**40), st.integers(0, 50))
def test_an_edge_of_the_wrong_length_is_refused(size: int, nodes: int) -> None:
    packed = bytes(32 * nodes)
    if nodes == size.bit_count():
        assert Frontier(size, packed).packed() == packed
    else:
        with pytest.raises(ValueError, match="edge"):
            Frontier(size, packed)
