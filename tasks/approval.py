"""Requests and how they stand: asked once, judged from the record every time. Decisions enter in tasks/decisions.py."""

import secrets
from collections.abc import Callable

from runbooks.domain.approval import (
    ApprovalRequest,
    Decision,
    Proof,
    Purpose,
    RequestVerdict,
    Standing,
    Statement,
    judge_request,
)
from runbooks.domain.configuration import Configuration, Right
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.errors import ApprovalError
from runbooks.domain.identifiers import short_id
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import ActorKind, EntryType, LedgerEntry
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.proofs import listed_fingerprints
from tasks.step import here, pen, step

MORE_FOR_UNPROVEN = 1
"""People more when the requester is only a typed name (law 3)."""


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
) -> ApprovalRequest | None:
    """The request for this act, asked once per plan, purpose and turn; None when no right in the policy allows anybody.

    `turn` is 2 and more when an earlier request for the same came to nothing and somebody asks anew.
    """
    key = f"requested/{incident.id}/{purpose}/{action.digest()}" + (f"/{turn}" if turn > 1 else "")
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
    request = _frozen(installation, incident, plan, action, purpose, right, acted_before)
    entry = writer.write(
        EntryType.APPROVAL_REQUESTED, key, incident=incident.id,
        subject={"request": installation.keep(request), "action": action.digest()},
        body={
            "request": request.id, "action": action.id, "purpose": purpose, "people": request.people,
            "roles": list(request.roles), "expires_at": request.expires_at,
        },
    )  # fmt: skip
    return _request(installation, entry)


def _frozen(
    installation: Installation, incident: Incident, plan: Plan, action: ContainmentAction, purpose: Purpose,
    right: Right, acted_before: tuple[str, ...],
) -> ApprovalRequest:  # fmt: skip
    now = clock()
    giving_back = purpose is not Purpose.CONTAIN
    return ApprovalRequest(
        id=short_id("REQ", secrets.token_bytes(8)), installation=installation.id, incident=incident.id,
        nonce=secrets.token_hex(16), purpose=purpose, step=action.id, action=action.digest(),
        what=f"Undo “{action.title}”" if giving_back else action.title,
        target=f"{action.target} of {action.system}, through {action.connector} ({action.verb.shown})",
        why=_why_back(installation, incident, purpose) if giving_back else action.why,
        blast_radius=(
            f"It works again for everybody, and nothing stops it any more. It was taken away because: {action.why}"
            if giving_back else action.blast_radius
        ),
        reversibility=action.reversibility,
        undo=f"Take it away again: {action.title}." if giving_back else action.undo,
        manifest=plan.manifest, waiver=plan.waiver, requester=incident.requester, roles=right.roles,
        people=right.people + (0 if incident.requester.proven else MORE_FOR_UNPROVEN), proofs=right.proofs,
        acted_before=acted_before, asked_at=now, expires_at=later(now, 60 * right.expires_minutes),
        drill=incident.drill, configuration=plan.configuration, runbook=plan.runbook,
    )  # fmt: skip


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
    return ApprovalRequest.from_bytes(installation.vault.get(entry.subject["request"]))


def requests_of(installation: Installation, incident_id: str | None = None) -> list[ApprovalRequest]:
    """Every request of an incident (of all incidents), in the order in which they were asked."""
    found = installation.store.entries(incident_id, types=(EntryType.APPROVAL_REQUESTED,))
    return [_request(installation, entry) for entry in found]


def find_request(installation: Installation, name: str) -> ApprovalRequest:
    """The request with this id or digest; ApprovalError when the ledger has none."""
    for request in requests_of(installation):
        if name in (request.id, request.digest()):
            return request
    raise ApprovalError(
        f"no request {name} stands in this installation's ledger.",
        now="nothing was decided.", next_step="`quell inbox` lists the requests that wait.",
    )  # fmt: skip


def decisions_on(installation: Installation, request: ApprovalRequest) -> tuple[Decision, ...]:
    """Every recorded decision on this request, in ledger order."""
    found = installation.store.entries(request.incident, types=(EntryType.DECISION_RECORDED,))
    return tuple(
        Decision(
            statement=Statement.model_validate(entry.body["statement"]),
            proof=Proof.model_validate(entry.body["proof"]), at=entry.at, entry=entry.index,
        )
        for entry in found
        if entry.subject.get("request") == request.digest()
    )  # fmt: skip


def verdict_on(installation: Installation, request: ApprovalRequest, now: Instant | None = None) -> RequestVerdict:
    """How the request stands now, recomputed from ledger, pinned and active configuration every time."""
    pinned, active = installation.configuration(request.configuration), installation.active()
    return judge_request(
        request, decisions_on(installation, request), pinned=pinned, active=active,
        keys=listed_fingerprints(pinned), now=now or clock(),
    )  # fmt: skip


@step("ask for approval")
def request_approvals(incident_id: str, purpose: str, actions: list[str]) -> list[str]:
    """Ask for each of these acts of the plan; returns the ids of the requests that stand."""
    installation, writer = here(), pen()
    incident, plan = installation.incident(incident_id), plan_of(installation, incident_id)
    acted = tuple(sorted(people_who_disabled(installation, incident_id))) if purpose != Purpose.CONTAIN else ()
    asked = [
        ask(installation, writer, incident, plan, plan.action(name), Purpose(purpose), acted) for name in actions
    ]
    return [request.id for request in asked if request is not None]


@step("read the decisions")
def read_decisions(incident_id: str, purpose: str) -> dict[str, str]:
    """How every request of this purpose stands, by action id; what is settled is written down once."""
    installation, writer = here(), pen()
    standings: dict[str, str] = {}
    for request in requests_of(installation, incident_id):
        if request.purpose != purpose:
            continue
        verdict = verdict_on(installation, request)
        standings[request.step] = settle(writer, request, verdict).standing
    return standings


_SETTLED: dict[Standing, EntryType] = {
    Standing.GRANTED: EntryType.REQUEST_GRANTED,
    Standing.DENIED: EntryType.REQUEST_DENIED,
    Standing.EXPIRED: EntryType.REQUEST_EXPIRED,
}


def settle(writer: Pen, request: ApprovalRequest, verdict: RequestVerdict) -> RequestVerdict:
    """Write a settled verdict once per standing; returns the verdict."""
    kind = _SETTLED.get(verdict.standing)
    if kind is not None:
        writer.write(
            kind, f"settled/{request.digest()}/{verdict.standing}", incident=request.incident,
            subject={"request": request.digest(), "action": request.action},
            body={
                "request": request.id, "action": request.step, "purpose": request.purpose,
                "because": verdict.because, "approvers": list(verdict.approvers),
                "decisions": list(verdict.entries), "not_counted": list(verdict.not_counted),
            },
        )  # fmt: skip
    return verdict


def people_who_disabled(installation: Installation, incident_id: str) -> set[str]:
    """Everybody whose approval counted for taking something away in this incident."""
    granted = installation.store.entries(incident_id, types=(EntryType.REQUEST_GRANTED,))
    return {name for e in granted if e.body["purpose"] == Purpose.CONTAIN for name in e.body["approvers"]}


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
    """Requests of open incidents that still wait, oldest first, with what is still needed."""
    closed = {e.incident for e in installation.store.entries(types=(EntryType.INCIDENT_CLOSED,))}
    found = [r for r in requests_of(installation) if r.incident not in closed and only(r)]
    judged = [(request, verdict_on(installation, request)) for request in found]
    return [(request, verdict) for request, verdict in judged if verdict.standing is Standing.WAITING]


def eligible(configuration: Configuration, request: ApprovalRequest) -> list[str]:
    """Who may answer: listed, in role, not the requester, not excluded."""
    barred = {request.requester.name, *request.excluded}
    return sorted(
        name for name, person in configuration.people.items()
        if set(person.roles) & set(request.roles) and name not in barred
    )  # fmt: skip


def actor_of(entry: LedgerEntry) -> str:
    """Who an entry says did it, in words."""
    return entry.actor.name if entry.actor.kind is ActorKind.PERSON else f"{entry.actor.kind} {entry.actor.name}"
