"""Anchors of a bundle against its checkpoint, and against the copies that an auditor holds."""

import json
import re
from pathlib import Path

from runbooks.domain import bundle
from runbooks.domain.audit import Finding, caveat, fault
from runbooks.domain.checkpoint import Checkpoint, FormatError, VerifierKey
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.merkle import is_consistent
from runbooks.domain.value import canonical
from tasks.bag import UNREADABLE, Bag, read
from tasks.checkpoints import open_note
from tasks.stamp_check import check_stamps

_FOLDER = "data/anchors/"
_NAME = re.compile(r"data/anchors/([1-9][0-9]{0,18})\.(note|body|tsq|tsr)")
_PARTS = {"checkpoint": "note", "tsq": "tsq", "tsr": "tsr"}
"""How a file of an anchor ends, by the name that its entry gives to its digest."""
_REWRITTEN = "the log was rewritten after this head was put out of the operator's reach."
MOST_COPIES = 1_000_000


def check_anchors(
    bag: Bag, head: Checkpoint, keys: list[VerifierKey], findings: list[Finding], checked: dict[str, int], *,
    authority: Path | None, copies: Path | None, entries: list[LedgerEntry], house: list[LedgerEntry],
) -> None:  # fmt: skip
    """Every earlier head leads to this one; every time-stamp is over its head; the auditor's copies say the same.

    An anchor of an earlier head is on record in `house`, and one that is on record is here; the newest cannot be yet.
    """
    names = [name for name in bag.names() if name.startswith(_FOLDER) and name != bundle.CONSISTENCY]
    opened = entries[0].index if entries else 0
    there, recorded = set(names), {digest for entry in house for digest in entry.subject.values()}
    paths = _paths(bag, findings)
    heads: dict[int, Checkpoint] = {}
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None:
            findings.append(fault(name, "is no file of an anchor.", "it was added or renamed."))
        elif found[2] == "note":
            _note(bag, name, int(found[1]), keys, heads, findings)
    for size, anchor in sorted(heads.items()):
        _joined(anchor, head, paths.get(size), f"{_FOLDER}{size}.note", findings)
    findings += [
        fault(bundle.CONSISTENCY, f"joins a head of size {size} that is not here.", "an anchor was taken out.")
        for size in sorted(set(paths) - set(heads))
    ]
    findings += [
        fault(name, "is not the one that the log holds.", "this anchor was exchanged after the export.")
        for name in names
        if (part := _NAME.fullmatch(name))
        and part[2] != "body"
        and int(part[1]) < head.size
        and "sha256:" + bag.sha256(name) not in recorded
    ]
    findings += [
        fault(name, f"is not here; entry {entry.index} says that it was anchored.", "an anchor was taken out.")
        for entry in house
        if entry.type is EntryType.CHECKPOINT_ANCHORED
        for part in entry.subject
        if (name := f"{_FOLDER}{entry.body.get('size')}.{_PARTS.get(part)}") not in there
    ]
    stamps = [name for name in names if name.endswith(".tsr")]
    vouched = check_stamps(bag, stamps, heads, entries, authority, findings)
    findings += [
        fault(name, "stands without its note or response.", "a part of an anchor was taken out.")
        for name in names
        if (part := _NAME.fullmatch(name)) and (int(part[1]) not in heads or not _whole(name, names))
    ]
    covered = max(heads, default=0)
    checked["anchors"], checked["time_stamps"] = len(heads), len(stamps)
    if copies is not None:
        vouched = max(vouched, _copies(copies, head, keys, paths, opened, findings, checked))
    if covered < head.size:
        findings.append(
            caveat(_FOLDER, f"entries {max(covered, opened)} to {head.size - 1} are covered by no anchor.",
                   "whoever holds the log's key could have written them anew until this bundle was handed over.")
        )  # fmt: skip
    elif vouched < head.size:
        findings.append(
            caveat(_FOLDER, f"entries {max(vouched, opened)} to {head.size - 1}: the heads over them came with this "
                   "bundle, without a time-stamp.",
                   "whoever holds the log's key can make such heads: give --anchor, your own copy of those kept elsewhere.")
        )  # fmt: skip


def _whole(name: str, names: list[str]) -> bool:
    stem, _, kind = name.rpartition(".")
    needed = {"note": (".body",), "body": (".note",), "tsq": (".tsr",), "tsr": (".tsq",)}[kind]
    return all(stem + other in names for other in needed)


def _paths(bag: Bag, findings: list[Finding]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    try:
        for line in read(bag, bundle.CONSISTENCY).splitlines(keepends=True):
            proof = json.loads(line)
            found[int(proof["size"])] = [bytes.fromhex(step) for step in proof["path"]]
            if canonical(proof) + b"\n" != line or line != line.lower():
                raise FormatError("a line is not written in the one form that it has")
    except UNREADABLE:
        findings.append(fault(bundle.CONSISTENCY, "cannot be read.", "earlier heads cannot be joined to this one."))
    return found


def _note(
    bag: Bag, name: str, size: int, keys: list[VerifierKey], heads: dict[int, Checkpoint], findings: list[Finding]
) -> None:
    try:
        anchor, _ = open_note(read(bag, name, 65_536), keys)
        if anchor.size != size or read(bag, name.replace(".note", ".body"), 65_536) != anchor.body():
            raise FormatError("name, note and body disagree")
        heads[size] = anchor
    except (KeyError, ValueError) as error:
        said = str(error) if isinstance(error, FormatError) else "it cannot be read"
        findings.append(fault(name, f"{said}.", "this anchor was changed or is of another log."))


def _joined(
    anchor: Checkpoint, head: Checkpoint, path: list[bytes] | None, where: str, findings: list[Finding]
) -> None:
    old, new = (bytes.fromhex(one.root.removeprefix("sha256:")) for one in (anchor, head))
    if anchor.origin != head.origin or path is None or not is_consistent(anchor.size, old, head.size, new, path):
        findings.append(fault(where, f"the head of size {anchor.size} does not lead to this one.", _REWRITTEN))


def _copies(
    place: Path, head: Checkpoint, keys: list[VerifierKey], paths: dict[int, list[bytes]], opened: int,
    findings: list[Finding], checked: dict[str, int],
) -> int:  # fmt: skip
    """The auditor's own copies of anchored heads: each since the opening must lead to the head of this bundle.

    Returns the size of the largest one that agrees.
    """
    folder = place / head.origin if (place / head.origin).is_dir() else place
    files = sorted(folder.glob("*.note"))[:MOST_COPIES]
    agreed = later = largest = 0
    for file in files:
        try:
            copy, _ = open_note(file.read_bytes()[: 1 << 17], keys)
        except (OSError, FormatError):
            findings.append(
                fault(str(file), "is not a head signed by this log.", "the copy was changed, or is another log's.")
            )
            continue
        if copy.size > head.size:
            later += 1
        elif copy.size > opened:
            before = len(findings)
            _joined(copy, head, [] if copy.size == head.size else paths.get(copy.size), str(file), findings)
            if len(findings) == before:
                agreed, largest = agreed + 1, max(largest, copy.size)
    checked["copies_that_agree"] = agreed
    if not files:
        findings.append(fault(str(place), f"holds no head of {head.origin}.", "nothing was compared with your copies."))
    if later:
        findings.append(
            caveat(str(folder), f"{later} copies are newer than this bundle.", "they were not compared with it.")
        )
    return largest
