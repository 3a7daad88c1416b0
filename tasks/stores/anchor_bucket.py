"""A second place for checkpoints: a bucket that locks them, best in another account than the vault's.

One object per head, named by log and size. Objects are never replaced; another head of the same size, in any version,
means that the log shows two histories.
"""

import hashlib
import re
from collections.abc import Callable

from runbooks.domain.bucket import BucketSettings
from runbooks.domain.errors import LedgerError
from tasks.stores._bucket import Bucket
from tasks.stores._bucket_errors import BucketError

_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_LARGEST = 1 << 16
"""Bytes that a signed head may have; it has a few hundred."""
_PATIENCE = 10.0
"""Seconds for an answer: a head is small, and an export waits for it."""


class AnchorBucket:
    """An `AnchorPlace` in a bucket."""

    def __init__(self, location: str, bucket: Bucket) -> None:
        self._location, self._bucket = location, bucket

    @property
    def name(self) -> str:
        """How the place is called in the record."""
        return self._location

    def put(self, origin: str, size: int, note: bytes, body: bytes) -> None:
        """Store the signed head, locked and read back; LedgerError when it cannot, or another head stands there.

        One that stands already is locked anew, once half of its time is over.
        """
        if not _ORIGIN.fullmatch(origin):
            raise _failed(f"the log's name {origin!r} names no folder", "use another name for the log")
        key = f"{self._bucket.prefix}{origin}/{size:020d}.note"
        try:
            if not self._stands(key, body):
                self._bucket.keep(key, note, len(note), hashlib.sha256(note).hexdigest())
                self._stands(key, body)  # two writers may meet
        except BucketError as error:
            raise _failed(error.problem, error.next_step) from error

    def _stands(self, key: str, body: bytes) -> bool:
        found = False
        for one in self._bucket.versions(key):
            held = b"".join(self._bucket.stream(key, one.id)) if one.size <= _LARGEST else b""
            if not held.startswith(body + b"\n"):
                raise _failed(
                    f"{self._location} holds another head of the same size ({key}): the log shows two histories",
                    "compare both heads with the log before anything else",
                )
            if self._bucket.look(key, one.id).mode is not None:
                found = True
                self._bucket.prolong(key, one.id)
        return found


def open_anchor_bucket(location: str, settings: BucketSettings | None, secret: Callable[[str], str]) -> AnchorBucket:
    """The bucket at `s3://bucket/prefix`; it is not asked before it is used. LedgerError when the location names none."""
    try:
        return AnchorBucket(location, Bucket(location, settings, secret, _PATIENCE))
    except BucketError as error:
        raise _failed(error.problem, error.next_step) from error


def _failed(problem: str, next_step: str) -> LedgerError:
    return LedgerError(
        f"{problem}.", now="the response goes on; entries since the last anchor are not anchored here.",
        next_step=f"{next_step}.",
    )  # fmt: skip
