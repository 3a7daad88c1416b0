"""Verifying a bundle offline: is it the log's, is it whole, is it unchanged. Whether it was decided rightly: replay.

Checks, in order; each adds its findings and the next goes on with what can be read:
1. fixity       every file listed with its digest, no other file (`tasks/bag.py`)
2. checkpoint   signed by the key that the caller trusts, or by one that it leads to through recorded rotations
3. entries      each in the signed log at its index; this incident's without a gap; the last one seals exactly this
4. objects      each has the digest in its name and an entry refers to it; nothing that should be there is missing
5. evidence     collections as sealed, leaves give the root, disclosed items are leaves, withheld ones are counted
6. decisions    what people signed is what the log holds, by a key that the configuration of that moment lists
7. anchors      those on record are here; earlier heads lead to this one; time-stamps are over them and fit the entries'
                own times (`tasks/stamp_check.py`); the auditor's own copies agree
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from runbooks.domain import bundle
from runbooks.domain.audit import Audit, Finding, caveat, fault, few
from runbooks.domain.checkpoint import Checkpoint, FormatError, SignedNote, VerifierKey
from runbooks.domain.ledger import EntryType, LedgerEntry, leaf_hash
from runbooks.domain.merkle import root_by
from tasks.anchor_check import check_anchors
from tasks.bag import UNREADABLE, Bag, check_bag, read, stumbling
from tasks.bundle_content import check_decisions, check_evidence, check_objects
from tasks.checkpoints import open_note
from tasks.keys import follow_rotations

_CHANGED = "it was changed, or it is of another log."


class Reading:
    """What is known of a bundle while it is verified; the replay goes on from here."""

    def __init__(self, bag: Bag) -> None:
        self.bag = bag
        self.findings: list[Finding] = []
        self.checked: dict[str, int] = {}
        self.head: Checkpoint | None = None
        self.keys: list[VerifierKey] = []
        """Trusted: the caller's, and those that it was rotated to."""
        self.known: list[VerifierKey] = []
        """These, and every key that the signed log names: earlier heads may be signed by one before the trusted."""
        self.entries: list[LedgerEntry] = []
        self.house: list[LedgerEntry] = []
        self.seal: bundle.Export | None = None

    def audit(self) -> Audit:
        """The findings so far."""
        return Audit(findings=tuple(self.findings), checked=self.checked)


def verify_bundle(
    bag: Bag, trusted: VerifierKey | None, *, authority: Path | None = None, anchors: Path | None = None
) -> Reading:
    """Everything that is wrong with the bundle. Without a trusted key it is judged by its own, and that is a fault."""
    reading = Reading(bag)
    found, files = check_bag(bag)
    reading.findings += found
    reading.checked["files"] = files
    with stumbling(reading.findings, bundle.CHECKPOINT):
        _open(reading, trusted)
    if reading.head is not None:
        with stumbling(reading.findings, bundle.ENTRIES):
            _chain(reading)
        with stumbling(reading.findings, "data/objects/"):
            check_objects(reading.bag, reading.entries, reading.house, reading.seal, reading.findings, reading.checked)
        with stumbling(reading.findings, "data/evidence/"):
            check_evidence(reading.bag, reading.entries, reading.seal, reading.findings, reading.checked)
        with stumbling(reading.findings, "data/decisions/"):
            check_decisions(reading.bag, reading.entries + reading.house, reading.findings, reading.checked)
        with stumbling(reading.findings, "data/anchors/"):
            check_anchors(
                reading.bag, reading.head, reading.known, reading.findings, reading.checked, authority=authority,
                copies=anchors, entries=reading.entries, house=reading.house,
            )  # fmt: skip
    return reading


def _open(reading: Reading, trusted: VerifierKey | None) -> None:
    """Checkpoint, then the entries that it covers; keys that rotated in between are followed."""
    try:
        note = SignedNote.read(read(reading.bag, bundle.CHECKPOINT, 65_536))
        head = Checkpoint.read(note.text.encode())
    except (KeyError, ValueError) as error:
        reading.findings.append(
            fault(bundle.CHECKPOINT, f"is no checkpoint ({_said(error)}).", "nothing below it can be believed.")
        )
        return
    reading.house = _read_entries(reading, head, bundle.HOUSE_ENTRIES, bundle.HOUSE_PROOFS)
    reading.entries = _read_entries(reading, head, bundle.ENTRIES, bundle.PROOFS)
    named = [VerifierKey.read(str(e.body["vkey"])) for e in reading.house if e.type is EntryType.KEY_ADDED]
    if trusted is None:
        reading.findings.append(
            fault(bundle.CHECKPOINT, "no log key was given to check it with.",
                  "the bundle may agree with itself and still be anybody's: give --key, from another channel.")
        )  # fmt: skip
    reading.keys = follow_rotations(trusted, reading.house) if trusted else named
    reading.known = [*reading.keys, *(key for key in named if key not in reading.keys)]
    try:
        reading.head, key = open_note(note.encoded(), reading.keys)
        if trusted is not None and key != trusted:
            reading.findings.append(
                caveat(bundle.CHECKPOINT, f"is signed by {key.key_id}, to which {trusted.key_id} was rotated.",
                       "both keys signed the change, and it is in the log.")
            )  # fmt: skip
    except FormatError as error:
        reading.findings.append(
            fault(
                bundle.CHECKPOINT, f"{error}.", "it is of another log, or it was forged. Nothing in it can be believed."
            )
        )
    try:
        if read(reading.bag, bundle.CHECKPOINT_BODY, 65_536) != note.text.encode():
            reading.findings.append(fault(bundle.CHECKPOINT_BODY, "is not the signed text.", _CHANGED))
    except (KeyError, ValueError) as error:
        reading.findings.append(fault(bundle.CHECKPOINT_BODY, f"cannot be read ({_said(error)}).", _CHANGED))


def _read_entries(reading: Reading, head: Checkpoint, lines: str, proofs: str) -> list[LedgerEntry]:
    """Every entry of a file that is in the signed log at the index that its proof names."""
    try:
        cores, paths = _lines(reading.bag, lines), _lines(reading.bag, proofs)
    except (KeyError, ValueError) as error:
        reading.findings.append(fault(lines, f"cannot be read ({_said(error)}).", "the record is missing."))
        return []
    if cores.pop() or paths.pop() or len(cores) != len(paths):
        reading.findings.append(
            fault(
                lines, f"{len(cores)} entries and {len(paths)} proofs, or a line that is cut.", "it was cut or changed."
            )
        )
    found: list[LedgerEntry] = []
    reading.findings += few(_wrong_entries(zip(cores, paths, strict=False), lines, head, found))
    reading.checked["entries"] = reading.checked.get("entries", 0) + len(found)
    return found


def _lines(bag: Bag, name: str) -> list[bytes]:
    data = read(bag, name)
    if data.count(b"\n") > bundle.MOST_LINES:
        raise FormatError(f"it has more than {bundle.MOST_LINES} lines")
    return data.split(b"\n")


def _wrong_entries(
    pairs: Iterable[tuple[bytes, bytes]], lines: str, head: Checkpoint, found: list[LedgerEntry]
) -> Iterator[Finding]:
    """What is in the log goes into `found`."""
    for number, (core, path) in enumerate(pairs, start=1):
        try:
            entry = _entry(core, path, head)
            if found and entry.index <= found[-1].index:
                raise FormatError("it stands behind a later one: entries were moved or doubled")
            found.append(entry)
        except UNREADABLE as error:
            yield fault(f"{lines}, line {number}", f"{_said(error)}.", _CHANGED)


def _entry(core: bytes, path: bytes, head: Checkpoint) -> LedgerEntry:
    if len(core) > bundle.LARGEST_LINE or len(path) > bundle.LARGEST_LINE:
        raise FormatError(f"a line of more than {bundle.LARGEST_LINE} bytes")
    proof = json.loads(path)
    steps = [bytes.fromhex(step) for step in proof["path"]]
    if bundle.proof_line(proof["index"], steps) != path + b"\n":
        raise FormatError("its proof is not written in the one form that proofs have")
    leaf = leaf_hash(core)
    root = root_by(bytes.fromhex(leaf.removeprefix("sha256:")), proof["index"], head.size, steps)
    if root is None or "sha256:" + root.hex() != head.root:
        raise FormatError(
            f"entry {proof['index']} is not in the signed log: the entry, its proof or the head was changed"
        )
    return LedgerEntry(**json.loads(core), index=proof["index"], key="", leaf=leaf)


def _chain(reading: Reading) -> None:
    """This incident's entries without a gap, and a last one that seals exactly this bundle at exactly this head."""
    findings, head = reading.findings, reading.head
    previous: LedgerEntry | None = None
    for position, entry in enumerate(reading.entries):
        if entry.incident_seq != position or entry.incident_prev != (previous.leaf if previous else None):
            findings.append(
                fault(bundle.ENTRIES, f"entry {entry.index}: expected number {position} of its incident, found "
                      f"{entry.incident_seq}.", "an entry before it was taken out or moved.")
            )  # fmt: skip
            break
        previous = entry
    activated = [entry for entry in reading.house if entry.type is EntryType.CONFIGURATION_ACTIVATED]
    findings += [
        fault(bundle.HOUSE_ENTRIES, f"entry {later.index} made another configuration active than after entry "
              f"{earlier.index}.", "an activation between the two was left out.")
        for earlier, later in itertools.pairwise(activated)
        if later.body.get("previous", earlier.leaf) not in {one.leaf for one in activated if one.index < later.index}
    ]  # fmt: skip
    if len({entry.incident for entry in reading.entries}) > 1:
        findings.append(fault(bundle.ENTRIES, "holds entries of two incidents.", "it was put together by hand."))
    last = reading.entries[-1] if reading.entries else None
    if last is None or last.type is not EntryType.BUNDLE_EXPORTED or head is None or last.index != head.size - 1:
        findings.append(
            fault(bundle.ENTRIES, "does not end with the entry that sealed this export.", "the end was cut off.")
        )
        return
    try:
        reading.seal = bundle.Export.model_validate(last.body["export"])
    except UNREADABLE:
        findings.append(fault(bundle.ENTRIES, f"entry {last.index}: the seal cannot be read.", "it is not quell's."))
        return
    if reading.seal.count != len(reading.entries):
        findings.append(
            fault(
                bundle.ENTRIES,
                f"{len(reading.entries)} entries, the seal says {reading.seal.count}.",
                "some are missing.",
            )
        )
    _sealed_files(reading, last, reading.seal)


def _sealed_files(reading: Reading, last: LedgerEntry, seal: bundle.Export) -> None:
    sealed = {bundle.REPORT: "report", "verify.py": "verifier", "VERIFY.md": "guide"}
    if "installation" in last.subject:  # bundles before 3 did not say it
        sealed[bundle.HOUSE_ENTRIES] = "installation"
    for name, subject in sealed.items():
        if name not in reading.bag.names() or "sha256:" + reading.bag.sha256(name) != last.subject.get(subject):
            reading.findings.append(
                fault(name, "is not the one that the last entry names.", "it was changed after the export.")
            )
    try:
        names = [name for name in reading.bag.names() if name.startswith("data/")]
        wanted = bundle.bag_info(last, seal, sum(map(reading.bag.size, names)), len(names))
        if read(reading.bag, "bag-info.txt", 1 << 20) != wanted:
            reading.findings.append(
                fault("bag-info.txt", "says something else than the seal.", "it was changed after the export.")
            )
    except (KeyError, ValueError):
        reading.findings.append(fault("bag-info.txt", "cannot be read.", "it was taken out or changed."))
    reading.findings += [
        caveat("bag-info.txt", f"{words}.", "leaf or digest is in the log: it can be disclosed later and proven then.")
        for words in bundle.withheld_words(seal)
    ]


def _said(error: Exception) -> str:
    """Why, in one line of quell's own words: nothing of a hostile file is repeated."""
    if isinstance(error, FormatError):
        return str(error)
    if isinstance(error, KeyError):
        return "it is not there"
    return "it is not of the form that it should have"
