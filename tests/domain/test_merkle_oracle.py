"""Our tree against somebody else's (pymerkle, in development only): the same roots, paths and verdicts."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, InvalidProof, verify_consistency, verify_inclusion

from runbooks.domain.ledger import leaf_hash, merkle_root
from runbooks.domain.merkle import Tree, is_consistent, leaf, root_by

items = st.lists(st.binary(max_size=40), min_size=1, max_size=80)


def _theirs(data: list[bytes]) -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for one in data:
        tree.append_entry(one)
    return tree


def _agreed(verify: Callable[..., None], *arguments: object, **more: int) -> bool:
    try:
        verify(*arguments, **more)
    except InvalidProof:
        return False
    return True


@settings(max_examples=80, deadline=None)
@given(items, st.data())
def test_roots_and_inclusion_are_the_same(data: list[bytes], draw: st.DataObject) -> None:
    size = draw.draw(st.integers(1, len(data)))
    index = draw.draw(st.integers(0, size - 1))
    theirs, ours = _theirs(data), Tree([leaf(one) for one in data[:size]])
    root = theirs.get_root(size)
    assert ours.root() == root
    assert merkle_root([leaf_hash(one) for one in data[:size]]) == f"sha256:{root.hex()}"

    proof = theirs.prove_inclusion(index + 1, size)
    assert proof.path == [leaf(data[index]), *ours.inclusion(index)]
    assert root_by(leaf(data[index]), index, size, proof.path[1:]) == root
    assert _agreed(verify_inclusion, leaf(data[index]), ours.root(), proof, index=index + 1, size=size)
    other = leaf(data[index] + b"!")
    assert not _agreed(verify_inclusion, other, ours.root(), proof)
    assert root_by(other, index, size, proof.path[1:]) != root


@settings(max_examples=80, deadline=None)
@given(items, st.data())
def test_one_history_is_one_for_both(data: list[bytes], draw: st.DataObject) -> None:
    """Their proof of consistency has another form than RFC 6962's: each judges the other's heads by its own."""
    new = draw.draw(st.integers(1, len(data)))
    old = draw.draw(st.integers(1, new))
    theirs, ours = _theirs(data), Tree([leaf(one) for one in data[:new]])
    before = Tree([leaf(one) for one in data[:old]]).root()
    path = ours.consistency(old)
    assert is_consistent(old, theirs.get_root(old), new, theirs.get_root(new), path)
    proof = theirs.prove_consistency(old, new)
    assert _agreed(verify_consistency, before, ours.root(), proof, prior_size=old, later_size=new)

    forged = Tree([*(leaf(one) for one in data[: old - 1]), leaf(data[old - 1] + b"!")]).root()
    assert not is_consistent(old, forged, new, theirs.get_root(new), path)
    assert not _agreed(verify_consistency, forged, ours.root(), proof)
