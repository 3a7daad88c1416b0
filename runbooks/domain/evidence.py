"""Evidence: classes, collections, the manifest that names every gap.

A collection is what one source handed over at one time. Its items are salted leaves of a Merkle tree, packed,
encrypted and stored by the vault; a `Collection` holds only digests of salted or encrypted bytes, so that a manifest
may leave the house without telling content.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runbooks.domain.incident import IncidentId
from runbooks.domain.instants import Instant
from runbooks.domain.value import Digest, Value


class EvidenceClass(StrEnum):
    """What kinds of evidence an AI incident has (requirements §5.7: A to F of the AI IR Overlay, G to J added)."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    I = "I"  # noqa: E741 - the letter is the class's published name
    J = "J"

    @property
    def holds(self) -> str:
        """What this class of evidence is, in words."""
        return _TITLES[self.value]

    @property
    def named(self) -> str:
        """The same in few words, with its letter."""
        return f"{self.holds.partition(',')[0].partition(':')[0]} ({self.value})"


_TITLES = {
    "A": "prompts and responses",
    "B": "tool calls, refused ones included",
    "C": "retrieved documents",
    "D": "memory",
    "E": "configuration: prompt, flags, permissions",
    "F": "identity and access",
    "G": "effects and affected records",
    "H": "human decisions",
    "I": "communications",
    "J": "reports and screens",
}


class Captured(StrEnum):
    """How much of a class is sealed."""

    CAPTURED = "captured"
    PARTIAL = "partial"
    UNAVAILABLE = "unavailable"


class Pack(Value):
    """One encrypted file of the vault, named by the digest of its bytes."""

    name: Digest
    length: Annotated[int, Field(ge=0)]


class Collection(Value):
    """What one source handed over: counts, the Merkle root of the salted items, the packs, what the source admits."""

    id: str
    incident: IncidentId
    evidence_class: EvidenceClass
    source: str
    media_type: str
    items: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]
    item_root: Digest
    leaves: Digest
    packs: tuple[Pack, ...]
    started_at: Instant
    finished_at: Instant
    dropped: int | None = None
    """Items that the source says it lost; None when it does not say."""
    unreadable: Annotated[int | None, Field(exclude_if=lambda count: count is None)] = None
    """Items among these that could not be understood when they were collected; sealed all the same. None: not counted,
    and then it is not written, so that a collection of before has its digest in a manifest of today."""
    source_clock: str | None = None
    clock_offset_ms: int | None = None
    """Source clock minus quell's clock at collection, milliseconds; None when the source shows no clock."""
    schema_url: str | None = None


class ClassStanding(Value):
    """One required class: how much is sealed, by which collections, and why not all."""

    evidence_class: EvidenceClass
    captured: Captured
    reason: str
    collections: tuple[str, ...] = ()


class Manifest(Value):
    """The seal: every required class, every collection, taken at one moment."""

    incident: IncidentId
    drill: bool
    sealed_at: Instant
    required: tuple[EvidenceClass, ...]
    standings: tuple[ClassStanding, ...]
    collections: tuple[Collection, ...]
    superseded: Digest | None = None
    """Digest of an earlier manifest of this incident, when more evidence was sealed later."""

    @property
    def gaps(self) -> tuple[ClassStanding, ...]:
        """The required classes of which something is missing."""
        return tuple(standing for standing in self.standings if standing.captured is not Captured.CAPTURED)

    @property
    def in_one_line(self) -> str:
        """The required classes: what is sealed, then the gaps. The reasons stand in the manifest itself."""
        whole = [str(one.evidence_class.named) for one in self.standings if one.captured is Captured.CAPTURED]
        gaps = [
            f"{one.evidence_class.named}{' in part' if one.captured is Captured.PARTIAL else ''}" for one in self.gaps
        ]
        return f"sealed: {', '.join(whole) or 'nothing'}; gaps: {', '.join(gaps) or 'none'}"

    @property
    def items(self) -> int:
        """Items in all collections."""
        return sum(collection.items for collection in self.collections)

    @property
    def bytes(self) -> int:
        """Bytes in all collections, as received."""
        return sum(collection.bytes for collection in self.collections)


def standings_of(
    required: tuple[EvidenceClass, ...],
    collections: tuple[Collection, ...],
    failures: dict[EvidenceClass, tuple[str, ...]],
    absent: dict[EvidenceClass, str],
) -> tuple[ClassStanding, ...]:
    """State every required class: what is sealed, and for the rest the reason.

    `failures` are reasons of sources that could not deliver; `absent` is what the inventory says does not exist.
    A class with no source at all is a gap too: "no source is configured". A source that had nothing to hand over is no
    gap, since that is what it says; it is named, because "captured" must not read as if there were something.
    """
    standings = []
    for evidence_class in required:
        mine = tuple(c for c in collections if c.evidence_class is evidence_class)
        ids = tuple(collection.id for collection in mine)
        reasons = list(failures.get(evidence_class, ()))
        reasons += [f"{c.source} says it dropped {c.dropped} items" for c in mine if c.dropped]
        reasons += [
            f"{c.unreadable} of the items of {c.source} could not be understood; they are sealed as they came"
            for c in mine
            if c.unreadable
        ]
        if evidence_class in absent:
            reasons.append(f"the inventory says: {absent[evidence_class]}")
        if mine and not reasons:
            captured, reason = Captured.CAPTURED, f"{sum(c.items for c in mine)} items"
            reason += "".join(f"; {c.source} answered and had none" for c in mine if not c.items)
        elif mine:
            captured, reason = Captured.PARTIAL, "; ".join(reasons)
        else:
            captured = Captured.UNAVAILABLE
            reason = "; ".join(reasons) or "no source is configured for it"
        standings.append(
            ClassStanding(evidence_class=evidence_class, captured=captured, reason=reason, collections=ids)
        )
    return tuple(standings)
