"""Requests and how they stand: asked once, judged from the record every time. Decisions enter in tasks/decisions.py."""

import secrets
from collections.abc import Callable
from functools import lru_cache

from runbooks.domain.approval import ApprovalRequest, Decision, Proof, Purpose, RequestVerdict, Standing, Statement
from runbooks.domain.configuration import Configuration, Right
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.errors import ApprovalError
from runbooks.domain.identifiers import short_id
from runbooks.domain.incident import Incident, Requester
from runbooks.domain.instants import Instant, later
from runbooks.domain.judging import judge_request, speaks_for
from runbooks.domain.ledger import ActorKind, EntryType, LedgerEntry
from runbooks.domain.value import Digest
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.proofs import listed_fingerprints

MORE_FOR_UNPROVEN = 1
"""People more when the requester is only a typed name (law 3)."""
BY_HAND = Requester(name="somebody at a terminal (quell undo)", proven=False)
"""Who asks to undo: it is not whoever asked for the response, and nobody knows who it is."""


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
    waits: str = "",
) -> ApprovalRequest | None:
    """The request for this act, asked once per plan, purpose and turn; None when no right in the policy allows anybody.

    `turn` is 2 and more when an earlier request for the same came to nothing and somebody asks anew. `waits`: why it
    waits for people, though policy would let it begin without them.
    """
    key = request_key(incident.id, purpose, action, turn)
    standing = writer.find(key)
    if standing is not None:
        return _request(installation, standing)
    configuration = installation.active()
    right = configuration.right_for(
        purpose=purpose, verb=action.verb, reversibility=action.reversibility,
        severity=incident.severity.severity, system=action.system,
    )  # fmt: skip
    if right is None:
        writer.write(
            EntryType.PERSON_NEEDED, f"no-right/{key}", incident=incident.id,
            body={"action": action.id, "because": f"no decision right covers {purpose} of {action.verb.shown}"},
        )  # fmt: skip
        return None
    request = _frozen(installation, incident, plan, action, purpose, right, acted_before, waits)
    entry = writer.write(
        EntryType.APPROVAL_REQUESTED, key, incident=incident.id,
        subject={"request": installation.keep(request), "action": action.digest()},
        body={
            "request": request.id, "action": action.id, "purpose": purpose, "people": request.people,
            "roles": list(request.roles), "expires_at": request.expires_at, **({"because": waits} if waits else {}),
        },
    )  # fmt: skip
    return _request(installation, entry)


def _frozen(
    installation: Installation, incident: Incident, plan: Plan, action: ContainmentAction, purpose: Purpose,
    right: Right, acted_before: tuple[str, ...], waits: str,
) -> ApprovalRequest:  # fmt: skip
    now = installation.now()
    giving_back = purpose is not Purpose.CONTAIN
    requester = BY_HAND if purpose is Purpose.UNDO else incident.requester
    return ApprovalRequest(
        id=short_id("REQ", secrets.token_bytes(8)), installation=installation.id, incident=incident.id,
        nonce=secrets.token_hex(16), purpose=purpose, step=action.id, action=action.digest(),
        what=f"Undo “{action.title}”" if giving_back else action.title,
        target=f"{action.target} of {action.system}, through {action.connector} ({action.verb.shown})",
        why=_why_back(installation, incident, purpose) if giving_back else _why(action, waits),
        blast_radius=(
            f"It works again for everybody, and nothing stops it any more. It was taken away because: {action.why}"
            if giving_back else action.blast_radius
        ),
        reversibility=action.reversibility,
        undo=f"Take it away again: {action.title}." if giving_back else action.undo,
        manifest=plan.manifest, waiver=plan.waiver, requester=requester, roles=right.roles,
        people=right.people + (0 if requester.proven else MORE_FOR_UNPROVEN), proofs=right.proofs,
        excluded=() if requester == incident.requester else _if_listed(installation, plan, incident.requester.name),
        acted_before=acted_before, ladder=right.ladder, asked_at=now,
        expires_at=later(now, 60 * right.expires_minutes),
        drill=incident.drill, configuration=plan.configuration, runbook=plan.runbook,
    )  # fmt: skip


def _if_listed(installation: Installation, plan: Plan, name: str) -> tuple[str, ...]:
    """Whoever asked for the response does not decide on undoing it either; a name that is nobody's excludes nobody."""
    configurations = installation.active(), installation.configuration(plan.configuration)
    return (name,) if any(name in one.people for one in configurations) else ()


def _why(action: ContainmentAction, waits: str) -> str:
    return f"{action.why} It would begin without asking, but {waits}; so it waits for you." if waits else action.why


def _why_back(installation: Installation, incident: Incident, purpose: Purpose) -> str:
    """Why something is to be given back: only what the record says."""
    if purpose is Purpose.UNDO:
        return "Somebody asked for it to be undone (quell undo)."
    judged = installation.store.entries(incident.id, types=(EntryType.RECOVERY_JUDGED,))
    if judged and judged[-1].body["passed"]:
        return f"The fix passed its bar: {judged[-1].body['because']}"
    return (
        "The fix can only be tried when this works again. The harmful tools stay off meanwhile, and if the fix does not "
        "hold, this is taken away again."
    )


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
    active, now = installation.active(), installation.now()
    return [(r, _judge(installation, r, e.subject["request"], about, active, now))
            for r, e in ((_request(installation, e), e) for e in asked)]  # fmt: skip


def _judge(
    installation: Installation, request: ApprovalRequest, digest: Digest, about: dict[str, list[LedgerEntry]],
    active: Configuration, now: Instant,
) -> RequestVerdict:  # fmt: skip
    mine = about.get(digest, [])
    expired = next((e for e in mine if e.type is EntryType.REQUEST_EXPIRED), None)
    decisions = tuple(_decision(e, expired) for e in mine if e.type is EntryType.DECISION_RECORDED)
    pinned = installation.configuration(request.configuration)
    claims = [e.index for e in mine if e.type is EntryType.EFFECT_CLAIMED]
    return judge_request(
        request, decisions, pinned=pinned, active=active, keys=_keys(installation.configuration, request.configuration),
        now=max(now, expired.at) if expired else now, claimed=min(claims, default=None),
    )  # fmt: skip


def _decision(entry: LedgerEntry, expired: LedgerEntry | None) -> Decision:
    at = max(entry.at, str(entry.body.get("arrived_at") or ""))
    if expired is not None and entry.index > expired.index:
        at = max(at, expired.at)
    return Decision(
        statement=Statement.model_validate(entry.body["statement"]),
        proof=Proof.model_validate(entry.body["proof"]), at=at, entry=entry.index,
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
    return _judge(installation, request, digest, {}, installation.active(), installation.now())


_SETTLED: dict[Standing, EntryType] = {
    Standing.GRANTED: EntryType.REQUEST_GRANTED,
    Standing.DENIED: EntryType.REQUEST_DENIED,
    Standing.EXPIRED: EntryType.REQUEST_EXPIRED,
}


def settled_key(request: ApprovalRequest, verdict: RequestVerdict) -> str:
    """The key of the entry that says so, once per request and standing."""
    return f"settled/{request.digest()}/{verdict.standing}"


def settle(writer: Pen, request: ApprovalRequest, verdict: RequestVerdict) -> RequestVerdict:
    """Write a settled verdict once per standing; returns the verdict."""
    kind = _SETTLED.get(verdict.standing)
    if kind is not None:
        writer.write(
            kind, settled_key(request, verdict), incident=request.incident,
            subject={"request": request.digest(), "action": request.action},
            body={
                "request": request.id, "action": request.step, "purpose": request.purpose,
                "because": verdict.because, "approvers": list(verdict.approvers),
                "decisions": list(verdict.entries), "not_counted": list(verdict.not_counted),
            },
        )  # fmt: skip
    return verdict


def people_who_disabled(installation: Installation, incident_id: str) -> set[str]:
    """Whose word took something away in this incident: whoever consented, for whom they stood, who broke the glass."""
    found = installation.store.entries(incident_id, types=(EntryType.REQUEST_GRANTED, EntryType.BREAK_GLASS_OPENED))
    people = {str(e.body["person"]) for e in found if e.type is EntryType.BREAK_GLASS_OPENED}
    for entry in found:
        if entry.type is EntryType.REQUEST_GRANTED and entry.body["purpose"] == Purpose.CONTAIN:
            request = _request(installation, entry)
            asked_under = installation.configuration(request.configuration)
            for name in entry.body["approvers"]:
                people |= {name, speaks_for(name, request.roles, (asked_under,)) or name}
    return people


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


def eligible(configuration: Configuration, request: ApprovalRequest) -> list[str]:
    """Who may answer: listed, in role or deputy of somebody who is; not the requester, not excluded, no deputy of those."""
    barred = {request.requester.name, *request.excluded}
    return sorted(
        name for name in configuration.people
        if (voice := speaks_for(name, request.roles, (configuration,))) and not {name, voice} & barred
    )  # fmt: skip


def actor_of(entry: LedgerEntry) -> str:
    """Who an entry says did it, in words."""
    return entry.actor.name if entry.actor.kind is ActorKind.PERSON else f"{entry.actor.kind} {entry.actor.name}"
