"""Anchors: signed heads of the log where the operator of this installation cannot change them.

Two kinds, both optional and set in config/defaults.toml: a second store (`anchor_directory`) and a time-stamp authority
(`anchor_tsa_url`). A failure never stops a response: it is an entry, and the range without an anchor is reported.
Room for more (a C2SP witness) is a third kind here.
"""

from collections.abc import Callable

from runbooks.domain.checkpoint import Checkpoint, SignedNote
from runbooks.domain.errors import QuellError
from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Value
from tasks.checkpoints import checkpoint
from tasks.installation import Installation
from tasks.ledger import KEEPER, clock
from tasks.settings import resolve_secret
from tasks.stores import open_anchor_directory, open_time_stamps

AT_ONCE = frozenset({
    EntryType.RUN_SUSPENDED, EntryType.EVIDENCE_SEALED, EntryType.CONTAINMENT_JUDGED, EntryType.INCIDENT_CLOSED,
    EntryType.KEY_ADDED,
})  # fmt: skip
"""What is anchored in the keeper's next round: every gate, the seal, the closure, a changed key."""
_OWN = frozenset({EntryType.CHECKPOINT_ANCHORED, EntryType.ANCHOR_FAILED})


class Anchored(Value):
    """One head as it stands elsewhere: the note, and for a time-stamp its request and response."""

    kind: str
    size: int
    where: str
    note: bytes
    request: bytes | None = None
    response: bytes | None = None

    def files(self) -> dict[str, bytes]:
        """As they stand in a bundle."""
        found = {f"{self.size}.note": self.note, f"{self.size}.body": SignedNote.read(self.note).text.encode()}
        if self.request is not None and self.response is not None:
            found |= {f"{self.size}.tsq": self.request, f"{self.size}.tsr": self.response}
        return found


def places(installation: Installation) -> list[str]:
    """The kinds of anchors that are configured."""
    limits = installation.settings.limits
    return [kind for kind, on in (("store", limits.anchor_directory), ("tsa", limits.anchor_tsa_url)) if on]


def anchor_note(installation: Installation, note: SignedNote, kinds: list[str] | None = None) -> list[Anchored]:
    """Anchor this head at every configured place (or these), and record what came of it; a failing place never raises."""
    head = Checkpoint.read(note.text.encode())
    wanted = places(installation) if kinds is None else kinds
    return [done for kind in wanted if (done := _anchor(installation, kind, head, note)) is not None]


def _anchor(installation: Installation, kind: str, head: Checkpoint, note: SignedNote) -> Anchored | None:
    writer, limits = installation.pen(KEEPER), installation.settings.limits
    try:
        if kind == "store":
            store = open_anchor_directory(
                limits.anchor_directory, limits.anchor_s3,
                lambda ref: resolve_secret(ref, installation.settings.home),
            )  # fmt: skip
            store.put(head.origin, head.size, note.encoded(), head.body())
            done = Anchored(kind=kind, size=head.size, where=store.name, note=note.encoded())
        else:
            authority = open_time_stamps(limits.anchor_tsa_url)
            request, response = authority.stamp(head.body())
            done = Anchored(
                kind=kind, size=head.size, where=authority.name, note=note.encoded(), request=request,
                response=response,
            )  # fmt: skip
        parts = {"checkpoint": done.note, "tsq": done.request, "tsr": done.response}
        kept = {name: installation.vault.put(data) for name, data in parts.items() if data is not None}
    except QuellError as error:  # the place, a credential that cannot be read, the vault for our own copy
        before = _newest(installation, kind)
        writer.write(
            EntryType.ANCHOR_FAILED, f"anchor-failed/{kind}/{before.index if before else 'first'}",
            body={"kind": kind, "size": head.size, "because": str(error)},
        )  # fmt: skip
        return None
    writer.write(
        EntryType.CHECKPOINT_ANCHORED, f"anchored/{kind}/{head.size}", subject=dict(kept),
        body={"kind": kind, "where": done.where, "size": head.size, "root": head.root},
    )  # fmt: skip
    return done


def _newest(installation: Installation, kind: str) -> LedgerEntry | None:
    found = installation.store.walk(types=(EntryType.CHECKPOINT_ANCHORED,), backwards=True)
    return next((entry for entry in found if entry.body["kind"] == kind), None)


def _covered(installation: Installation, kind: str) -> int:
    newest = _newest(installation, kind)
    return int(newest.body["size"]) if newest else 0


def anchors_between(installation: Installation, since: int, until: int) -> list[LedgerEntry]:
    """What is on record of anchors that cover entries from index `since` on, oldest first.

    Of each kind until the first that covers the entry before `until`: later ones say nothing more of these entries.
    """
    found: list[LedgerEntry] = []
    done: set[str] = set()
    for entry in installation.store.walk(since=since, types=_OWN):
        kind, size = str(entry.body["kind"]), int(entry.body["size"])
        if kind not in done and size > since:
            found.append(entry)
            if entry.type is EntryType.CHECKPOINT_ANCHORED and size >= until:
                done.add(kind)
    return found


def anchored(installation: Installation, entry: LedgerEntry) -> Anchored:
    """The head that this entry says was anchored."""
    parts = {name: installation.vault.get(digest) for name, digest in entry.subject.items()}
    return Anchored(
        kind=str(entry.body["kind"]), size=int(entry.body["size"]), where=str(entry.body["where"]), note=parts["checkpoint"],
        request=parts.get("tsq"), response=parts.get("tsr"),
    )  # fmt: skip


def unanchored(installation: Installation) -> tuple[int, int]:
    """Index of the first entry that some configured kind of anchor does not cover (with none configured: 0), and size.

    Equal when all is covered. Entries that only tell of anchors are not counted: anchoring them would never end.
    """
    size, kinds = installation.store.size(), places(installation)
    if not kinds:
        return 0, size
    return min(_first_news(installation, kind, size) for kind in kinds), size


def _first_news(installation: Installation, kind: str, size: int) -> int:
    since = _covered(installation, kind)
    return next((e.index for e in installation.store.walk(since=since) if e.type not in _OWN), size)


class AnchorDuty:
    """The keeper's duty: the head is anchored at every gate, at closure, and at the interval while there is news.

    Remembers when it tried last, so that a dead authority is not asked in every round. A keeper that begins anew
    tries at once; two keepers anchor the same head under the same key.
    """

    def __init__(self, installation: Installation, now: Callable[[], Instant] = clock) -> None:
        self._home, self._now = installation, now
        self._tried: Instant | None = None
        self._seen, self._read, self._news, self._urgent = 0, 0, -1, -1
        """Size when it tried last; up to where it read; the newest entry of more than anchors; the newest urgent one."""
        self._covered: dict[str, int] = {}

    def keep(self) -> bool:
        """Anchor if it is time; returns whether it was tried. Reads only what is new since the last round."""
        self._look()
        kinds = [kind for kind in places(self._home) if self._reached(kind) <= self._news]
        if not kinds:
            return False
        interval = 1000 * self._home.settings.limits.anchor_interval_seconds
        due = self._tried is None or abs(milliseconds_between(self._tried, self._now())) >= interval  # clocks jump back
        if not due and self._urgent < self._seen:
            return False
        note = checkpoint(self._home)
        self._tried, self._seen = self._now(), Checkpoint.read(note.text.encode()).size
        for done in anchor_note(self._home, note, kinds):
            self._covered[done.kind] = done.size
        return True

    def _look(self) -> None:
        if not self._read:
            newest = (e for e in self._home.store.walk(backwards=True) if e.type not in _OWN)
            self._news = next((entry.index for entry in newest), -1)
            self._read = self._home.store.size()
        for entry in self._home.store.walk(since=self._read):
            self._read = entry.index + 1
            if entry.type is EntryType.CHECKPOINT_ANCHORED:  # another keeper's too
                kind = str(entry.body["kind"])
                self._covered[kind] = max(self._covered.get(kind, 0), int(entry.body["size"]))
            elif entry.type not in _OWN:
                self._news = entry.index
                self._urgent = entry.index if entry.type in AT_ONCE else self._urgent

    def _reached(self, kind: str) -> int:
        if kind not in self._covered:
            self._covered[kind] = _covered(self._home, kind)
        return self._covered[kind]
