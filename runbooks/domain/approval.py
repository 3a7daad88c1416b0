"""Approval: a request frozen into a digest, and decisions by proven people. How they count: judging.py."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runbooks.domain.configuration import ProofKind, Rung
from runbooks.domain.containment import Reversibility
from runbooks.domain.incident import IncidentId, Name, Requester
from runbooks.domain.instants import Instant
from runbooks.domain.value import Digest, Value

DECISION_NAMESPACE = "quell-decision"
"""SSHSIG namespace of decisions: `ssh-keygen -Y sign -n quell-decision`."""


class Purpose(StrEnum):
    """What a request asks for."""

    CONTAIN = "contain"
    RE_ENABLE = "re_enable"
    UNDO = "undo"


class ApprovalRequest(Value):
    """Everything a person sees and everything the approval is bound to, frozen. Its digest is what they sign."""

    id: Annotated[str, Field(pattern=r"^REQ-[0-9A-Z]{4,26}$")]
    installation: str
    incident: IncidentId
    nonce: str
    purpose: Purpose
    step: Name
    """The plan step: the id of the action that is done or undone."""
    action: Digest
    what: str
    target: str
    why: str
    blast_radius: str
    reversibility: Reversibility
    undo: str
    manifest: Digest | None
    """Digest of the sealed manifest; None only under a recorded waiver, named in `waiver`."""
    waiver: Digest | None = None
    requester: Requester
    roles: tuple[Name, ...]
    people: Annotated[int, Field(ge=1)]
    """How many distinct people, the one more for an unproven requester included."""
    proofs: tuple[ProofKind, ...]
    excluded: tuple[Name, ...] = ()
    ladder: tuple[Rung, ...] = ()
    """Who is told, and when, as long as it waits."""
    acted_before: tuple[Name, ...] = ()
    asked_at: Instant
    expires_at: Instant
    drill: bool
    configuration: Digest
    runbook: Digest

    @property
    def by_hand(self) -> bool:
        """Asked for by whoever was at a terminal, not by the response: unproven, so it costs one person more."""
        return self.purpose is Purpose.UNDO and not self.requester.proven


class Answer(StrEnum):
    """What a person says."""

    APPROVE = "approve"
    DENY = "deny"
    WITHDRAW = "withdraw"
    """Take back what this person said, before it is acted upon. Final: whoever withdrew is not heard again on it."""


class Statement(Value):
    """What a person signs: the request's digest, the answer, the person, the reason. Nothing else decides."""

    installation: str
    request: Digest
    answer: Answer
    person: Name
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class Proof(Value):
    """How the statement was proven. `signature` is armored SSHSIG text; `time_step` the RFC 6238 step that was used."""

    kind: ProofKind
    key: str | None = None
    """SHA256 fingerprint of the SSH key, as `ssh-keygen -l` prints it."""
    signature: str | None = None
    time_step: int | None = None


class Decision(Value):
    """One person's proven answer as it stands in the ledger."""

    statement: Statement
    proof: Proof
    at: Instant
    entry: int
    """Index of the ledger entry that holds it."""


class Standing(StrEnum):
    """How a request stands."""

    WAITING = "waiting"
    GRANTED = "granted"
    DENIED = "denied"
    EXPIRED = "expired"


class RequestVerdict(Value):
    """How a request stands and why: who counted, who did not, who is still needed."""

    request: Digest
    standing: Standing
    approvers: tuple[Name, ...]
    for_others: dict[Name, Name] = {}
    """Deputy to principal, of those approvers who stand for somebody else."""
    withdrawn: tuple[Name, ...] = ()
    denier: Name | None = None
    denial_reason: str | None = None
    not_counted: tuple[str, ...] = ()
    still_needed: int = 0
    because: str
    entries: tuple[int, ...] = ()
    """Ledger entries of the decisions that counted."""

    def counts(self, statement: Statement) -> bool:
        """Whether this answer is among those that decide; what is recorded and does not count stands in `not_counted`."""
        if statement.answer is Answer.WITHDRAW:
            return statement.person in self.withdrawn
        if statement.answer is Answer.APPROVE:
            return statement.person in self.approvers
        refused = any(line.startswith(f"{statement.person} ") for line in self.not_counted)
        return self.denier == statement.person or (self.standing is Standing.DENIED and not refused)
