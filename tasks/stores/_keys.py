"""The keys of sealed collections, in a directory apart from the vault, so that erasing them erases the content.

One file per collection: 32 bytes for the content, 32 for the salts, as JSON. The directory is 0700 and every file
0600; anything wider is refused, because a key that others can read protects nothing.

While its collection is being sealed a key is a draft, held by whoever seals. What a process that died left as one is
removed after a day, and with it all that could read the packs that nothing names.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runbooks.domain.errors import EvidenceError
from tasks.stores._files import clear_stale, sync_directory, write_new

_ID = re.compile(r"COL-[0-9A-F]{24}")
_DRAFT = ".sealing"


@dataclass(frozen=True, repr=False)
class Keys:
    """The two keys of one collection; never printed."""

    content: bytes
    salts: bytes


def new_id() -> str:
    """A fresh collection identifier, 96 random bits."""
    return f"COL-{secrets.token_hex(12).upper()}"


class KeyDirectory:
    """Makes, reads and destroys keys. Raises EvidenceError when a key is missing, erased or readable by others."""

    def __init__(self, place: Path) -> None:
        self._place = place
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._guard(place, 0o077)
        clear_stale([*place.glob(f"*{_DRAFT}"), *place.glob(".draft-*")])

    @contextlib.contextmanager
    def make(self, collection: str) -> Iterator[Keys]:
        """New keys for a new collection, durable before it begins; they stay when its sealing ends without an error."""
        keys = Keys(secrets.token_bytes(32), secrets.token_bytes(32))
        text = json.dumps({"collection": collection, "content": keys.content.hex(), "salts": keys.salts.hex()})
        file = self._file(collection)
        draft = file.with_suffix(_DRAFT)
        write_new(draft, text.encode(), mode=0o600)
        done = False
        try:
            with draft.open("rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                yield keys
                draft.rename(file)
                sync_directory(self._place)
            done = True
        finally:
            for left in () if done else (draft, file):
                with contextlib.suppress(OSError):
                    left.unlink()

    def read(self, collection: str) -> Keys:
        """The keys of a collection."""
        self._guard(self._place, 0o077)
        file = self._file(collection)
        if self._tombstone(collection).exists():
            raise EvidenceError(
                f"the content of {collection} was erased: its keys were destroyed.",
                now="the manifest and its digests still verify; the content is gone for good.",
                next_step="nothing; whoever needs the content must collect it again from its source.",
            )
        try:
            self._guard(file, 0o177)
            stored = json.loads(file.read_bytes())
            keys = Keys(bytes.fromhex(stored["content"]), bytes.fromhex(stored["salts"]))
        except FileNotFoundError as error:
            raise _unusable(f"the keys of {collection} are missing from {self._place}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unusable(f"the keys of {collection} in {self._place} cannot be read") from error
        if len(keys.content) != 32 or len(keys.salts) != 32 or stored.get("collection") != collection:
            raise _unusable(f"the keys of {collection} in {self._place} are damaged or another collection's")
        return keys

    def destroy(self, collection: str) -> None:
        """Overwrite and remove the keys, leaving a mark that says so; done twice it is done once."""
        tombstone, file = self._tombstone(collection), self._file(collection)
        if not file.exists() and not tombstone.exists():
            raise _unusable(f"the keys of {collection} are missing from {self._place}, so nothing was erased")
        if not tombstone.exists():
            write_new(tombstone, b"", mode=0o600)
        if file.exists():
            with file.open("r+b") as handle:
                handle.write(bytes(file.stat().st_size))
                handle.flush()
                os.fsync(handle.fileno())
            file.unlink()
        sync_directory(self._place)

    def _file(self, collection: str) -> Path:
        return self._place / f"{_sound(collection)}.json"

    def _tombstone(self, collection: str) -> Path:
        return self._place / f"{_sound(collection)}.erased"

    def _guard(self, path: Path, refused: int) -> None:
        found = path.stat()
        if found.st_mode & refused or found.st_uid != os.geteuid():
            raise EvidenceError(
                f"{path} must belong to this user and be closed to others; it has mode {found.st_mode & 0o777:04o}.",
                now="no key was used.",
                next_step=f"find out who could read it, then chown and chmod go-rwx,u-x {path} (a directory keeps u+x).",
            )


def _sound(collection: str) -> str:
    """A collection's identifier names a file, and a manifest may come from outside: only our own shape passes."""
    if not _ID.fullmatch(collection):
        raise _unusable(f"{collection!r} is no identifier of a collection sealed here")
    return collection


def _unusable(problem: str) -> EvidenceError:
    return EvidenceError(
        f"{problem}.",
        now="packs and manifest are untouched; the content cannot be read.",
        next_step="restore the key directory from its backup.",
    )
