"""The vault on a local disk: `objects/ab/…` named by digest, read-only files, drafts beside them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from runbooks.domain.errors import EvidenceError
from runbooks.domain.value import Digest
from tasks.stores._files import Draft, clear_stale, make_directory, sync_directory
from tasks.stores._keys import KeyDirectory
from tasks.stores._vault import ShelfVault, hexadecimal

_PIECE = 1 << 20


class DiskShelf:
    """Whole objects in a directory."""

    def __init__(self, location: Path) -> None:
        self._objects = location / "objects"
        self.drafts = location / "drafts"
        make_directory(self._objects)
        make_directory(self.drafts)
        clear_stale(self.drafts.iterdir())

    def keep(self, draft: Draft) -> None:
        path = self._path(draft.digest)
        make_directory(path.parent)
        if not path.exists():
            draft.keep(path, 0o400)
            return
        with path.open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if f"sha256:{found}" != draft.digest:
            raise EvidenceError(
                f"damaged: the object {draft.digest} was changed since it was stored.",
                now="the damaged object was left as it is; nothing was stored.",
                next_step="move the damaged file away, keep it, and store again.",
            )
        sync_directory(path.parent)

    def has(self, digest: Digest) -> bool:
        return self._path(digest).is_file()

    def prolong(self, digest: Digest) -> bool:
        if not self.has(digest):
            raise FileNotFoundError(digest)
        return False

    def stream(self, digest: Digest) -> Iterator[bytes]:
        with self._path(digest).open("rb") as handle:
            while piece := handle.read(_PIECE):
                yield piece

    def _path(self, digest: Digest) -> Path:
        digits = hexadecimal(digest)
        return self._objects / digits[:2] / digits[2:]


def open_disk(location: Path, keys: Path) -> ShelfVault:
    """The vault in this directory; EvidenceError when it cannot be used, or when its keys would lie inside it."""
    if keys.resolve().is_relative_to(location.resolve()):
        raise EvidenceError(
            f"the key directory {keys} lies inside the vault {location}.",
            now="nothing was stored.",
            next_step="keep keys elsewhere: a copy of the vault must not contain them, or erasing erases nothing.",
        )
    try:
        return ShelfVault(DiskShelf(location), KeyDirectory(keys))
    except OSError as error:
        raise EvidenceError(
            f"the vault at {location} cannot be used: {error.strerror}.",
            now="nothing was stored.",
            next_step="make the directory writable for this user.",
        ) from error
