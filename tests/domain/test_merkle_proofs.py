"""Inclusion and consistency proofs against the published vectors of RFC 6962's authors, and for all small trees."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.domain.ledger import leaf_hash, merkle_root
from runbooks.domain.merkle import Tree, is_consistent, leaf, node, root_by

# Leaves and roots of the certificate-transparency project's own tests (merkletree), which RFC 6962 came from.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf(bytes.fromhex(data)) for data in INPUTS]
# (leaf from 0, size) and path, (old size, new size) and path: the same project's reference proofs.
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert Tree(LEAVES[:size]).root().hex() == ROOTS[size - 1]
    assert merkle_root([leaf_hash(bytes.fromhex(d)) for d in INPUTS[:size]]) == f"sha256:{ROOTS[size - 1]}"


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Tree([]).root() == hashlib.sha256(b"").digest()


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_paths_are_the_published_ones(index: int, size: int) -> None:
    path = [bytes.fromhex(step) for step in INCLUSION[index, size]]
    assert Tree(LEAVES[:size]).inclusion(index) == path
    assert root_by(LEAVES[index], index, size, path) == bytes.fromhex(ROOTS[size - 1])


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_paths_are_the_published_ones(old: int, new: int) -> None:
    path = [bytes.fromhex(step) for step in CONSISTENCY[old, new]]
    assert Tree(LEAVES[:new]).consistency(old) == path
    assert is_consistent(old, bytes.fromhex(ROOTS[old - 1]), new, bytes.fromhex(ROOTS[new - 1]), path)


@given(st.data(), st.integers(1, 70))
def test_every_leaf_is_proven_and_nothing_else_is(data: st.DataObject, size: int) -> None:
    leaves = [leaf(bytes([n])) for n in range(size)]
    tree, index = Tree(leaves), data.draw(st.integers(0, size - 1))
    path = tree.inclusion(index)
    assert root_by(leaves[index], index, size, path) == tree.root()
    assert root_by(leaf(b"another"), index, size, path) != tree.root()
    assert root_by(leaves[index], index, size, [*path, bytes(32)]) is None
    for cut in range(len(path)):
        assert root_by(leaves[index], index, size, path[:cut]) is None
    assert root_by(leaves[index], size, size, path) is None
    for other in range(size):
        if other != index and len(tree.inclusion(other)) == len(path):
            assert root_by(leaves[index], other, size, path) != tree.root()


@given(st.data(), st.integers(1, 70))
def test_every_beginning_is_proven_and_nothing_else_is(data: st.DataObject, new: int) -> None:
    leaves = [leaf(bytes([n])) for n in range(new)]
    tree, old = Tree(leaves), data.draw(st.integers(1, new))
    before, path = Tree(leaves[:old]).root(), tree.consistency(old)
    assert is_consistent(old, before, new, tree.root(), path)
    forged = Tree([*leaves[: old - 1], leaf(b"another")]).root()
    assert not is_consistent(old, forged, new, tree.root(), path)
    assert not is_consistent(old, before, new, forged, path) or old == new == 1
    assert not is_consistent(old, before, new, tree.root(), [*path, bytes(32)])
    for cut in range(len(path)):
        assert not is_consistent(old, before, new, tree.root(), path[:cut])
    assert not is_consistent(0, before, new, tree.root(), path)
    assert not is_consistent(new + 1, before, new, tree.root(), path)


def test_an_odd_node_is_promoted_and_never_doubled() -> None:
    """The classic fault: a doubled last node gives two trees one root."""
    assert Tree(LEAVES[:3]).root() == node(node(LEAVES[0], LEAVES[1]), LEAVES[2])
    assert Tree([*LEAVES[:3], LEAVES[2]]).root() != Tree(LEAVES[:3]).root()


def test_asking_for_what_is_not_there_is_an_error() -> None:
    for wrong in (-1, 3):
        with pytest.raises(IndexError):
            Tree(LEAVES[:3]).inclusion(wrong)
    for wrong in (0, 4):
        with pytest.raises(IndexError):
            Tree(LEAVES[:3]).consistency(wrong)


def test_leaves_may_come_in_one_piece_and_only_whole() -> None:
    assert Tree(b"".join(LEAVES)).root() == Tree(LEAVES).root()
    with pytest.raises(ValueError, match="not hashes"):
        Tree(b"".join(LEAVES)[:-1])
