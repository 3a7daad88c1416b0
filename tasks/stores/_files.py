"""Files that are whole or absent: written aside, synced, renamed, directory synced."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from runbooks.domain.value import Digest


def sync_directory(place: Path) -> None:
    """Make names in this directory survive power loss."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(place: Path) -> None:
    """A directory for the owner only, durable with every parent that had to be made."""
    if place.is_dir():
        return
    make_directory(place.parent)
    place.mkdir(mode=0o700, exist_ok=True)
    sync_directory(place.parent)


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """The file, durable, under a name that nobody else uses; OSError leaves nothing half behind."""
    with aside(path.parent) as draft:
        draft.write(data)
        draft.keep(path, mode)


STALE_SECONDS = 24 * 3600


def clear_stale(drafts: Iterable[Path]) -> None:
    """Remove what nobody wrote to for a day and nobody holds: it belongs to a process that died."""
    for stale in drafts:
        with contextlib.suppress(OSError), stale.open("rb") as held:
            if stale.stat().st_mtime < time.time() - STALE_SECONDS:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink()


class Draft:
    """A file in the making, under a name that nobody looks up."""

    def __init__(self, place: Path) -> None:
        self.path = place / f".draft-{os.getpid()}-{secrets.token_hex(8)}"
        self._descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._hash = hashlib.sha256()
        self.length = 0

    def write(self, data: bytes) -> None:
        """Append all of it."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._hash.update(data)
        self.length += len(data)

    @property
    def digest(self) -> Digest:
        """Digest of what was written so far."""
        return "sha256:" + self._hash.hexdigest()

    def keep(self, path: Path, mode: int) -> None:
        """Give it its name, durable; the caller looked whether the name is free."""
        os.fchmod(self._descriptor, mode)
        os.fsync(self._descriptor)
        self.path.rename(path)
        sync_directory(path.parent)

    def close(self) -> None:
        """Leave nothing behind that was not kept."""
        os.close(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


@contextlib.contextmanager
def aside(place: Path) -> Iterator[Draft]:
    """A draft in this directory; gone afterwards unless kept."""
    draft = Draft(place)
    try:
        yield draft
    finally:
        draft.close()
