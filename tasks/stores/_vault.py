"""A vault over any shelf that can keep whole files under their digest: sealing, reading, proving, erasing.

Order of a sealing, each step durable before the next: keys, as a draft; packs one by one; leaves; the keys for good. A
crash anywhere leaves orphans that nothing names, and that nobody can read once the draft of their keys is cleared. A sealing that is begun again is another collection, with an identifier and keys of its own.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from runbooks.domain import evidence
from runbooks.domain.errors import EvidenceError, QuellError
from runbooks.domain.incident import IncidentId
from runbooks.domain.instants import Instant
from runbooks.domain.value import Digest, digest_of
from tasks.stores._files import Draft, aside
from tasks.stores._frontier import Frontier
from tasks.stores._keys import KeyDirectory, new_id
from tasks.stores._packing import LARGEST_FRAME, LENGTH, DamagedError, frames, item_leaf, records, salt_of, unseal
from tasks.stores.base import Sealed, SourceFacts

PACK = 16 << 20
"""Bytes at which a pack is full."""

LARGEST_PACK = PACK + LARGEST_FRAME + 4
_LEAF = 32
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LEAVES_AT_ONCE = 1 << 16


class Shelf(Protocol):
    """Where whole objects stand under their digest. Methods raise OSError or EvidenceError."""

    drafts: Path
    """A local directory for files in the making."""

    def keep(self, draft: Draft) -> None:
        """Store the draft under its digest, durable before return; an equal object that is there already stays."""

    def has(self, digest: Digest) -> bool:
        """Whether it is there."""

    def stream(self, digest: Digest) -> Iterator[bytes]:
        """Its bytes in pieces, unchecked; FileNotFoundError when missing."""

    def prolong(self, digest: Digest) -> bool:
        """As the vault's; FileNotFoundError when missing."""


class ShelfVault:
    """A `Vault` on a shelf, with its keys elsewhere."""

    def __init__(self, shelf: Shelf, keys: KeyDirectory) -> None:
        self._shelf = shelf
        self._keys = keys

    def put(self, data: bytes) -> Digest:
        with _storing(), aside(self._shelf.drafts) as draft:
            draft.write(data)
            self._shelf.keep(draft)
            return draft.digest

    def get(self, digest: Digest) -> bytes:
        with _reading(digest):
            data = b"".join(self._shelf.stream(digest))
        if digest_of(data) != digest:
            raise _damaged(f"the object {digest} was changed since it was stored")
        return data

    def has(self, digest: Digest) -> bool:
        with _reading(digest):
            return self._shelf.has(digest)

    def prolong(self, digest: Digest) -> bool:
        with _reading(digest):
            return self._shelf.prolong(digest)

    def seal(
        self,
        *,
        incident: IncidentId,
        evidence_class: evidence.EvidenceClass,
        source: str,
        media_type: str,
        items: Iterable[bytes],
        facts: SourceFacts | Callable[[], SourceFacts],
        now: Callable[[], Instant],
    ) -> Sealed:
        name, started = new_id(), now()
        with _storing(), aside(self._shelf.drafts) as leaves, self._keys.make(name) as keys:
            intake = _Intake(items, keys.salts, leaves)
            packs = tuple(self._packs(frames(intake.stream(), name, keys.content)))
            self._shelf.keep(leaves)
        said = facts() if callable(facts) else facts
        collection = evidence.Collection(
            id=name,
            incident=incident,
            evidence_class=evidence_class,
            source=source,
            media_type=media_type,
            items=intake.tree.size,
            bytes=intake.bytes,
            item_root=intake.tree.root(),
            leaves=leaves.digest,
            packs=packs,
            started_at=started,
            finished_at=now(),
            **said.model_dump(),
        )
        return Sealed(collection=collection, failure=intake.failure)

    def items(
        self, collection: evidence.Collection, only: Collection[int] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Keys and leaves are checked before the first item; with `only`, reading stops after the last one wanted."""
        keys = self._keys.read(collection.id)
        self._check_leaves(collection)
        wanted = range(collection.items) if only is None else sorted(set(only))
        if wanted and not (wanted[0] >= 0 and wanted[-1] < collection.items):
            raise _damaged(f"{collection.id} has {collection.items} items; asked was for item {wanted[-1]}")
        return self._items(collection, keys.content, keys.salts, set(wanted) if only is not None else None)

    def verify(self, collection: evidence.Collection) -> None:
        self._check_leaves(collection)
        for pack in collection.packs:
            self._pack(pack)

    def salts(self, collection_id: str) -> Callable[[int], bytes]:
        return partial(salt_of, self._keys.read(collection_id).salts)

    def forget(self, collection_id: str) -> None:
        with _storing():
            self._keys.destroy(collection_id)

    def _packs(self, sealed: Iterator[bytes]) -> Iterator[evidence.Pack]:
        for first in sealed:
            with aside(self._shelf.drafts) as draft:
                draft.write(first)
                while draft.length < PACK and (frame := next(sealed, None)) is not None:
                    draft.write(frame)
                self._shelf.keep(draft)
                yield evidence.Pack(name=draft.digest, length=draft.length)

    def _pack(self, pack: evidence.Pack) -> bytes:
        if pack.length > LARGEST_PACK:
            raise _damaged(f"the pack {pack.name} claims {pack.length} bytes; {LARGEST_PACK} is the most")
        data = self.get(pack.name)
        if len(data) != pack.length:
            raise _damaged(f"the pack {pack.name} has {len(data)} bytes, its manifest says {pack.length}")
        return data

    def _leaves(self, collection: evidence.Collection) -> Iterator[bytes]:
        with _reading(collection.leaves):
            rest = b""
            for piece in self._shelf.stream(collection.leaves):
                rest += piece
                whole = len(rest) - len(rest) % _LEAF
                yield from (rest[start : start + _LEAF] for start in range(0, whole, _LEAF))
                rest = rest[whole:]
        if rest:
            raise _damaged(f"the leaves of {collection.id} end in the middle of one")

    def _check_leaves(self, collection: evidence.Collection) -> None:
        tree = Frontier()
        for leaf in self._leaves(collection):
            tree.append(leaf)
            if tree.size > collection.items:
                break
        if tree.size != collection.items or tree.root() != collection.item_root:
            raise _damaged(f"the leaves of {collection.id} do not add up to its root over {collection.items} items")

    def _items(
        self, collection: evidence.Collection, content: bytes, salts: bytes, wanted: set[int] | None
    ) -> Iterator[tuple[int, bytes]]:
        leaves, index, total = self._leaves(collection), -1, 0
        last = None if wanted is None else max(wanted, default=-1)
        if last == -1:
            return
        try:
            stream = unseal((self._pack(pack) for pack in collection.packs), collection.id, content)
            for index, item in enumerate(records(stream, collection.bytes)):
                total += len(item)
                leaf = next(leaves, None)
                if wanted is None or index in wanted:
                    if item_leaf(salt_of(salts, index), item) != leaf:
                        raise _damaged(f"item {index} of {collection.id} does not match its leaf")
                    yield index, item
                if index == last:
                    return
        except DamagedError as error:
            raise _damaged(f"{collection.id}: {error}") from error
        if index + 1 != collection.items or total != collection.bytes:
            raise _damaged(f"{collection.id} holds {index + 1} items, {total} bytes; its manifest says otherwise")


class _Intake:
    """Items on their way in: counted, salted into leaves, and cut off cleanly where their source breaks."""

    def __init__(self, items: Iterable[bytes], salts: bytes, leaves: Draft) -> None:
        self._items, self._salts, self._leaves = items, salts, leaves
        self.tree, self.bytes = Frontier(), 0
        self.failure: str | None = None

    def stream(self) -> Iterator[bytes]:
        waiting = bytearray()
        for item in self._received():
            leaf = item_leaf(salt_of(self._salts, self.tree.size), item)
            self.tree.append(leaf)
            self.bytes += len(item)
            waiting += leaf
            if len(waiting) >= _LEAVES_AT_ONCE:
                self._leaves.write(bytes(waiting))
                waiting.clear()
            yield len(item).to_bytes(LENGTH, "big")
            yield item
        self._leaves.write(bytes(waiting))

    def _received(self) -> Iterator[bytes]:
        try:
            yield from self._items
        except GeneratorExit:
            raise
        except QuellError as error:
            self.failure = error.problem
        except Exception as error:  # noqa: BLE001 - whatever a source does, what it gave is kept
            self.failure = f"the source broke off after {self.tree.size} items ({type(error).__name__})"


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EvidenceError(
            f"the vault could not store: {error.strerror or type(error).__name__}.",
            now="what was sealed before is untouched; this object or collection is not sealed.",
            next_step="free space or restore access, then collect again: it becomes a new collection.",
        ) from error


@contextmanager
def _reading(digest: Digest) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise EvidenceError(
            f"the object {digest} is missing from the vault.",
            now="nothing was changed; the ledger still proves that it was sealed.",
            next_step="restore it from a replica or backup: any copy with this digest is the right one.",
        ) from error
    except OSError as error:
        raise EvidenceError(
            f"the object {digest} cannot be read: {error.strerror or type(error).__name__}.",
            now="nothing was changed.",
            next_step="restore access to the vault.",
        ) from error


def hexadecimal(digest: Digest) -> str:
    """The digits of a digest, which name an object; EvidenceError when they could name anything else."""
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise EvidenceError(
            f"{digest!r} is no digest, so it names no object.",
            now="nothing was read.",
            next_step="give a digest of the form sha256:… with 64 hexadecimal digits.",
        )
    return found[1]


def _damaged(problem: str) -> EvidenceError:
    return EvidenceError(
        f"damaged: {problem}.",
        now="nothing was handed out from the damaged part, and nothing was changed.",
        next_step="keep the damaged object, and restore it from a replica or backup: any copy with its digest is the right one.",
    )
