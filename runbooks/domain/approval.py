"""Approval: a request frozen into a digest, decisions by proven people, and the rules by which they count.

Rules of `judge_request`, in order:
1. Only a decision on exactly this request's digest is looked at; it names this installation too.
2. The person must be listed in the configuration pinned by the request and still be listed, in role, in the active one:
   additions never count for open requests, removals count at once. Under any other pinned configuration nothing counts.
3. The requester never counts, nor anybody whom the request excludes.
4. The proof must be of a kind that the request accepts, and was verified when the decision arrived.
   An SSH key must still be listed, whatever its comment; a code's secret must still be the same reference.
5. A decision after the expiry does not count.
6. One person counts once: the first decision that counts is the one.
7. Any denial that counts denies the request. Otherwise enough distinct people grant it.
8. When the request names people who acted before, at least one of those who approve must not be among them.
9. Everything else is waiting; after the expiry it is expired. Silence is never a yes.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runbooks.domain.configuration import Configuration, Person, ProofKind
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
    acted_before: tuple[Name, ...] = ()
    asked_at: Instant
    expires_at: Instant
    drill: bool
    configuration: Digest
    runbook: Digest


class Answer(StrEnum):
    """What a person says."""

    APPROVE = "approve"
    DENY = "deny"


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
    denier: Name | None = None
    denial_reason: str | None = None
    not_counted: tuple[str, ...] = ()
    still_needed: int = 0
    because: str
    entries: tuple[int, ...] = ()
    """Ledger entries of the decisions that counted."""


def _key(line: str | None) -> list[str]:
    """Type and base64 of a key line: what the key is, without the comment."""
    return (line or "").split()[:2]


def _person_objection(person: Person | None, decision: Decision, request: ApprovalRequest, when: str) -> str | None:
    """Rule 2, for one of the two configurations; `when` says which in words."""
    name = decision.statement.person
    if person is None:
        return f"{name} is not listed {when}"
    if not set(person.roles) & set(request.roles):
        return f"{name} has none of the roles {', '.join(request.roles)} {when}"
    if person.valid_from is not None and decision.at < person.valid_from:
        return f"{name} was not valid yet at {decision.at}"
    if person.valid_until is not None and decision.at > person.valid_until:
        return f"{name} was no longer valid at {decision.at}"
    return None


def _proof_objection(
    decision: Decision, request: ApprovalRequest, pinned: Person, active: Person, keys: dict[str, str]
) -> str | None:
    """Rule 4: of an accepted kind, and what the proof rests on is listed in both configurations."""
    name, proof = decision.statement.person, decision.proof
    if proof.kind not in request.proofs:
        return f"{name} proved by {proof.kind}; this request accepts {', '.join(request.proofs)}"
    if proof.kind is ProofKind.SSH:
        key = _key(keys.get(proof.key or ""))
        if not key or any(key not in [_key(line) for line in person.ssh_keys] for person in (pinned, active)):
            return f"the key {proof.key} is not listed for {name}"
    elif pinned.code_secret is None or active.code_secret != pinned.code_secret:
        return f"{name} proved by a code whose secret is no longer the one that was listed when it was asked"
    return None


def _objection(
    decision: Decision, request: ApprovalRequest, pinned: Configuration, active: Configuration, keys: dict[str, str]
) -> str | None:
    """Why this decision does not count, or None when it does. `keys` maps fingerprint to listed key line."""
    name = decision.statement.person
    then, now = pinned.people.get(name), active.people.get(name)
    problem = _person_objection(then, decision, request, "when it was asked")
    problem = problem or _person_objection(now, decision, request, "now")
    if problem is not None or then is None or now is None:
        return problem
    if name == request.requester.name:  # 3
        return f"{name} asked for it; the requester never counts"
    if name in request.excluded:
        return f"{name} may not decide on this request"
    problem = _proof_objection(decision, request, then, now, keys)
    if problem is None and decision.at > request.expires_at:  # 5
        return f"{name} answered at {decision.at}, after the expiry {request.expires_at}"
    return problem


def judge_request(
    request: ApprovalRequest,
    decisions: tuple[Decision, ...],
    *,
    pinned: Configuration,
    active: Configuration,
    keys: dict[str, str],
    now: Instant,
) -> RequestVerdict:
    """How the request stands by the rules at the head of this file.

    `keys` maps the fingerprint of every listed SSH key to its line; decisions come in ledger order.
    """
    digest = request.digest()
    misplaced = (
        None if pinned.digest() == request.configuration else "judged under another configuration than it was asked"
    )
    counted: dict[str, Decision] = {}
    not_counted: list[str] = []
    for decision in sorted(decisions, key=lambda d: d.entry):
        if (decision.statement.request, decision.statement.installation) != (digest, request.installation):  # 1
            continue
        objection = misplaced or _objection(decision, request, pinned, active, keys)
        if objection is not None:
            not_counted.append(objection)
        elif decision.statement.person in counted:  # 6
            not_counted.append(f"{decision.statement.person} answered already; one person counts once")
        else:
            counted[decision.statement.person] = decision
    denials = [d for d in counted.values() if d.statement.answer is Answer.DENY]
    approvals = [d for d in counted.values() if d.statement.answer is Answer.APPROVE]
    approvers = tuple(d.statement.person for d in approvals)
    missing = max(0, request.people - len(approvals))
    fresh_eyes = not request.acted_before or any(name not in request.acted_before for name in approvers)
    base = {"request": digest, "not_counted": tuple(not_counted), "approvers": approvers}
    if denials:  # 7
        first = denials[0]
        return RequestVerdict(
            **base, standing=Standing.DENIED, denier=first.statement.person, denial_reason=first.statement.reason,
            because=f"{first.statement.person} denied it: {first.statement.reason}", entries=(first.entry,),
        )  # fmt: skip
    if missing == 0 and fresh_eyes:  # 7, 8
        return RequestVerdict(
            **base, standing=Standing.GRANTED, because=f"approved by {', '.join(approvers)}",
            entries=tuple(d.entry for d in approvals),
        )  # fmt: skip
    needed = max(missing, 0 if fresh_eyes else 1)
    because = f"{needed} more of {', '.join(request.roles)}"
    if not fresh_eyes:
        because += f", at least one of them not {', '.join(request.acted_before)}"
    if now > request.expires_at:  # 9
        return RequestVerdict(
            **base, standing=Standing.EXPIRED, still_needed=needed, because=f"expired; it still needed {because}"
        )
    return RequestVerdict(**base, standing=Standing.WAITING, still_needed=needed, because=f"needs {because}")
