"""The contract of the vault, on every backend: what is sealed is read back, proven, erased, and never replaced."""

import secrets
from collections.abc import Iterator

import pytest

from runbooks.domain.errors import EvidenceError
from runbooks.domain.ledger import merkle_root
from runbooks.domain.value import digest_of
from tasks.stores._packing import item_leaf
from tasks.stores._vault import PACK
from tasks.stores.base import SourceFacts
from tests.contracts.stores.vaults import Opened, seal


def test_an_object_is_read_back_by_its_digest(new_vault: Opened) -> None:
    data = secrets.token_bytes(3000)
    digest = new_vault().put(data)
    assert digest == digest_of(data)
    assert new_vault().has(digest)
    assert new_vault().get(digest) == data
    assert new_vault().put(data) == digest


def test_nothing_is_an_object_too(new_vault: Opened) -> None:
    assert new_vault().get(new_vault().put(b"")) == b""


@pytest.mark.parametrize("wrong", ["sha256:../../etc", "sha256:" + "A" * 64, "0" * 64])
def test_what_is_no_digest_names_nothing(new_vault: Opened, wrong: str) -> None:
    with pytest.raises(EvidenceError, match="is no digest"):
        new_vault().get(wrong)
    with pytest.raises(EvidenceError, match="is no digest"):
        new_vault().has(wrong)


def test_what_was_never_stored_is_missing(new_vault: Opened) -> None:
    digest = digest_of(b"never stored")
    assert not new_vault().has(digest)
    with pytest.raises(EvidenceError, match="missing"):
        new_vault().get(digest)


def test_items_come_back_in_order(new_vault: Opened) -> None:
    items = [b"", b"a", b"x" * 70_000, secrets.token_bytes(1_500_000), b"last"]
    sealed = seal(
        new_vault(),
        items,
        SourceFacts(dropped=3, unreadable=2, source_clock="2026-03-01T12:00:01Z", clock_offset_ms=1000),
    )
    collection = sealed.collection
    assert sealed.failure is None
    assert (collection.items, collection.bytes) == (len(items), sum(map(len, items)))
    assert (collection.dropped, collection.unreadable, collection.clock_offset_ms) == (3, 2, 1000)
    assert list(new_vault().items(collection)) == list(enumerate(items))
    assert list(new_vault().items(collection, only=[4, 1])) == [(1, b"a"), (4, b"last")]
    assert list(new_vault().items(collection, only=[])) == []
    new_vault().verify(collection)


def test_no_items_are_a_collection(new_vault: Opened) -> None:
    collection = seal(new_vault(), []).collection
    assert (collection.items, collection.packs, list(new_vault().items(collection))) == (0, (), [])
    new_vault().verify(collection)


def test_much_content_takes_several_packs(new_vault: Opened) -> None:
    pieces = [secrets.token_bytes(1 << 20) for _ in range((PACK >> 20) + 2)]
    collection = seal(new_vault(), pieces).collection
    assert len(collection.packs) == 2
    assert [item for _, item in new_vault().items(collection, only=[0, 17])] == [pieces[0], pieces[17]]
    new_vault().verify(collection)


def test_leaves_are_salted_and_add_up_to_the_root(new_vault: Opened) -> None:
    items = [b"yes", b"no", b"yes"]
    collection = seal(new_vault(), items).collection
    leaves = [item_leaf(new_vault().salts(collection.id)(index), item) for index, item in enumerate(items)]
    assert new_vault().get(collection.leaves) == b"".join(leaves)
    assert merkle_root([f"sha256:{leaf.hex()}" for leaf in leaves]) == collection.item_root
    assert leaves[0] != leaves[2]


def test_the_same_items_sealed_again_share_nothing(new_vault: Opened) -> None:
    first, second = seal(new_vault(), [b"item"]).collection, seal(new_vault(), [b"item"]).collection
    assert not {first.id, first.item_root, first.leaves, first.packs} & {
        second.id, second.item_root, second.leaves, second.packs,
    }  # fmt: skip


def test_a_source_that_breaks_off_keeps_what_it_gave(new_vault: Opened) -> None:
    def source() -> Iterator[bytes]:
        yield b"first"
        yield b"second"
        raise RuntimeError("gone")

    sealed = seal(new_vault(), source())
    assert sealed.failure is not None
    assert "broke off after 2 items" in sealed.failure
    assert [item for _, item in new_vault().items(sealed.collection)] == [b"first", b"second"]


def test_what_is_forgotten_is_gone_and_still_verifies(new_vault: Opened) -> None:
    collection = seal(new_vault(), [b"a person's words"]).collection
    new_vault().forget(collection.id)
    new_vault().forget(collection.id)
    with pytest.raises(EvidenceError, match="erased"):
        list(new_vault().items(collection))
    new_vault().verify(collection)


def test_a_manifest_that_says_more_than_there_is_is_found_out(new_vault: Opened) -> None:
    collection = seal(new_vault(), [b"a", b"b"]).collection
    for lie in ({"items": 3}, {"bytes": 9}, {"item_root": digest_of(b"x")}, {"leaves": new_vault().put(b"x" * 32)}):
        with pytest.raises(EvidenceError):
            list(new_vault().items(collection.model_copy(update=lie)))
    with pytest.raises(EvidenceError):
        new_vault().verify(collection.model_copy(update={"leaves": collection.packs[0].name}))
    with pytest.raises(EvidenceError, match="missing"):
        new_vault().verify(
            collection.model_copy(update={"packs": (collection.packs[0].model_copy(update={"name": digest_of(b"?")}),)})
        )
