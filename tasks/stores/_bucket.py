"""One bucket, spoken to so that what it says it did can be believed: every write is read back by its version."""

import base64
import contextlib
import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO

from botocore.exceptions import BotoCoreError

from runbooks.domain.bucket import BucketSettings
from tasks.stores._bucket_client import BucketClient
from tasks.stores._bucket_errors import GONE, STANDS, UNKNOWN_CONDITION, BucketError, no_lock, told

PIECE = 1 << 20
_SLACK = timedelta(seconds=2)
"""Servers cut dates to seconds."""
_RELOCK = timedelta(minutes=10)
"""A lock that ends this much earlier than a new one would is left as it is."""


@dataclass(frozen=True)
class Version:
    """One version of one object as the server describes it. `sha256` is hexadecimal, None when the server has none."""

    key: str
    id: str
    size: int
    sha256: str | None = None
    mode: str | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Abilities:
    """What this server does with a request: refuse a second object under a key; refuse bytes of another checksum."""

    conditions: bool
    checksums: bool


class Bucket(BucketClient):
    """A bucket that stores and locks, and whose every write is checked."""

    def __init__(
        self, location: str, settings: BucketSettings | None, secret: Callable[[str], str], patience: float = 60
    ) -> None:
        super().__init__(location, settings, secret, patience)
        self.mode = self.settings.lock.upper()
        self.retention = timedelta(days=self.settings.retention_days)
        self._trying = threading.Lock()
        self._abilities: Abilities | None = None

    def put(
        self, key: str, body: BinaryIO | bytes, length: int, sha256: str, *, until: datetime | None, once: bool = False
    ) -> str | None:
        """One object in one request; its version. With `once`, None when something stands under the key already."""
        lock = {} if until is None else {"ObjectLockMode": self.mode, "ObjectLockRetainUntilDate": until}
        only = {"IfNoneMatch": "*"} if once else {}
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        try:
            answer = self.call(
                "put_object", Key=key, Body=data, ContentLength=length, ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum, **lock, **only,
            )  # fmt: skip
        except BucketError as error:
            if once and error.code in STANDS:
                return None
            if (
                until is not None
                and error.code in {"InvalidRequest", "InvalidBucketState", "400"}
                and not self._can_lock()
            ):
                raise no_lock(self.name) from None
            raise
        version = answer.get("VersionId")
        if version in {None, "null"}:
            raise no_lock(self.name)  # an unversioned bucket can lock nothing
        return str(version)

    def look(self, key: str, version: str) -> Version:
        """What the server says of this version; FileNotFoundError when it is not there."""
        with _absent(key):
            said = self.call("head_object", Key=key, VersionId=version, ChecksumMode="ENABLED")
        checksum = said.get("ChecksumSHA256")
        return Version(
            key, version, int(said["ContentLength"]),
            sha256=base64.b64decode(checksum).hex() if checksum and "-" not in checksum else None,
            mode=said.get("ObjectLockMode"), until=said.get("ObjectLockRetainUntilDate"),
        )  # fmt: skip

    def stream(self, key: str, version: str) -> Iterator[bytes]:
        """The bytes of this version, in pieces; FileNotFoundError when it is not there."""
        with _absent(key):
            body = self.call("get_object", Key=key, VersionId=version)["Body"]
        with contextlib.closing(body):
            while True:
                try:
                    piece = body.read(PIECE)
                except BotoCoreError as error:
                    raise told(self.name, "get_object", error) from None
                if not piece:
                    return
                yield piece

    def versions(self, key: str) -> Iterator[Version]:
        """Every version under exactly this key, newest first; delete markers are none, and hide none."""
        asked: dict[str, str] = {}
        while True:
            page = self.call("list_object_versions", Prefix=key, **asked)
            for one in page.get("Versions", ()):
                if one["Key"] == key:
                    yield Version(key, str(one["VersionId"]), int(one["Size"]))
            if not page.get("IsTruncated"):
                return
            asked = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def holds(self, one: Version, sha256: str) -> bool:
        """Whether this version has these bytes, by reading them."""
        found = hashlib.sha256()
        for piece in self.stream(one.key, one.id):
            found.update(piece)
        return found.hexdigest() == sha256

    def keep(self, key: str, body: BinaryIO | bytes, length: int, sha256: str, known: str | None = None) -> Version:
        """Store and lock, once, and believe nothing: size, checksum, mode and date are read back from the version.

        `known` is a version that was stored before. An equal object that stands already is kept, and locked anew. Where
        somebody else's bytes stand under the key, a further version is stored beside them.
        """
        until = self._until()
        standing = self._standing(key, length, sha256, known)
        if standing is None:
            once = self.abilities().conditions
            made = self.put(key, body, length, sha256, until=until, once=once)
            if made is None:
                standing = self._standing(key, length, sha256, None)
                made = None if standing else self.put(key, body, length, sha256, until=until)
            if made is not None:
                standing = self.look(key, made)
                self._demand_bytes(standing, length, sha256)
        if standing is None:
            raise self._untrue(key, "has no version")
        if standing.until is not None and standing.until + _RELOCK < until:
            standing = self._lock_anew(standing, until)
        self._demand_lock(standing, until)
        return standing

    def prolong(self, key: str, version: str) -> bool:
        """Have this version stay locked as long as if it were stored now, once half of its time is over; whether it was.

        Read back and believed no more than after `keep`; FileNotFoundError when the version is not there.
        """
        until, standing = self._until(), self.look(key, version)
        due = standing.until is None or standing.until + self.retention / 2 < until
        if due:
            standing = self._lock_anew(standing, until)
            self._demand_lock(standing, until)
        return due

    def _until(self) -> datetime:
        return (self.now() + self.retention + timedelta(seconds=1)).replace(microsecond=0)

    def _lock_anew(self, one: Version, until: datetime) -> Version:
        retention = {"Mode": one.mode or self.mode, "RetainUntilDate": until}
        self.call("put_object_retention", Key=one.key, VersionId=one.id, Retention=retention)
        return self.look(one.key, one.id)

    def abilities(self) -> Abilities:
        """Tried out once per process, on objects of one byte that hold nothing."""
        with self._trying:
            if self._abilities is None:
                self._abilities = Abilities(self._knows_conditions(), self._knows_checksums())
            return self._abilities

    def _can_lock(self) -> bool:
        try:
            self.call("get_object_lock_configuration")
        except BucketError as error:
            return error.code != "ObjectLockConfigurationNotFoundError"
        return True

    def _standing(self, key: str, length: int, sha256: str, known: str | None) -> Version | None:
        candidates = [known] if known else [one.id for one in self.versions(key) if one.size == length]
        for version in candidates:
            with contextlib.suppress(FileNotFoundError):
                one = self.look(key, version)
                if one.size == length and one.mode in {self.mode, "COMPLIANCE"} and self._equal(one, sha256):
                    return one
        return self._standing(key, length, sha256, None) if known else None

    def _equal(self, one: Version, sha256: str) -> bool:
        if one.sha256 is not None and self.abilities().checksums:
            return one.sha256 == sha256
        return self.holds(one, sha256)

    def _demand_bytes(self, one: Version, length: int, sha256: str) -> None:
        if one.size != length:
            raise self._untrue(one.key, f"has {one.size} bytes, sent were {length}")
        if not self._equal(one, sha256):
            raise self._untrue(one.key, "has other bytes than were sent")

    def _demand_lock(self, one: Version, until: datetime) -> None:
        if one.mode is None or one.until is None:
            raise no_lock(self.name)
        if one.mode not in {self.mode, "COMPLIANCE"}:
            raise self._untrue(one.key, f"is locked in mode {one.mode}, asked was {self.mode}")
        if one.until + _RELOCK + _SLACK < until:
            raise self._untrue(
                one.key, f"is locked until {one.until:%Y-%m-%d %H:%M:%S}, asked was {until:%Y-%m-%d %H:%M:%S}"
            )

    def _untrue(self, key: str, what: str) -> BucketError:
        return BucketError(
            f"the bucket {self.name} took an object and does not keep it as asked: {key} {what}",
            "do not rely on this bucket; `quell check` tries its locks out",
        )

    def _knows_conditions(self) -> bool:
        key, made = f"{self.prefix}probe/once", list[str]()
        try:
            for _ in range(2):
                version = self.put(key, b"1", 1, hashlib.sha256(b"1").hexdigest(), until=None, once=True)
                if version is None:
                    self.tidy(key, made)
                    return True
                made.append(version)
        except BucketError as error:
            if error.code in UNKNOWN_CONDITION:
                return False
            raise
        self.tidy(key, made)
        return False

    def _knows_checksums(self) -> bool:
        key, other = f"{self.prefix}probe/checksum", hashlib.sha256(b"2").hexdigest()
        try:
            version = self.put(key, b"1", 1, other, until=None)
        except BucketError as error:
            if error.code in {"BadDigest", "InvalidRequest", "InvalidDigest", "XAmzContentChecksumMismatch", "400"}:
                return True
            raise
        self.tidy(key, [version] if version else [])
        return False

    def tidy(self, key: str, versions: list[str]) -> None:
        """Remove probe objects where that is allowed."""
        for version in versions:
            with contextlib.suppress(BucketError):
                self.call("delete_object", Key=key, VersionId=version)


@contextlib.contextmanager
def _absent(key: str) -> Iterator[None]:
    try:
        yield
    except BucketError as error:
        if error.code in GONE:
            raise FileNotFoundError(key) from None
        raise
