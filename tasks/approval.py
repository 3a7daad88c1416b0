"""Requests and how they stand: asked once, judged from the record every time. Decisions enter in tasks/decisions.py."""

from collections.abc import Callable
from functools import lru_cache, partial

from runbooks.domain.approval import (
    ApprovalRequest,
    Decision,
    Proof,
    Purpose,
    RequestVerdict,
    Standing,
    Statement,
)
from runbooks.domain.case import LET_THROUGH, acted_at, fences
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.errors import ApprovalError
from runbooks.domain.incident import Incident, Requester
from runbooks.domain.instants import Instant
from runbooks.domain.judging import judge_request
from runbooks.domain.ledger import ActorKind, EntryType, LedgerEntry
from runbooks.domain.situation import UNTIL_APPLIED, UNTIL_ASKED, UNTIL_REVIEWED, UNTIL_UNDONE
from runbooks.domain.value import Digest
from runbooks.domain.voices import who_disabled, who_may_answer
from tasks.announcing import call_people
from tasks.asking import frozen_request
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.proofs import listed_fingerprints
from tasks.signatures import Signatures


def request_key(incident_id: str, purpose: Purpose, action: ContainmentAction, turn: int = 1) -> str:
    """The key of the entry by which people were asked about this act."""
    return f"requested/{incident_id}/{purpose}/{action.digest()}" + (f"/{turn}" if turn > 1 else "")


def ask(
    installation: Installation,
    writer: Pen,
    incident: Incident,
    plan: Plan,
    action: ContainmentAction,
    purpose: Purpose,
    acted_before: tuple[str, ...] = (),
    *,
    turn: int = 1,
    requester: Requester | None = None,
    waits: str = "",
) -> ApprovalRequest | None:
    """The request for this act, asked once per plan, purpose and turn; None when no right in the policy allows anybody.

    `turn` is 2 and more when an earlier request for the same came to nothing and somebody asks anew. `requester` is
    whoever asks for this act by hand; without, it follows from the incident, and whoever reported that asked for it.
    `waits`: why it waits for people, though policy would let it begin without them.
    """
    key = request_key(incident.id, purpose, action, turn)
    standing = writer.find(key)
    if standing is not None:
        return _request(installation, standing)
    asker = requester or incident.requester
    request = frozen_request(installation, incident, plan, action, purpose, acted_before, asker, waits)
    if request is None:
        taking = purpose is Purpose.CONTAIN
        call_people(
            installation, writer, incident.id, f"no-right/{key}",
            {
                "action": action.id, "purpose": purpose,
                "because": f"no decision right covers {purpose} of {action.verb.shown}",
                "needed": f"nobody may {'take away' if taking else 'give back'} {action.id}: add a right to policy.toml "
                          f"that covers {purpose} of {action.verb.shown}, and activate it",
                "until": [UNTIL_ASKED, UNTIL_APPLIED if taking else UNTIL_UNDONE, UNTIL_REVIEWED],
            },
            what=f"no-right/{action.id}/{purpose}",
        )  # fmt: skip
        return None
    entry = writer.write(
        EntryType.APPROVAL_REQUESTED, key, incident=incident.id,
        subject={"request": installation.keep(request), "action": action.digest()},
        body={
            "request": request.id, "action": action.id, "purpose": purpose, "people": request.people,
            "roles": list(request.roles), "expires_at": request.expires_at, **({"because": waits} if waits else {}),
        },
    )  # fmt: skip
    return _request(installation, entry)


def _request(installation: Installation, entry: LedgerEntry) -> ApprovalRequest:
    return _frozen_request(installation.vault.get, entry.subject["request"])


@lru_cache(maxsize=8192)
def _frozen_request(get: Callable[[Digest], bytes], digest: Digest) -> ApprovalRequest:
    """What is stored under a digest never changes, so it is read and checked once per process."""
    return ApprovalRequest.from_bytes(get(digest))


def requests_of(installation: Installation, incident_id: str | None = None) -> list[ApprovalRequest]:
    """Every request of an incident (of all incidents), in the order in which they were asked."""
    found = installation.store.entries(incident_id, types=(EntryType.APPROVAL_REQUESTED,))
    return [_request(installation, entry) for entry in found]


def find_request(installation: Installation, name: str) -> ApprovalRequest:
    """The request with this id or digest; ApprovalError when the ledger has none."""
    for entry in installation.store.entries(types=(EntryType.APPROVAL_REQUESTED,)):
        if name in (entry.body["request"], entry.subject["request"]):
            return _request(installation, entry)
    raise ApprovalError(
        f"no request {name} stands in this installation's ledger.",
        now="nothing was decided.", next_step="`quell inbox` lists the requests that wait.",
    )  # fmt: skip


_JUDGED = (
    EntryType.APPROVAL_REQUESTED, EntryType.DECISION_RECORDED, EntryType.EFFECT_CLAIMED, EntryType.REQUEST_EXPIRED,
    *LET_THROUGH,
)  # fmt: skip


def judge_all(
    installation: Installation, incident_id: str | None = None, *,
    only: Callable[[LedgerEntry], bool] = lambda _: True,
) -> list[tuple[ApprovalRequest, RequestVerdict]]:  # fmt: skip
    """Every request (that `only` wants) with how it stands now, from one reading of the record.

    The clock may have been set back: what the record shows to be past stays past.
    """
    entries = installation.store.entries(incident_id, types=_JUDGED)
    asked = [e for e in entries if e.type is EntryType.APPROVAL_REQUESTED and only(e)]
    if not asked:
        return []
    about: dict[str, list[LedgerEntry]] = {}
    for entry in entries:
        about.setdefault(entry.subject.get("request", ""), []).append(entry)
    signatures, now, let_through = installation.signatures(), installation.now(), fences(entries)
    active = installation.configuration(signatures.activations[-1].subject["configuration"])
    return [(r, _judge(installation, r, e.subject["request"], about, active, now, let_through, signatures))
            for r, e in ((_request(installation, e), e) for e in asked)]  # fmt: skip


def _judge(
    installation: Installation, request: ApprovalRequest, digest: Digest, about: dict[str, list[LedgerEntry]],
    active: Configuration, now: Instant, let_through: frozenset[tuple[str, int]], signatures: Signatures,
) -> RequestVerdict:  # fmt: skip
    mine = about.get(digest, [])
    expired = next((e for e in mine if e.type is EntryType.REQUEST_EXPIRED), None)
    decisions = tuple(_decision(e, expired, signatures) for e in mine if e.type is EntryType.DECISION_RECORDED)
    pinned = installation.configuration(request.configuration)
    claims = [e for e in mine if e.type is EntryType.EFFECT_CLAIMED]
    return judge_request(
        request, decisions, pinned=pinned, active=active, keys=_keys(installation.configuration, request.configuration),
        now=max(now, expired.at) if expired else now, claimed=min((e.index for e in claims), default=None),
        acted_at=acted_at(claims, let_through),
    )  # fmt: skip


def _decision(entry: LedgerEntry, expired: LedgerEntry | None, signatures: Signatures) -> Decision:
    at = max(entry.at, str(entry.body.get("arrived_at") or ""))
    if expired is not None and entry.index > expired.index:
        at = max(at, expired.at)
    return Decision(
        statement=Statement.model_validate(entry.body["statement"]),
        proof=Proof.model_validate(entry.body["proof"]), at=at, entry=entry.index, unsigned=signatures.fault(entry),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _keys(configuration: Callable[[Digest], Configuration], digest: Digest) -> dict[str, str]:
    return listed_fingerprints(configuration(digest))


def verdict_on(installation: Installation, request: ApprovalRequest) -> RequestVerdict:
    """How the request stands now, recomputed from ledger, pinned and active configuration every time."""
    digest = request.digest()
    found = judge_all(installation, request.incident, only=lambda entry: entry.subject["request"] == digest)
    if found:
        return found[0][1]
    nothing: dict[str, list[LedgerEntry]] = {}
    active, signatures = installation.active(), installation.signatures()
    return _judge(installation, request, digest, nothing, active, installation.now(), frozenset(), signatures)


_SETTLED: dict[Standing, EntryType] = {
    Standing.GRANTED: EntryType.REQUEST_GRANTED,
    Standing.DENIED: EntryType.REQUEST_DENIED,
    Standing.EXPIRED: EntryType.REQUEST_EXPIRED,
}


def settled_key(request: ApprovalRequest, verdict: RequestVerdict) -> str:
    """The key of the first entry that says so."""
    return f"settled/{request.digest()}/{verdict.standing}"


def settle(writer: Pen, request: ApprovalRequest, verdict: RequestVerdict) -> RequestVerdict:
    """Write a settled verdict, once per standing and the decisions that make it; returns the verdict.

    What was granted, stood open again and is granted by others is granted by those: whoever disabled is read from it.
    """
    kind, key = _SETTLED.get(verdict.standing), settled_key(request, verdict)
    if kind is not None:
        before = writer.find(key)
        if before is not None and before.body["decisions"] != list(verdict.entries) and not is_claimed(writer, request):
            key += "/" + "-".join(map(str, verdict.entries))
        writer.write(
            kind, key, incident=request.incident,
            subject={"request": request.digest(), "action": request.action},
            body={
                "request": request.id, "action": request.step, "purpose": request.purpose,
                "because": verdict.because, "approvers": list(verdict.approvers),
                "decisions": list(verdict.entries), "not_counted": list(verdict.not_counted),
                "judged_at": verdict.judged_at,
            },
        )  # fmt: skip
    return verdict


def is_claimed(writer: Pen, request: ApprovalRequest) -> bool:
    """Whether somebody began, or did, what this request consents to."""
    claims = writer.entries(request.incident, types=(EntryType.EFFECT_CLAIMED,))
    return any(entry.subject.get("request") == request.digest() for entry in claims)


def people_who_disabled(installation: Installation, incident_id: str) -> set[str]:
    """Everybody who had a part in taking something away in this incident."""
    types = (EntryType.REQUEST_GRANTED, EntryType.BREAK_GLASS_OPENED)
    entries = installation.store.entries(incident_id, types=types)
    return who_disabled(entries, partial(_request, installation), installation.configuration)


def plan_of(installation: Installation, incident_id: str) -> Plan:
    """The newest plan of this incident."""
    found = installation.store.entries(incident_id, types=(EntryType.PLAN_MADE,))
    if not found:
        raise ApprovalError(
            f"{incident_id} has no plan yet.", now="nothing was asked.", next_step="let the response make its plan."
        )
    return Plan.from_bytes(installation.vault.get(found[-1].subject["plan"]))


def waiting(installation: Installation, only: Callable[[ApprovalRequest], bool] = lambda _: True) -> list[
    tuple[ApprovalRequest, RequestVerdict]
]:  # fmt: skip
    """Requests that still wait, oldest first, with what is still needed; of closed incidents, those to give back."""
    judged = judge_all(installation, only=answerable(installation))
    return [(r, verdict) for r, verdict in judged if verdict.standing is Standing.WAITING and only(r)]


def answerable(installation: Installation, incident_id: str | None = None) -> Callable[[LedgerEntry], bool]:
    """Whether an answer to the request of an entry could still do something.

    Its incident is open; or it asks to give back what a closed incident (it may end with everything taken away) left
    away, and that was not given back meanwhile.
    """
    found = installation.store.entries(incident_id, types=(EntryType.INCIDENT_CLOSED, EntryType.EFFECT_UNDONE))
    closed = {entry.incident for entry in found if entry.type is EntryType.INCIDENT_CLOSED}
    back = {entry.subject["action"] for entry in found if entry.type is EntryType.EFFECT_UNDONE}

    def asks(entry: LedgerEntry) -> bool:
        return entry.incident not in closed or (gives_back(entry) and entry.subject["action"] not in back)

    return asks


def gives_back(entry: LedgerEntry) -> bool:
    """Whether the request of this entry is to give something back."""
    return entry.body.get("purpose") in (Purpose.RE_ENABLE, Purpose.UNDO)


def eligible(installation: Installation, request: ApprovalRequest) -> list[str]:
    """Who may answer now, by the configuration under which it was asked and by the active one."""
    pinned = installation.configuration(request.configuration)
    return list(who_may_answer(request, pinned, installation.active(), installation.now()))


def actor_of(entry: LedgerEntry) -> str:
    """Who an entry says did it, in words."""
    return entry.actor.name if entry.actor.kind is ActorKind.PERSON else f"{entry.actor.kind} {entry.actor.name}"
