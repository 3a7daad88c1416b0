"""What an exported bundle holds and where, and what a reader must never believe about file names and sizes.

    bagit.txt bag-info.txt manifest-sha256.txt tagmanifest-sha256.txt   BagIt 1.0 (RFC 8493)
    verify.py VERIFY.md                      convenience copies; an auditor fetches their own
    data/checkpoint  data/checkpoint.body    signed head of the log, and the part of it that is signed
    data/anchors/SIZE.note .body .tsq .tsr   earlier heads as kept elsewhere, their time-stamps; consistency.jsonl
    data/ledger/entries.jsonl proofs.jsonl   all entries of this incident, exact canonical bytes, and their paths
    data/ledger/installation.jsonl …proofs   keys, activations and anchors of the installation that it rests on
    data/objects/NAME-DIGEST                 what entries refer to: plan, requests, receipts, configuration, runbook …
    data/evidence/ID/collection.json leaves.bin items-NNN.bin
    data/decisions/INDEX/…                   what a person signed, its signature, and whose keys were allowed
    data/report/report.html                  the same for a person to read

The last entry is `bundle_exported`; its subjects are the report, both convenience copies, the folder of decisions and
(since the third kept bundle) installation.jsonl, so that no anchor can be taken out together with its entry. The
checkpoint's size is its index plus one, so nothing can be cut off behind it.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from runbooks.domain.approval import DECISION_NAMESPACE
from runbooks.domain.configuration import ProofKind
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.ledger import EntryType, LedgerEntry, leaf_hash
from runbooks.domain.signed import (
    BREAK_GLASS_NAMESPACE,
    POLICY_NAMESPACE,
    RECLASSIFICATION_NAMESPACE,
    REPORT_NAMESPACE,
    WAIVER_NAMESPACE,
)
from runbooks.domain.value import Digest, Json, Value, canonical, digest_of

BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
TAG_FILES = ("VERIFY.md", "bag-info.txt", "bagit.txt", "manifest-sha256.txt", "verify.py")
CHECKPOINT, CHECKPOINT_BODY = "data/checkpoint", "data/checkpoint.body"
ENTRIES, PROOFS = "data/ledger/entries.jsonl", "data/ledger/proofs.jsonl"
HOUSE_ENTRIES, HOUSE_PROOFS = "data/ledger/installation.jsonl", "data/ledger/installation-proofs.jsonl"
CONSISTENCY = "data/anchors/consistency.jsonl"
REPORT = "data/report/report.html"

MOST_FILES = 100_000
MOST_LINES = 1 << 20
"""Of a file that is read line by line; the largest text has lines of 64 bytes then."""
LARGEST_TEXT = 64 << 20
"""Bytes of a file that is read whole: manifests, ledger lines, objects, leaves."""
LARGEST_LINE = 65_535
ITEM_HEAD = 28
"""Bytes before an item: index (8), salt (16), length (4), big-endian."""

COLLECTIONS = ("collection", "before")
"""Subjects that are collections."""

NOT_KEPT = frozenset({"action", "grant", "token"})
"""Subjects that are digests of parts of something else, not objects of the vault."""

OBJECT_CLASS: dict[str, EvidenceClass] = {
    "report": EvidenceClass.J, "affected": EvidenceClass.G, "trials": EvidenceClass.A, "review": EvidenceClass.J,
    "deliveries": EvidenceClass.J,
}  # fmt: skip
"""Objects that tell content, with the evidence class by which they are disclosed or withheld."""

SIGNED: dict[EntryType, tuple[str, str]] = {
    EntryType.DECISION_RECORDED: ("statement", DECISION_NAMESPACE),
    EntryType.EVIDENCE_WAIVED: ("waiver", WAIVER_NAMESPACE),
    EntryType.BREAK_GLASS_OPENED: ("glass", BREAK_GLASS_NAMESPACE),
    EntryType.INCIDENT_RECLASSIFIED: ("signed", RECLASSIFICATION_NAMESPACE),
    EntryType.LEAD_CHANGED: ("signed", RECLASSIFICATION_NAMESPACE),
    EntryType.CAUSE_ESTABLISHED: ("signed", RECLASSIFICATION_NAMESPACE),
    EntryType.SIGNAL_RECEIVED: ("signed", REPORT_NAMESPACE),
    EntryType.CONFIGURATION_ACTIVATED: ("signed", POLICY_NAMESPACE),
}
"""Entries that hold what a person signed (in the body, or as the object of that name), and the SSHSIG namespace."""

_ALWAYS_SIGNED = frozenset(SIGNED) - {
    EntryType.DECISION_RECORDED, EntryType.SIGNAL_RECEIVED, EntryType.CONFIGURATION_ACTIVATED,
}  # fmt: skip

HOUSE_TYPES = frozenset({
    EntryType.INSTALLATION_CREATED, EntryType.CONFIGURATION_ACTIVATED, EntryType.KEY_ADDED, EntryType.SIGNAL_RECEIVED,
    EntryType.CHECKPOINT_ANCHORED, EntryType.ANCHOR_FAILED,
})  # fmt: skip
"""Entries of the whole installation that an incident may rest on."""

_REFERS_TO_NOTHING = frozenset({EntryType.BUNDLE_EXPORTED, EntryType.DECISION_REFUSED, EntryType.EFFECT_REFUSED})

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9][A-Za-z0-9._-]{0,199}){0,5}")
_DEVICES = frozenset({"con", "prn", "aux", "nul"})


@lru_cache(maxsize=8192)
def is_safe(path: str) -> bool:
    """Whether a path from a bundle may be used: relative, plain letters, climbing nowhere."""
    return _SAFE.fullmatch(path) is not None and not _DEVICES & set(path.lower().split("/"))


class Export(Value):
    """What the last entry of a bundle says of it: the seal."""

    count: Annotated[int, Field(ge=1)]
    """Entries of the incident in the bundle, this one included."""
    disclosed: tuple[EvidenceClass, ...]
    items: Annotated[int, Field(ge=0)]
    withheld: dict[EvidenceClass, int]
    """Items that were not handed over, by class."""
    withheld_objects: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()
    """Collections whose content cannot be read any more: erased, or damaged."""


class Proved(Value):
    """One entry of a bundle: its exact bytes, its place in the log, the path that proves it."""

    index: Annotated[int, Field(ge=0)]
    core: bytes
    path: tuple[str, ...]

    @property
    def leaf(self) -> Digest:
        """RFC 6962 leaf hash."""
        return leaf_hash(self.core)


def proof_line(index: int, path: Iterable[bytes]) -> bytes:
    """One line of a proofs file."""
    return canonical({"index": index, "path": [step.hex() for step in path]}) + b"\n"


def withheld_words(export: Export) -> list[str]:
    """What a reader does not get, in words; nothing when all is there."""
    words = [
        f"class {kind} ({kind.holds}): {count} items withheld"
        for kind, count in sorted(export.withheld.items())
        if count
    ]
    words += [f"object withheld: {name}" for name in export.withheld_objects]
    return words + [f"content of {name} cannot be read any more (erased or damaged)" for name in export.erased]


def bag_info(entry: LedgerEntry, export: Export, octets: int, files: int) -> bytes:
    """bag-info.txt, made from the seal alone, so that a reader can make it again and compare."""
    lines = [
        f"Bagging-Date: {entry.at[:10]}",
        f"External-Identifier: {entry.incident}",
        f"Payload-Oxum: {octets}.{files}",
        "External-Description: evidence bundle of an AI incident, exported by quell; begin with VERIFY.md",
        f"Sealing-Entry: {entry.index}",
        *(f"Withheld: {words}" for words in withheld_words(export)),
    ]
    return ("\n".join(lines) + "\n").encode()


def item_head(index: int, salt: bytes, length: int) -> bytes:
    """What stands before an item in items-NNN.bin."""
    return index.to_bytes(8, "big") + salt + length.to_bytes(4, "big")


def objects_of(entry: LedgerEntry) -> Iterator[tuple[str, Digest]]:
    """Name and digest of every object of the vault that this entry refers to; what was refused was never kept."""
    if entry.type not in _REFERS_TO_NOTHING:
        for name, digest in sorted(entry.subject.items()):
            if name not in NOT_KEPT:
                yield name, digest


def object_path(name: str, digest: Digest) -> str:
    """Where an object stands in a bundle."""
    return f"data/objects/{name}-{digest.removeprefix('sha256:')}"


def listing_digest(files: Mapping[str, str], folder: str) -> Digest:
    """Digest over names and SHA-256 (hexadecimal) of all files of a folder, so that the seal covers them."""
    return digest_of(canonical({name: digest for name, digest in files.items() if name.startswith(folder)}))


def active_before(entries: Iterable[LedgerEntry], entry: LedgerEntry) -> Digest | None:
    """The configuration that was active before this entry; None when these entries do not tell.

    What was signed under it is checked against it. The first activation that a bundle tells of rests on nothing in it.
    """
    known = [e for e in entries if e.type is EntryType.CONFIGURATION_ACTIVATED and e.index < entry.index]
    return max(known, key=lambda e: e.index).subject["configuration"] if known else None


def must_be_signed(entry: LedgerEntry, owners: Collection[str]) -> bool:
    """Whether this entry is worth nothing without a person's signature.

    A decision may be proven by a one-time code instead, a report may be anybody's, and an activation needs a signature
    where the policy that was active before it named owners: these.
    """
    if entry.type is EntryType.DECISION_RECORDED:
        proof = entry.body.get("proof")
        return not isinstance(proof, dict) or proof.get("kind") != ProofKind.CODE
    return entry.type in _ALWAYS_SIGNED or (entry.type is EntryType.CONFIGURATION_ACTIVATED and bool(owners))


def signed_part(
    entry: LedgerEntry, read: Callable[[str, Digest], bytes | None]
) -> tuple[dict[str, Json], dict[str, Json], str] | None:
    """What a person signed in this entry, the proof, and the namespace; None when nobody signed, or it is not there.

    `read` gives an object by name and digest.
    """
    name, namespace = SIGNED.get(entry.type, ("", ""))
    said, proof = entry.body.get(name), entry.body.get("proof")
    if said is None and name in entry.subject:
        data = read(name, entry.subject[name])
        said = json.loads(data) if data is not None else None
    if not name or not isinstance(said, dict) or not isinstance(proof, dict) or not proof.get("signature"):
        return None
    return said, proof, namespace
