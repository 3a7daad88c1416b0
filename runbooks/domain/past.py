"""What was known when an entry was written: the entries before it, and the objects that they name."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TypeVar

from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Digest, Value

V = TypeVar("V", bound=Value)

SECONDS_BETWEEN = 60
"""What is looked at and what is then written are two acts; so long after the first, at most, comes the second."""


class WithheldError(LookupError):
    """An input is not there."""


class Past:
    """One incident. `read` gives an object by its digest, or None; `fingerprints` a configuration's key lines.

    `unsigned` says of entries, by index, why they are not what their person signed.
    """

    def __init__(
        self, entries: list[LedgerEntry], house: list[LedgerEntry], read: Callable[[Digest], bytes | None],
        fingerprints: Callable[[Configuration], dict[str, str]], unsigned: Mapping[int, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._entries, self._house, self._read, self._fingerprints = entries, house, read, fingerprints
        self._unsigned = unsigned

    def _before(self, entry: LedgerEntry) -> list[LedgerEntry]:
        return [e for e in self._entries if e.index < entry.index]

    def _active(self, entry: LedgerEntry) -> Digest:
        found = [e for e in self._house if e.type is EntryType.CONFIGURATION_ACTIVATED and e.index < entry.index]
        return max(found, key=lambda e: e.index).subject["configuration"]

    def _active_since(self, entry: LedgerEntry, since: Instant) -> list[Digest]:
        """What was active at this time or afterwards, up to the entry, the newest first."""
        found = [e for e in self._house if e.type is EntryType.CONFIGURATION_ACTIVATED and e.index < entry.index]
        newest_first = sorted(found, key=lambda e: e.index, reverse=True)
        ends = {older.index: newer.at for newer, older in pairwise(newest_first)}
        return [e.subject["configuration"] for e in newest_first if ends.get(e.index, since) >= since]

    def _unless_let(self, entry: LedgerEntry, since: Instant, objection: Callable[[Configuration], str]) -> list[str]:
        """The objection of the configuration that was active; nothing when one that was active since then has none."""
        found = []
        for digest in self._active_since(entry, since):
            found.append(objection(self._parse(digest, Configuration)))
            if not found[-1]:
                return []
        return found[:1] or ["expected an active configuration, found none"]

    def _time_of(self, entry: LedgerEntry) -> Instant:
        """When it was written; never before the entry that stands before it: a clock that was set back revives nothing."""
        return max([entry.at, *(e.at for e in self._before(entry)[-1:])])

    def _books(self, entry: LedgerEntry) -> list[Digest]:
        """The runbook by the configuration that was active then, and those since the opening: a seal takes its time."""
        activated = [e for e in self._house if e.type is EntryType.CONFIGURATION_ACTIVATED]
        since = [e.subject["configuration"] for e in activated if self._entries[0].index < e.index < entry.index]
        kind = self._incident(entry).archetype
        pinned = [
            self._parse(one, Configuration) for one in (self._active(entry), self._active(self._entries[0]), *since)
        ]
        return [digest for one in pinned for name, digest in one.runbooks.items() if str(name) == kind]

    def _subject_before(self, entry: LedgerEntry, kind: EntryType, name: str) -> Digest | None:
        return next((e.subject[name] for e in reversed(self._before(entry)) if e.type is kind), None)

    def _incident(self, entry: LedgerEntry) -> Incident:
        """The incident as it was known then."""
        digest = next(e.subject["incident"] for e in reversed(self._before(entry)) if "incident" in e.subject)
        return self._parse(digest, Incident)

    def _plan(self, entry: LedgerEntry) -> Plan:
        digest = self._subject_before(entry, EntryType.PLAN_MADE, "plan")
        if digest is None:
            raise KeyError("plan")
        return self._parse(digest, Plan)

    def _act(self, entry: LedgerEntry, step: str, digest: Digest) -> ContainmentAction:
        """The planned act; or, when that is what the digest says, the same as somebody signed to do it alone."""
        planned = self._plan(entry).action(step)
        broken = [e for e in self._before(entry) if e.type is EntryType.BREAK_GLASS_OPENED and e.body["action"] == step]
        alone = (planned.alone(turn) for turn in range(1, len(broken) + 1))
        signed = {e.subject["action"] for e in broken}
        return next((one for one in alone if one.digest() == digest and digest in signed), planned)

    def _get(self, entry: LedgerEntry, name: str, kind: type[V]) -> V:
        return self._parse(entry.subject[name], kind)

    def _parse(self, digest: Digest, kind: type[V]) -> V:
        data = self._read(digest)
        if data is None:
            raise WithheldError(f"the {kind.__name__.lower().strip('_')} {digest} is withheld or missing")
        return kind.from_bytes(data)
