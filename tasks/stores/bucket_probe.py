"""Whether a bucket really keeps what it locks: tried, not asked. Accepting a lock and honouring it are two things.

Each attempt has an object of its own, of a few bytes, locked for some minutes; what is left of earlier probes and no
longer locked is removed first. Nothing else in the bucket is touched, and its own settings are never changed.
"""

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from runbooks.domain.bucket import BucketSettings
from tasks.stores._bucket import Bucket
from tasks.stores._bucket_errors import BucketError
from tasks.stores._outside import BucketCheck

LOCKED_SECONDS = 120
"""How long a probe object stays locked."""
MAX_SKEW_SECONDS = 60
_REFUSALS = frozenset(
    {"AccessDenied", "403", "InvalidRequest", "ObjectLocked", "MethodNotAllowed", "InvalidRetentionPeriod"}
)
_SETTLED = frozenset({*_REFUSALS, "InvalidArgument", "400"})


def probe(location: str, settings: BucketSettings | None, secret: Callable[[str], str]) -> list[BucketCheck]:
    """Every check by name; a failed one that is `needed` means that this bucket must not be relied on. Never raises."""
    try:
        bucket = Bucket(location, settings, secret)
        there = bucket.now()
    except BucketError as error:
        return [BucketCheck(name="reachable", passed=False, found=f"{error.problem}: {error.next_step}")]
    found = [BucketCheck(name="reachable", passed=True, found=f"the bucket {bucket.name} answers")]
    return [*found, _clocks(there), *_Trial(bucket).checks()]


def _clocks(there: datetime) -> BucketCheck:
    apart = round(abs(there.timestamp() - time.time()))
    found = f"{apart} s between this machine's clock and the server's"
    return BucketCheck(name="clocks agree", passed=apart <= MAX_SKEW_SECONDS, found=found, needed=False)


class _Trial:
    """One round of attempts; each refused by whatever keeps its locks."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._strict = bucket.mode == "COMPLIANCE"
        self._round = secrets.token_hex(4)

    def checks(self) -> list[BucketCheck]:
        """In the order of asking; where no locked object can be made, that is the last."""
        with contextlib.suppress(BucketError):
            self._sweep()
        found = [self._locks()]
        if not found[0].passed:
            return found
        found += [
            self._refused("a locked version cannot be deleted", "delete", self._delete, {}),
            self._overwritten(),
            self._hidden(),
            self._refused("retention cannot be shortened", "shorten", self._shorten, {}),
        ]
        if self._strict:
            bypass = {"BypassGovernanceRetention": True}
            found += [
                self._refused("nor deleted with the right to bypass", "bypass", self._delete, bypass),
                self._refused("nor shortened with the right to bypass", "shorten-bypass", self._shorten, bypass),
                self._refused("nor made weaker (governance)", "weaken", self._weaken, bypass),
            ]
        else:
            found.append(self._bypassed())
        return [*found, self._by_lock(), *self._abilities()]

    def _bypassed(self) -> BucketCheck:
        """In governance mode: whether this very identity may end a lock early. Whoever takes it over could, too."""
        name = "keeps its locks from quell's own identity (governance)"
        tried = self._refused(name, "bypass", self._delete, {"BypassGovernanceRetention": True})
        todo = 'take s3:BypassGovernanceRetention from the identity behind `credentials`, or set lock = "compliance"'
        return tried.model_copy(update={"needed": False, "todo": todo})

    def _until(self) -> datetime:
        return (self._bucket.now() + timedelta(seconds=LOCKED_SECONDS)).replace(microsecond=0)

    def _make(self, what: str) -> tuple[str, str, datetime]:
        key, body, until = self._key(what), what.encode(), self._until()
        version = self._bucket.put(key, body, len(body), hashlib.sha256(body).hexdigest(), until=until)
        return key, str(version), until

    def _key(self, what: str) -> str:
        return f"{self._bucket.prefix}probe/{self._round}/{what}"

    def _locks(self) -> BucketCheck:
        name = "takes a lock"
        try:
            key, version, until = self._make("lock")
            seen = self._bucket.look(key, version)
        except BucketError as error:
            return BucketCheck(name=name, passed=False, found=f"{error.problem}: {error.next_step}")
        except FileNotFoundError:
            return BucketCheck(name=name, passed=False, found="what was stored cannot be read back by its version")
        good = (
            seen.mode == self._bucket.mode
            and seen.until is not None
            and abs(seen.until - until) <= timedelta(seconds=2)
        )
        found = (
            f"asked for {self._bucket.mode} until {until:%H:%M:%S}, read back {seen.mode} until {seen.until or 'never'}"
        )
        return BucketCheck(name=name, passed=good, found=found)

    def _refused(self, name: str, what: str, attempt: Callable[..., None], extra: dict[str, Any]) -> BucketCheck:
        try:
            key, version, until = self._make(what)
            answer = "the server agreed"
            try:
                attempt(key, version, **extra)
            except BucketError as error:
                answer = f"refused ({error.code})"
                if error.code not in _SETTLED:
                    return BucketCheck(name=name, passed=False, found=f"no clear answer: {error.problem}")
            seen = self._bucket.look(key, version)
        except BucketError as error:
            return BucketCheck(name=name, passed=False, found=f"could not be tried: {error.problem}")
        except FileNotFoundError:
            return BucketCheck(name=name, passed=False, found="the locked version is gone")
        kept = seen.mode == self._bucket.mode and seen.until is not None and seen.until >= until - timedelta(seconds=2)
        state = "still there, locked as before" if kept else f"now {seen.mode} until {seen.until}"
        return BucketCheck(name=name, passed=kept, found=f"{answer}; the version is {state}")

    def _delete(self, key: str, version: str, **bypass: bool) -> None:
        self._bucket.call("delete_object", Key=key, VersionId=version, **bypass)

    def _shorten(self, key: str, version: str, **bypass: bool) -> None:
        self._retain(key, version, self._bucket.mode, self._bucket.now() + timedelta(seconds=5), **bypass)

    def _weaken(self, key: str, version: str, **bypass: bool) -> None:
        """With a later date, so that only the mode is a reason to refuse."""
        self._retain(key, version, "GOVERNANCE", self._until() + timedelta(seconds=60), **bypass)

    def _retain(self, key: str, version: str, mode: str, until: datetime, **bypass: bool) -> None:
        retention = {"Mode": mode, "RetainUntilDate": until}
        self._bucket.call("put_object_retention", Key=key, VersionId=version, Retention=retention, **bypass)

    def _overwritten(self) -> BucketCheck:
        return self._stays("another object under the same key replaces nothing", "overwrite", self._write_over)

    def _write_over(self, key: str) -> None:
        self._bucket.put(key, b"other", 5, hashlib.sha256(b"other").hexdigest(), until=self._until())

    def _hidden(self) -> BucketCheck:
        return self._stays(
            "a delete marker hides nothing", "mark", lambda key: self._bucket.call("delete_object", Key=key)
        )

    def _stays(self, name: str, what: str, attempt: Callable[[str], None]) -> BucketCheck:
        try:
            key, version, _ = self._make(what)
            with contextlib.suppress(BucketError):
                attempt(key)
            same = b"".join(self._bucket.stream(key, version)) == what.encode()
            listed = version in [one.id for one in self._bucket.versions(key)]
        except BucketError as error:
            return BucketCheck(name=name, passed=False, found=f"could not be tried: {error.problem}")
        except FileNotFoundError:
            return BucketCheck(name=name, passed=False, found="the first version is gone")
        found = (
            "the first version is read and listed as before"
            if same and listed
            else "the first version is not what it was"
        )
        return BucketCheck(name=name, passed=same and listed, found=found)

    def _by_lock(self) -> BucketCheck:
        """Without a lock the same deletion works: so it was the lock that refused, and not a missing right."""
        name, key = "it is the lock that refuses", self._key("unlocked")
        try:
            version = str(self._bucket.put(key, b"0", 1, hashlib.sha256(b"0").hexdigest(), until=None))
            self._delete(key, version)
        except BucketError:
            found = "this identity may not delete an unlocked object either (or the bucket locks everything): not told apart"
            return BucketCheck(name=name, passed=False, found=found, needed=False)
        return BucketCheck(
            name=name, passed=True, found="an unlocked object was deleted by the same request", needed=False
        )

    def _abilities(self) -> list[BucketCheck]:
        try:
            able = self._bucket.abilities()
        except BucketError as error:
            return [BucketCheck(name="refuses a second object", passed=False, found=error.problem, needed=False)]
        twice = (
            "If-None-Match is honoured"
            if able.conditions
            else "If-None-Match is ignored: a further version, equally locked"
        )
        sums = (
            "a wrong SHA-256 is refused" if able.checksums else "a wrong SHA-256 is accepted: every object is read back"
        )
        return [
            BucketCheck(name="refuses a second object", passed=able.conditions, found=twice, needed=False),
            BucketCheck(name="refuses other bytes", passed=able.checksums, found=sums, needed=False),
        ]

    def _sweep(self) -> None:
        page = self._bucket.call("list_object_versions", Prefix=f"{self._bucket.prefix}probe/", MaxKeys=200)
        for one in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            if not one["Key"].endswith("probe/once"):
                self._bucket.tidy(one["Key"], [one["VersionId"]])
