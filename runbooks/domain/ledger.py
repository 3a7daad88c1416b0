"""The record: entries that hold digests, one chain per incident, one RFC 6962 tree over all.

Bytes, index and leaf hash are stored exactly as computed here, from the first entry on.
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from runbooks.domain.incident import IncidentId
from runbooks.domain.instants import Instant
from runbooks.domain.value import Digest, Json, Value, canonical


class ActorKind(StrEnum):
    """Who can act."""

    PERSON = "person"
    FLOW = "flow"
    CONNECTOR = "connector"
    KEEPER = "keeper"
    DOOR = "door"
    INSTALLATION = "installation"


class Actor(Value):
    """Who did it; a person only when proven, else the door through which somebody came."""

    kind: ActorKind
    name: str


class EntryType(StrEnum):
    """What can happen. Past tense; a closed list, so that an unknown type is a finding and not a shrug."""

    INSTALLATION_CREATED = "installation_created"
    CONFIGURATION_ACTIVATED = "configuration_activated"
    ACTIVATION_REFUSED = "activation_refused"
    KEY_ADDED = "key_added"
    INCIDENT_OPENED = "incident_opened"
    INCIDENT_RECLASSIFIED = "incident_reclassified"
    SEVERITY_CHANGED = "severity_changed"
    LEAD_CHANGED = "lead_changed"
    CAUSE_ESTABLISHED = "cause_established"
    RUN_STARTED = "run_started"
    RUN_SUSPENDED = "run_suspended"
    RUN_WOKEN = "run_woken"
    RUN_ENDED = "run_ended"
    RUN_SUPERSEDED = "run_superseded"
    RUN_INTERFERED = "run_interfered"
    RUN_REFUSED = "run_refused"
    RESPONSE_RESTARTED = "response_restarted"
    COLLECTION_SEALED = "collection_sealed"
    EVIDENCE_SEALED = "evidence_sealed"
    EVIDENCE_WAIVED = "evidence_waived"
    LOCKS_EXTENDED = "locks_extended"
    LOCKS_FAILED = "locks_failed"
    AFFECTED_LISTED = "affected_listed"
    PLAN_MADE = "plan_made"
    APPROVAL_REQUESTED = "approval_requested"
    DECISION_RECORDED = "decision_recorded"
    DECISION_REFUSED = "decision_refused"
    CODE_VERIFIED = "code_verified"
    REQUEST_GRANTED = "request_granted"
    REQUEST_DENIED = "request_denied"
    REQUEST_EXPIRED = "request_expired"
    REQUEST_ESCALATED = "request_escalated"
    PEOPLE_TOLD = "people_told"
    TELLING_FAILED = "telling_failed"
    ALTERNATIVE_PROPOSED = "alternative_proposed"
    BREAK_GLASS_OPENED = "break_glass_opened"
    BREAK_GLASS_ENDED = "break_glass_ended"
    EFFECT_CLAIMED = "effect_claimed"
    BEFORE_CAPTURED = "before_captured"
    EFFECT_SENDING = "effect_sending"
    EFFECT_APPLIED = "effect_applied"
    EFFECT_FAILED = "effect_failed"
    EFFECT_UNKNOWN = "effect_unknown"
    EFFECT_REFUSED = "effect_refused"
    PROBES_JUDGED = "probes_judged"
    CONTAINMENT_JUDGED = "containment_judged"
    TRIALS_MADE = "trials_made"
    RECOVERY_JUDGED = "recovery_judged"
    EFFECT_UNDONE = "effect_undone"
    UNDO_IMPOSSIBLE = "undo_impossible"
    REVIEW_SCHEDULED = "review_scheduled"
    REVIEW_DRAFTED = "review_drafted"
    HISTORY_MIRRORED = "history_mirrored"
    PERSON_NEEDED = "person_needed"
    INCIDENT_CLOSED = "incident_closed"
    CHECKPOINT_ANCHORED = "checkpoint_anchored"
    ANCHOR_FAILED = "anchor_failed"
    BUNDLE_EXPORTED = "bundle_exported"
    SIGNAL_RECEIVED = "signal_received"
    SOURCE_QUIET = "source_quiet"
    SOURCE_HEARD = "source_heard"
    DEFECTS_FOUND = "defects_found"
    SIGNALS_QUIETED = "signals_quieted"


class Draft(Value):
    """What a writer hands to the pen. `key` makes it idempotent: the same key again returns the first entry."""

    key: str
    type: EntryType
    actor: Actor
    incident: IncidentId | None = None
    flow_run_id: str | None = None
    subject: dict[str, Digest] = {}
    body: dict[str, Json] = {}


class LedgerEntry(Value):
    """One entry as it stands. `core` is what is hashed; `index`, `leaf` and `key` stand beside it."""

    index: int
    key: str
    type: EntryType
    at: Instant
    actor: Actor
    incident: IncidentId | None
    incident_seq: int | None
    """Position among this incident's entries, from 0."""
    incident_prev: Digest | None
    """Leaf hash of this incident's previous entry."""
    flow_run_id: str | None
    subject: dict[str, Digest]
    body: dict[str, Json]
    leaf: Digest

    def core(self) -> bytes:
        """The canonical bytes that the leaf hash covers."""
        return canonical(self.model_dump(mode="json", exclude={"index", "key", "leaf"}))

    @classmethod
    def write(
        cls, draft: Draft, *, index: int, at: Instant, incident_seq: int | None, incident_prev: Digest | None
    ) -> Self:
        """The entry that this draft becomes at this place in the log."""
        return cls.with_core(draft, index=index, at=at, incident_seq=incident_seq, incident_prev=incident_prev)[0]

    @classmethod
    def with_core(
        cls, draft: Draft, *, index: int, at: Instant, incident_seq: int | None, incident_prev: Digest | None
    ) -> tuple[Self, bytes]:
        """The same, and its core: who stores it need not make the bytes a second time."""
        who = draft.actor
        core = canonical({
            "type": draft.type.value, "at": at, "actor": {"kind": who.kind.value, "name": who.name},
            "incident": draft.incident, "incident_seq": incident_seq, "incident_prev": incident_prev,
            "flow_run_id": draft.flow_run_id, "subject": draft.subject, "body": draft.body,
        })  # fmt: skip
        entry = cls(
            index=index, key=draft.key, type=draft.type, at=at, actor=who, incident=draft.incident,
            incident_seq=incident_seq, incident_prev=incident_prev, flow_run_id=draft.flow_run_id,
            subject=draft.subject, body=draft.body, leaf=leaf_hash(core),
        )  # fmt: skip
        return entry, core


def leaf_hash(data: bytes) -> Digest:
    """RFC 6962 §2.1 leaf hash: SHA-256 of 0x00 and the bytes."""
    return "sha256:" + hashlib.sha256(b"\x00" + data).hexdigest()


def node_hash(left: Digest, right: Digest) -> Digest:
    """RFC 6962 §2.1 interior node: SHA-256 of 0x01, left, right."""
    inner = b"\x01" + bytes.fromhex(left.removeprefix("sha256:")) + bytes.fromhex(right.removeprefix("sha256:"))
    return "sha256:" + hashlib.sha256(inner).hexdigest()


EMPTY_ROOT: Digest = "sha256:" + hashlib.sha256(b"").hexdigest()
"""RFC 6962 §2.1: the root of the empty tree."""


def merkle_root(leaves: list[Digest]) -> Digest:
    """Root over leaf hashes in order; an odd node is promoted, never doubled."""
    if not leaves:
        return EMPTY_ROOT
    level = leaves
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + ([level[-1]] if len(level) % 2 else [])
    return level[0]


class ChainFault(Value):
    """One thing wrong with a run of entries: where, and what it means."""

    index: int
    what: str


def check_entries(entries: Iterable[LedgerEntry]) -> list[ChainFault]:
    """Every fault in a gapless run of entries from index 0: leaf hashes, indices, and each incident's own chain."""
    faults: list[ChainFault] = []
    last: dict[str, LedgerEntry] = {}
    for position, entry in enumerate(entries):
        if entry.index != position:
            faults.append(
                ChainFault(index=entry.index, what=f"expected index {position}: an entry is missing or moved")
            )
        if leaf_hash(entry.core()) != entry.leaf:
            faults.append(ChainFault(index=entry.index, what="the entry does not match its leaf hash: it was changed"))
        if entry.incident is None:
            continue
        previous = last.get(entry.incident)
        expected_seq = 0 if previous is None else (previous.incident_seq or 0) + 1
        expected_prev = None if previous is None else previous.leaf
        if entry.incident_seq != expected_seq or entry.incident_prev != expected_prev:
            faults.append(
                ChainFault(index=entry.index, what=f"the chain of {entry.incident} is broken: an entry was taken out")
            )
        last[entry.incident] = entry
    return faults
