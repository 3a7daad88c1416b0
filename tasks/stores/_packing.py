"""From items to packs and back: salted leaves, one stream cut into frames, each compressed and encrypted.

The stream is, per item, its length (8 bytes, big-endian) and its bytes. It is cut every four mebibytes without regard to
items, so the ends of items do not show outside. A frame in a pack is the length of its ciphertext (4 bytes) and the
ciphertext: AES-256-GCM of zstd level 3, nonce = number of the frame in its collection, associated data = format and
collection. A collection's key is used for that collection once, so a nonce never meets a key twice.
"""

import hashlib
import hmac
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FRAME = 4 << 20
"""Bytes of the stream per frame; also the most that one frame may decompress to."""

LARGEST_FRAME = FRAME + (FRAME >> 7) + 1024
"""Bytes of ciphertext that a frame of incompressible content can reach."""

_FORMAT = b"quell-pack/1 "
LENGTH = 8
"""Bytes of an item's length in the stream."""

_AT_ONCE = 4


class DamagedError(ValueError):
    """A pack does not hold what its collection says."""


def salt_of(key: bytes, index: int) -> bytes:
    """The 16 bytes that keep a leaf from being guessed."""
    return hmac.digest(key, index.to_bytes(8, "big"), "sha256")[:16]


def item_leaf(salt: bytes, item: bytes) -> bytes:
    """RFC 6962 leaf over the salted digest of the item's bytes as received."""
    return hashlib.sha256(b"\x00" + hashlib.sha256(salt + item).digest()).digest()


def frames(pieces: Iterable[bytes], collection: str, key: bytes) -> Iterator[bytes]:
    """Sealed frames of a stream that comes in pieces of any size; of many, two threads seal and a few are in flight."""
    cipher, bound = AESGCM(key), _FORMAT + collection.encode()

    def seal(number: int, frame: bytes) -> bytes:
        packed = zstandard.ZstdCompressor(level=3).compress(frame)
        sealed = cipher.encrypt(number.to_bytes(12, "big"), packed, bound)
        return len(sealed).to_bytes(4, "big") + sealed

    plain = _cut(pieces)
    first, second = next(plain, None), next(plain, None)
    if first is None:
        return
    if second is None:  # most collections: threads would take longer to begin than the frame to be sealed
        yield seal(0, first)
        return
    with ThreadPoolExecutor(2, thread_name_prefix="seal") as pool:
        waiting: deque[Future[bytes]] = deque()
        for number, frame in enumerate(chain((first, second), plain)):
            waiting.append(pool.submit(seal, number, frame))
            if len(waiting) >= _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def unseal(packs: Iterable[bytes], collection: str, key: bytes) -> Iterator[bytes]:
    """The stream again, frame by frame; DamagedError when a frame is cut, moved, changed or swells beyond its size."""
    cipher, bound, number = AESGCM(key), _FORMAT + collection.encode(), 0
    for pack in packs:
        rest = memoryview(pack)
        while rest:
            length = int.from_bytes(rest[:4], "big")
            if not 0 < length <= min(LARGEST_FRAME, len(rest) - 4):
                raise DamagedError(f"frame {number} has an impossible length")
            try:
                packed = cipher.decrypt(number.to_bytes(12, "big"), rest[4 : 4 + length], bound)
            except InvalidTag as error:
                raise DamagedError(f"frame {number} was changed, or is of another collection") from error
            yield _swell(packed, number)
            rest = rest[4 + length :]
            number += 1


def records(stream: Iterable[bytes], largest: int) -> Iterator[bytes]:
    """The items of a stream; DamagedError when one claims to be larger than `largest` bytes or the stream ends early."""
    buffer = bytearray()
    wanted: int | None = None
    for piece in stream:
        buffer += piece
        start = 0
        while True:
            if wanted is None:
                if len(buffer) - start < LENGTH:
                    break
                wanted = int.from_bytes(buffer[start : start + LENGTH], "big")
                start += LENGTH
                if wanted > largest:
                    raise DamagedError(f"an item claims {wanted} bytes, the whole collection has {largest}")
            if len(buffer) - start < wanted:
                break
            yield bytes(buffer[start : start + wanted])
            start, wanted = start + wanted, None
        del buffer[:start]
    if buffer or wanted is not None:
        raise DamagedError("the packs end in the middle of an item")


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    buffer = bytearray()
    for piece in pieces:
        start = 0
        while len(buffer) + len(piece) - start >= FRAME:
            end = start + FRAME - len(buffer)
            yield bytes(buffer + piece[start:end])
            buffer.clear()
            start = end
        buffer += piece[start:]
    if buffer:
        yield bytes(buffer)


def _swell(packed: bytes, number: int) -> bytes:
    try:
        claimed = zstandard.frame_content_size(packed)
        if not 0 < claimed <= FRAME:
            raise DamagedError(f"frame {number} would swell to {claimed} bytes; {FRAME} is the most")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=FRAME)
    except zstandard.ZstdError as error:
        raise DamagedError(f"frame {number} cannot be decompressed") from error
