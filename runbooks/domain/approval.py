"""Approval: a request frozen into a digest, and decisions by proven people. How they count: judging.py."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runbooks.domain.configuration import Configuration, ProofKind, Right, Rung
from runbooks.domain.containment import Reversibility, Verb
from runbooks.domain.incident import IncidentId, Name, Requester
from runbooks.domain.instants import Instant
from runbooks.domain.severity import Severity
from runbooks.domain.value import Digest, Value

DECISION_NAMESPACE = "quell-decision"
"""SSHSIG namespace of decisions: `ssh-keygen -Y sign -n quell-decision`."""

MORE_FOR_UNPROVEN = 1
"""People more when the requester is only a typed name (law 3)."""


SYSTEM_OWNER = "system-owner"
"""In a right's `never`: whoever the inventory names as the system's owner."""


def barred_by(right: Right, configuration: Configuration, system: Name | None) -> frozenset[Name]:
    """The people whom the right's `never` means: named, in a role that it names, or the owner of this system."""
    record = configuration.systems.get(system or "")
    owner = {record.owner} if record is not None and SYSTEM_OWNER in right.never else set[Name]()
    named = {name for name, p in configuration.people.items() if {name, *p.roles} & set(right.never)}
    return frozenset(named | owner)


def also_barred(asked: Name, *configurations: Configuration) -> frozenset[Name]:
    """Whoever asked for the response, when somebody else asks for an undo: does not decide on that either.

    A name that is nobody's in these configurations bars nobody.
    """
    return frozenset({asked} if any(asked in one.people for one in configurations) else ())


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
    """Who never counts on it: the people whom the right's `never` meant when it was asked."""
    verb: Verb | None = None
    system: Name | None = None
    """With verb and severity: what the right of the active policy is looked up by. None in requests of before 2026-11-28."""
    severity: Severity | None = None
    """How severe the incident was when it was asked."""
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

    @property
    def says_its_act(self) -> bool:
        """Whether it names verb, system and severity, so that a right can be looked up; requests of before do not."""
        return self.system is not None and self.severity is not None

    def right_in(self, configuration: Configuration) -> Right | None:
        """The right of this configuration that covers the act that it says; None: nobody may."""
        if self.system is None or self.severity is None:
            return None
        return configuration.right_for(
            purpose=self.purpose, verb=self.verb, reversibility=self.reversibility, severity=self.severity,
            system=self.system,
        )  # fmt: skip


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
    unsigned: str = ""
    """Why it is not what its person signed, as whoever read the entry found; "" when it is, or was proven by a code."""


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
    judged_at: Instant | None = None
    """The time for which it was judged; people's time may end later."""

    def counts(self, statement: Statement) -> bool:
        """Whether this answer is among those that decide; what is recorded and does not count stands in `not_counted`."""
        if statement.answer is Answer.WITHDRAW:
            return statement.person in self.withdrawn
        if statement.answer is Answer.APPROVE:
            return statement.person in self.approvers
        refused = any(line.startswith(f"{statement.person} ") for line in self.not_counted)
        return self.denier == statement.person or (self.standing is Standing.DENIED and not refused)
