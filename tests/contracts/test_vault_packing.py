"""Packs: any items in any pieces come back; a pack that was made to hurt is refused before it does."""

import secrets

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stores import _packing
from tasks.stores._packing import FRAME, DamagedError, frames, records, salt_of, unseal

KEY = bytes(32)
NAME = "COL-" + "A" * 24


def stream(items: list[bytes]) -> list[bytes]:
    return [piece for item in items for piece in (len(item).to_bytes(8, "big"), item)]


def packed(packed_bytes: bytes, number: int = 0, name: str = NAME) -> bytes:
    """A frame of the reader's own key around whatever is given."""
    sealed = AESGCM(KEY).encrypt(number.to_bytes(12, "big"), packed_bytes, b"quell-pack/1 " + name.encode())
    return len(sealed).to_bytes(4, "big") + sealed


def read(*packs: bytes, largest: int = 1 << 30) -> list[bytes]:
    return list(records(unseal(packs, NAME, KEY), largest))


def test_one_frame_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_packing, "ThreadPoolExecutor", None)
    assert read(*frames(stream([b"one", b"two"]), NAME, KEY)) == [b"one", b"two"]
    assert list(frames([], NAME, KEY)) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=30), st.integers(0, 30))
def test_items_survive_cutting_and_packing(items: list[bytes], split: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_packing, "FRAME", 97)  # many frames, most items across two
        sealed = list(frames(stream(items), NAME, KEY))
        assert read(b"".join(sealed[:split]), b"".join(sealed[split:])) == items


def test_a_frame_is_as_large_as_it_says() -> None:
    sealed = list(frames([secrets.token_bytes(3 * FRAME + 5)], NAME, KEY))
    assert len(sealed) == 4
    assert max(map(len, sealed)) <= _packing.LARGEST_FRAME + 4


def test_a_bomb_is_refused_before_it_swells() -> None:
    honest = zstandard.ZstdCompressor().compress(bytes(FRAME + 1))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 * FRAME))
    for bomb in (honest, unsized):
        with pytest.raises(DamagedError, match="swell"):
            read(packed(bomb))


def test_a_frame_moved_cut_or_of_another_collection_is_refused() -> None:
    first, second = frames([secrets.token_bytes(FRAME + 9)], NAME, KEY)
    for wrong in (second + first, second, first[:-1], first + first, b"\0\0\0\0" + first, b"\xff\xff\xff\xff", b"\0\0"):
        with pytest.raises(DamagedError):
            list(unseal([wrong], NAME, KEY))
    for key, name in ((bytes(31) + b"1", NAME), (KEY, NAME.replace("A", "B"))):
        with pytest.raises(DamagedError, match="another collection"):
            list(unseal([first], name, key))


def test_what_is_no_compressed_frame_is_refused() -> None:
    sound = zstandard.ZstdCompressor().compress(b"some text, some text, some text")
    for wrong in (b"", b"no frame at all", sound[:-3]):
        with pytest.raises(DamagedError):
            read(packed(wrong))


def test_an_item_that_claims_more_than_there_is_is_refused() -> None:
    for claim, data in ((2**63, b"x"), (9, b"x")):
        with pytest.raises(DamagedError):
            read(packed(zstandard.ZstdCompressor().compress(claim.to_bytes(8, "big") + data)), largest=8)
    with pytest.raises(DamagedError, match="middle"):
        list(records([b"\0\0\0"], 8))
    with pytest.raises(DamagedError, match="middle"):
        list(records([(5).to_bytes(8, "big")], 8))


def test_a_salt_depends_on_key_and_place() -> None:
    salts = {salt_of(key, index) for key in (KEY, bytes(31) + b"1") for index in range(100)}
    assert len(salts) == 200
    assert {len(salt) for salt in salts} == {16}
