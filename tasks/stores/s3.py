"""The vault in a bucket that locks: `objects/ab/…` named by digest, one request each, read back by version.

Where an object's version is written down (`versions/` beside the keys), it is read by that version. That note is only a
short cut: without it all versions under the key are looked through for the bytes that have the digest, so neither a
delete marker nor a later version put on top hides evidence or replaces it.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runbooks.domain.bucket import BucketSettings
from runbooks.domain.errors import EvidenceError
from runbooks.domain.value import Digest
from tasks.stores._bucket import Bucket, Version
from tasks.stores._bucket_errors import BucketError
from tasks.stores._files import Draft, clear_stale, make_directory, write_new
from tasks.stores._keys import KeyDirectory
from tasks.stores._vault import ShelfVault, hexadecimal


class BucketShelf:
    """Whole objects in a bucket. Raises EvidenceError; FileNotFoundError where nothing stands."""

    def __init__(self, bucket: Bucket, home: Path) -> None:
        self._bucket = bucket
        self.drafts = home / "drafts"
        self._notes = home / "versions" / bucket.name
        make_directory(self.drafts)
        make_directory(self._notes)
        clear_stale(self.drafts.iterdir())

    def keep(self, draft: Draft) -> None:
        sha256 = hexadecimal(draft.digest)
        with (
            _in_words("nothing of this object is sealed; what was sealed before is untouched."),
            draft.path.open("rb") as body,
        ):
            known = self._noted(sha256)
            stored = self._bucket.keep(self._key(sha256), body, draft.length, sha256, known)
        if stored.id != known:
            self._note(sha256, stored)

    def has(self, digest: Digest) -> bool:
        sha256 = hexadecimal(digest)
        with _in_words("nothing was changed."):
            return next(self._bucket.versions(self._key(sha256)), None) is not None

    def stream(self, digest: Digest) -> Iterator[bytes]:
        sha256 = hexadecimal(digest)
        key = self._key(sha256)
        with _in_words("nothing was changed."):
            known = self._noted(sha256)
            if known is not None:
                pieces = self._bucket.stream(key, known)
                with contextlib.suppress(FileNotFoundError):
                    first = next(pieces, b"")
                    yield first
                    yield from pieces
                    return
            yield from self._bucket.stream(key, self._search(key, sha256).id)

    def prolong(self, digest: Digest) -> bool:
        sha256 = hexadecimal(digest)
        key = self._key(sha256)
        with _in_words("what is locked stays locked until its date."):
            known = self._noted(sha256)
            if known is not None:
                with contextlib.suppress(FileNotFoundError):
                    return self._bucket.prolong(key, known)
            return self._bucket.prolong(key, self._search(key, sha256).id)

    def _search(self, key: str, sha256: str) -> Version:
        """The only version; of several the one with these bytes; where none has them the newest, found damaged when read."""
        found = list(self._bucket.versions(key))
        if not found:
            raise FileNotFoundError(key)
        if len(found) > 1:
            for one in found:
                if self._bucket.holds(one, sha256):
                    self._note(sha256, one)
                    return one
        return found[0]

    def _key(self, sha256: str) -> str:
        return f"{self._bucket.prefix}objects/{sha256[:2]}/{sha256[2:]}"

    def _noted(self, sha256: str) -> str | None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads((self._notes / sha256).read_bytes())
            return str(note["version"]) if note["key"] == self._key(sha256) else None
        return None

    def _note(self, sha256: str, stored: Version) -> None:
        note = {
            "bucket": self._bucket.name, "key": stored.key, "version": stored.id, "size": stored.size, "sha256": sha256,
            "mode": stored.mode, "until": None if stored.until is None else stored.until.isoformat(),
        }  # fmt: skip
        with contextlib.suppress(OSError):  # a short cut only
            write_new(self._notes / sha256, json.dumps(note, sort_keys=True).encode(), mode=0o600)


def open_s3(location: str, settings: BucketSettings | None, secret: Callable[[str], str], keys: Path) -> ShelfVault:
    """The vault in this bucket; its keys, its drafts and its notes on versions stay on this machine.

    The bucket is not asked before it is used. EvidenceError when the location names none, or the machine has no room.
    """
    with _in_words("nothing was stored."):
        try:
            return ShelfVault(BucketShelf(Bucket(location, settings, secret), keys.parent / "s3"), KeyDirectory(keys))
        except OSError as error:
            raise EvidenceError(
                f"the vault {location} needs {keys.parent} for its keys and drafts: {error.strerror}.",
                now="nothing was stored.", next_step="make the directory writable for this user.",
            ) from error  # fmt: skip


@contextmanager
def _in_words(now: str) -> Iterator[None]:
    try:
        yield
    except BucketError as error:
        raise EvidenceError(f"{error.problem}.", now=now, next_step=f"{error.next_step}.") from error
