"""Locks of a bucket as a ratchet: what an open incident rests on stays locked for as long as it is open.

Rules of the duty, in order:
1. Only where the vault, or the place of anchored heads, is a bucket. One that locks for a day needs it most.
2. It looks when the keeper begins, then eight times within the time of a lock; after a failure again in a minute.
3. Of each open incident: every object that its entries name, with packs and leaves of its collections, the active
   configuration with its runbooks, and those before it, by which alone it is known who could make it active. A lock of
   which half the time is over is set anew. One that is missing, or refused, keeps no other from it; where the bucket
   answers nothing more, the rest must wait.
4. The newest anchored head, which covers everything before it, likewise.
5. What was extended is an entry of the incident. What could not be is one too, once until it works again; that it
   does is an entry even where nothing was due.
"""

import time
from collections.abc import Callable, Iterator

from runbooks.domain.bucket import BucketSettings, is_bucket
from runbooks.domain.bundle import COLLECTIONS, objects_of
from runbooks.domain.checkpoint import Checkpoint, SignedNote
from runbooks.domain.errors import QuellError
from runbooks.domain.evidence import Collection
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Digest
from tasks.anchors import anchored
from tasks.installation import Installation
from tasks.ledger import KEEPER, clock
from tasks.settings import resolve_secret
from tasks.stores import open_anchor_directory

LOOKS_PER_LOCK = 8
AGAIN_SECONDS = 60.0
"""After a failure."""
MOST_TOLD = 3
"""Failures that are told in words; the rest is counted."""
_DAY = 24 * 3600.0


class LockDuty:
    """The keeper's duty. Remembers only when it looks next; two keepers extend the same locks twice."""

    def __init__(self, installation: Installation, seconds: Callable[[], float] = time.monotonic) -> None:
        self._home, self._seconds = installation, seconds
        self._next: float | None = None

    def keep(self) -> bool:
        """Extend what is due, if it is time to look; whether it looked."""
        locking = self._locking()
        if not locking or (self._next is not None and self._seconds() < self._next):
            return False
        whole = [self._extend(incident) for incident in self._open()]
        shortest = min(one.retention_days for one in locking) * _DAY / LOOKS_PER_LOCK
        self._next = self._seconds() + (shortest if all(whole) else AGAIN_SECONDS)
        return True

    def _locking(self) -> list[BucketSettings]:
        limits = self._home.settings.limits
        found = ((self._home.settings.vault_path, limits.s3), (limits.anchor_directory, limits.anchor_s3))
        return [settings for place, settings in found if is_bucket(place) and settings is not None]

    def _open(self) -> list[str]:
        entries = self._home.store.entries(types=(EntryType.INCIDENT_OPENED, EntryType.INCIDENT_CLOSED))
        closed = {entry.incident for entry in entries if entry.type is EntryType.INCIDENT_CLOSED}
        return [str(entry.incident) for entry in entries if entry.incident not in closed]

    def _extend(self, incident: str) -> bool:
        """Whether everything of this incident is locked for long enough."""
        writer, problems = self._home.pen(KEEPER), list[str]()
        extended = self._vault(incident, problems)
        try:
            self._head()
        except QuellError as error:
            problems.append(str(error))
        before, failed = (writer.last(incident, kind) for kind in (EntryType.LOCKS_EXTENDED, EntryType.LOCKS_FAILED))
        works_again = not problems and failed is not None and (before is None or before.index < failed.index)
        if extended or works_again:
            writer.write(
                EntryType.LOCKS_EXTENDED, f"locks-extended/{incident}/{clock()}", incident=incident,
                body={"objects": extended, "days": min(one.retention_days for one in self._locking())},
            )  # fmt: skip
        if problems:
            writer.write(
                EntryType.LOCKS_FAILED, f"locks-failed/{incident}/{before.index if before else 'first'}",
                incident=incident, body={"failures": len(problems), "because": " ".join(problems[:MOST_TOLD])},
            )  # fmt: skip
        return not problems

    def _vault(self, incident: str, problems: list[str]) -> int:
        """How many were extended; why others were not is added to `problems`."""
        extended, vault = 0, self._home.vault
        if not is_bucket(self._home.settings.vault_path):
            return 0
        try:
            for digest in dict.fromkeys(self._objects(self._home.store.entries(incident), problems)):
                try:
                    extended += vault.prolong(digest)
                except QuellError as error:
                    problems.append(str(error))
                    vault.has(digest)  # does it answer at all?
        except QuellError as error:
            problems.append(str(error))
        return extended

    def _objects(self, entries: list[LedgerEntry], problems: list[str]) -> Iterator[Digest]:
        yield from (entry.subject["configuration"] for entry in self._home.signatures().activations)
        yield from self._home.active().runbooks.values()
        for entry in entries:
            for name, digest in objects_of(entry):
                yield digest
                if name in COLLECTIONS:
                    try:
                        collection = Collection.from_bytes(self._home.vault.get(digest))
                    except QuellError as error:  # which packs were its is not known any more
                        problems.append(str(error))
                        continue
                    yield collection.leaves
                    yield from (pack.name for pack in collection.packs)

    def _head(self) -> None:
        """Put where it stands already, a head is locked anew."""
        limits = self._home.settings.limits
        if not is_bucket(limits.anchor_directory):
            return
        heads = self._home.store.walk(types=(EntryType.CHECKPOINT_ANCHORED,), backwards=True)
        newest = next((entry for entry in heads if entry.body["kind"] == "store"), None)
        if newest is not None:
            note = anchored(self._home, newest).note
            head = Checkpoint.read(SignedNote.read(note).text.encode())
            place = open_anchor_directory(
                limits.anchor_directory, limits.anchor_s3, lambda ref: resolve_secret(ref, self._home.settings.home)
            )
            place.put(head.origin, head.size, note, head.body())
