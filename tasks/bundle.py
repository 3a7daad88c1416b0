"""Exporting one incident: a directory that proves itself to somebody who has neither quell nor a reason to trust it.

Order: read everything, make the report, append `bundle_exported` (the seal), sign the head that ends with it, write the
files aside, rename. A crash before the rename leaves an entry that says that an export began, and no directory.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from runbooks.domain import bundle
from runbooks.domain.checkpoint import SignedNote
from runbooks.domain.errors import EvidenceError
from runbooks.domain.evidence import Collection, EvidenceClass
from runbooks.domain.instants import moment
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.merkle import Tree
from runbooks.domain.value import Value, canonical, digest_of
from tasks import verifier
from tasks.anchors import anchor_note, anchored, anchors_between
from tasks.checkpoints import checkpoint_at, tree_of
from tasks.guide import guide
from tasks.installation import Installation
from tasks.keys import log_key
from tasks.ledger import beginnings_before, clock, door_actor
from tasks.proofs import allowed_signers
from tasks.report import report_html
from tasks.signatures import Signatures

_LARGEST_ITEMS = 64 << 20
"""Bytes after which the next items file begins."""


class Exported(Value):
    """What was written."""

    directory: str
    incident: str
    entry: int
    files: int
    octets: int
    key: str
    """The log's public key (vkey), to be given to the auditor through another channel."""
    seal: bundle.Export
    unanchored: int
    """Entries up to the seal that no anchor covers."""


def export(installation: Installation, incident: str, target: Path, only: frozenset[EvidenceClass] | None) -> Exported:
    """Write the bundle; EvidenceError when the incident is unknown or the place is taken."""
    installation.incident(incident)
    if target.exists():
        raise EvidenceError(
            f"{target} exists already.",
            now="nothing was exported.",
            next_step="name a directory that is not there yet.",
        )
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True, mode=0o700)
        made = _Export(installation, incident, aside, only).write()
        aside.rename(target)
    except OSError as error:
        raise EvidenceError(
            f"{target} could not be written: {error.strerror or type(error).__name__}.",
            now="no bundle was written, and nothing of it is left; the record and the evidence are untouched.",
            next_step="make room there, or name another place, and export again.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return made.model_copy(update={"directory": str(target)})


class _Export:
    """One export under way."""

    def __init__(
        self, installation: Installation, incident: str, place: Path, only: frozenset[EvidenceClass] | None
    ) -> None:
        self._home, self._incident, self._place = installation, incident, place
        self._wanted = frozenset(EvidenceClass) if only is None else only
        self._manifest: dict[str, str] = {}
        self._octets: dict[str, int] = {}

    def write(self) -> Exported:
        """All of it."""
        log_key(self._home)  # its entry comes before the seal
        entries = self._home.store.entries(self._incident)
        house = self._house(entries)
        withheld_objects = self._objects(entries + house)
        items, withheld, erased = self._evidence(entries)
        self._decisions(entries + house)
        report = report_html(self._home, self._incident, entries, self._wanted)
        self._file(bundle.REPORT, report)
        seal = bundle.Export(
            count=len(entries) + 1, disclosed=tuple(sorted(self._wanted)), items=items, withheld=withheld,
            withheld_objects=tuple(withheld_objects), erased=tuple(erased),
        )  # fmt: skip
        last = self._seal(seal, report, house)
        if last.incident_seq != len(entries):  # something was recorded while we read
            raise EvidenceError(
                f"{self._incident} went on while it was exported.", now="no bundle was written.",
                next_step="export again.",
            )  # fmt: skip
        tree = tree_of(self._home, last.index + 1)
        note = checkpoint_at(self._home, tree)
        self._file(bundle.CHECKPOINT, note.encoded())
        self._file(bundle.CHECKPOINT_BODY, note.text.encode())
        self._ledger([*entries, last], house, tree)
        heads = self._anchors(house, note, tree)
        self._tags(last, seal)
        covered = max((size for size in heads if size <= tree.size), default=0)
        return Exported(
            directory=str(self._place), incident=self._incident, entry=last.index, files=len(self._manifest),
            octets=self._payload(), key=log_key(self._home).verifier.line(), seal=seal, unanchored=tree.size - covered,
        )  # fmt: skip

    def _house(self, entries: list[LedgerEntry]) -> list[LedgerEntry]:
        """Entries of the installation that the incident rests on: all keys, its own report, its runs, anchors as far as it goes.

        Of the configurations before it: the active one, and the one whose owners made it so.
        """
        opened, until = entries[0].index, entries[-1].index + 1
        rights = (EntryType.INSTALLATION_CREATED, EntryType.KEY_ADDED)
        found = [e for e in self._home.store.walk(types=rights) if e.incident is None]
        told = self._home.store.find(f"report/{entries[0].subject.get('report')}")
        kept = found + self._home.signatures().since(opened) + ([told] if told else [])
        kept += [*anchors_between(self._home, opened, until), *beginnings_before(self._home.store, entries)]
        return sorted(kept, key=lambda entry: entry.index)

    def _objects(self, entries: list[LedgerEntry]) -> list[str]:
        """Write what entries refer to; returns the names of what is withheld."""
        withheld, done = [], set()
        for entry in entries:
            for name, digest in bundle.objects_of(entry):
                kind = bundle.OBJECT_CLASS.get(name)
                if digest in done or name in bundle.COLLECTIONS or entry.type is EntryType.CHECKPOINT_ANCHORED:
                    continue
                done.add(digest)
                if kind is not None and kind not in self._wanted:
                    withheld.append(f"{name}-{digest.removeprefix('sha256:')}")
                    continue
                self._file(bundle.object_path(name, digest), self._home.vault.get(digest))
        return sorted(withheld)

    def _evidence(self, entries: list[LedgerEntry]) -> tuple[int, dict[EvidenceClass, int], list[str]]:
        shown, withheld, erased = 0, dict[EvidenceClass, int](), []
        for entry in entries:
            for name in bundle.COLLECTIONS:
                if name not in entry.subject:
                    continue
                data = self._home.vault.get(entry.subject[name])
                collection = Collection.from_bytes(data)
                folder = f"data/evidence/{collection.id}"
                self._file(f"{folder}/collection.json", data)
                self._file(f"{folder}/leaves.bin", self._home.vault.get(collection.leaves))
                if collection.evidence_class not in self._wanted and collection.items:
                    withheld[collection.evidence_class] = withheld.get(collection.evidence_class, 0) + collection.items
                    continue
                try:
                    shown += self._items(folder, collection)
                except EvidenceError:
                    erased.append(collection.id)
        return shown, withheld, erased

    def _items(self, folder: str, collection: Collection) -> int:
        """Disclosed items with their salts, in files of bounded size; none at all when one cannot be read."""
        records, written, count = _Counted(self._records(collection)), list[str](), 0
        try:
            while not records.ended:
                path = f"{folder}/items-{len(written):03d}.bin"
                written.append(path)
                self._stream(path, records.up_to(_LARGEST_ITEMS))
            count = records.count
        except EvidenceError:
            for path in written:
                self._manifest.pop(path, None)
                (self._place / path).unlink(missing_ok=True)
            raise
        return count

    def _records(self, collection: Collection) -> Iterator[bytes]:
        salt = self._home.vault.salts(collection.id)
        for index, item in self._home.vault.items(collection):
            yield bundle.item_head(index, salt(index), len(item)) + item

    def _decisions(self, entries: list[LedgerEntry]) -> None:
        """What people signed, in files that `ssh-keygen -Y verify` takes."""
        signatures = Signatures(entries, self._home.read)
        for entry in entries:
            signed = bundle.signed_part(entry, self._home.read)
            active = signatures.active_before(entry)
            if signed is None or active is None:
                continue
            said, proof, namespace = signed
            folder = f"data/decisions/{entry.index:09d}"
            self._file(f"{folder}/statement.json", canonical(said))
            self._file(f"{folder}/statement.json.sig", str(proof["signature"]).encode())
            self._file(f"{folder}/allowed_signers", allowed_signers(self._home.configuration(active)).encode())
            self._file(f"{folder}/person", f"{said.get('person')}\n".encode())
            self._file(f"{folder}/namespace", f"{namespace}\n".encode())
            self._file(f"{folder}/verify-time", f"{moment(entry.at):%Y%m%d%H%M%S}Z\n".encode())

    def _seal(self, seal: bundle.Export, report: bytes, house: list[LedgerEntry]) -> LedgerEntry:
        return self._home.pen(door_actor("export")).write(
            EntryType.BUNDLE_EXPORTED, f"exported/{self._incident}/{clock()}", incident=self._incident,
            subject={
                "report": digest_of(report), "verifier": digest_of(_verifier()), "guide": digest_of(guide()),
                "decisions": bundle.listing_digest(self._manifest, "data/decisions/"),
                "installation": digest_of(_lines(house)),
            },
            body={"export": seal.as_json()},
        )  # fmt: skip

    def _ledger(self, entries: list[LedgerEntry], house: list[LedgerEntry], tree: Tree) -> None:
        for lines, proofs, some in (
            (bundle.ENTRIES, bundle.PROOFS, entries), (bundle.HOUSE_ENTRIES, bundle.HOUSE_PROOFS, house),
        ):  # fmt: skip
            self._file(lines, _lines(some))
            self._file(proofs, b"".join(bundle.proof_line(e.index, tree.inclusion(e.index)) for e in some))

    def _anchors(self, house: list[LedgerEntry], note: SignedNote, tree: Tree) -> set[int]:
        """Earlier heads that stand elsewhere, and this one as far as it can be anchored now."""
        kept = [anchored(self._home, e) for e in house if e.type is EntryType.CHECKPOINT_ANCHORED]
        heads = kept + anchor_note(self._home, note)
        for one in heads:
            for name, data in one.files().items():
                self._file(f"data/anchors/{name}", data, again=True)
        sizes = sorted({one.size for one in heads})
        lines = [canonical({"size": s, "path": [step.hex() for step in tree.consistency(s)]}) + b"\n" for s in sizes]
        self._file(bundle.CONSISTENCY, b"".join(lines))
        return set(sizes)

    def _tags(self, last: LedgerEntry, seal: bundle.Export) -> None:
        payload = "".join(f"{digest}  {path}\n" for path, digest in sorted(self._manifest.items())).encode()
        tags = {
            "bagit.txt": bundle.BAGIT, "manifest-sha256.txt": payload, "verify.py": _verifier(), "VERIFY.md": guide(),
            "bag-info.txt": bundle.bag_info(last, seal, self._payload(), len(self._manifest)),
        }  # fmt: skip
        for name, data in tags.items():
            (self._place / name).write_bytes(data)
        listed = "".join(f"{hashlib.sha256(tags[name]).hexdigest()}  {name}\n" for name in sorted(tags))
        (self._place / "tagmanifest-sha256.txt").write_text(listed, encoding="ascii")

    def _payload(self) -> int:
        """Bytes of all files under data/."""
        return sum(self._octets[path] for path in self._manifest)

    def _file(self, path: str, data: bytes, *, again: bool = False) -> None:
        if again and path in self._manifest:
            return
        self._stream(path, iter((data,)))

    def _stream(self, path: str, pieces: Iterator[bytes]) -> None:
        if not bundle.is_safe(path) or path in self._manifest:
            raise EvidenceError(
                f"{path!r} is no path for a bundle, or stands there twice.", now="nothing was exported.",
                next_step="this is a defect of quell: please report it.",
            )  # fmt: skip
        file, digest, octets = self._place / path, hashlib.sha256(), 0
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as handle:
            for piece in pieces:
                handle.write(piece)
                digest.update(piece)
                octets += len(piece)
        self._manifest[path] = digest.hexdigest()
        self._octets[path] = octets


class _Counted:
    """Records of one collection, handed out file by file."""

    def __init__(self, records: Iterator[bytes]) -> None:
        self._records, self.count = records, 0
        self._next = next(records, None)

    @property
    def ended(self) -> bool:
        return self._next is None

    def up_to(self, octets: int) -> Iterator[bytes]:
        """Records until so many bytes are reached or passed."""
        while self._next is not None and octets > 0:
            record, octets = self._next, octets - len(self._next)
            yield record
            self.count += 1
            self._next = next(self._records, None)


def _lines(entries: list[LedgerEntry]) -> bytes:
    return b"".join(entry.core() + b"\n" for entry in entries)


def _verifier() -> bytes:
    return Path(verifier.__file__).read_bytes()
