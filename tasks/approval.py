"""Requests, decisions, verdicts: asked once, accepted through any door by one function, judged from the record.

`submit_decision` is the only way a decision enters. Its rules:
1. The statement names this installation and a request that stands in the ledger.
2. The proof is checked now, against the active configuration and the arrival time.
3. What holds is written as `decision_recorded`; what does not, as `decision_refused`, with the reason.
4. Whoever wants the run to look rings the bell afterwards; the bell decides nothing.
"""

import secrets
from collections.abc import Callable

from runbooks.domain.approval import (
    Answer,
    ApprovalRequest,
    Decision,
    Proof,
    Purpose,
    RequestVerdict,
    Standing,
    Statement,
    judge_request,
)
from runbooks.domain.configuration import Configuration, ProofKind, Right
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.errors import ApprovalError
from runbooks.domain.identifiers import short_id
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import Actor, ActorKind, EntryType, LedgerEntry
from runbooks.domain.value import Digest
from tasks.installation import Installation
from tasks.ledger import Pen, clock, person_actor
from tasks.proofs import listed_fingerprints, verify_code, verify_ssh
from tasks.settings import resolve_secret
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
        what=f"give back: {action.title}" if giving_back else action.title,
        target=f"{action.target} of {action.system}, through {action.connector} ({action.verb.shown})",
        why="the fix passed its bar; see the recovery table" if giving_back else action.why,
        blast_radius="the ability comes back for everybody" if giving_back else action.blast_radius,
        reversibility=action.reversibility,
        undo=f"take it away again: {action.title}" if giving_back else action.undo,
        manifest=plan.manifest, waiver=plan.waiver, requester=incident.requester, roles=right.roles,
        people=right.people + (0 if incident.requester.proven else MORE_FOR_UNPROVEN), proofs=right.proofs,
        acted_before=acted_before, asked_at=now, expires_at=later(now, 60 * right.expires_minutes),
        drill=incident.drill, configuration=plan.configuration, runbook=plan.runbook,
    )  # fmt: skip


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


def submit_decision(
    installation: Installation, statement: Statement, *, door: Actor, signature: str = "", code: str = ""
) -> RequestVerdict:
    """Verify, append; returns how the request stands now. ApprovalError says why a decision was not accepted."""
    writer = installation.pen(door)
    try:
        request = find_request(installation, statement.request)  # 1
        if statement.installation != installation.id:
            raise ApprovalError(
                f"the decision is for the installation {statement.installation}, this is {installation.id}.",
                now="nothing was decided.", next_step="sign again with `quell approve` on this installation.",
            )  # fmt: skip
        proof = _proof(installation, statement, signature, code)  # 2
    except ApprovalError as error:  # 3
        writer.write(
            EntryType.DECISION_REFUSED, f"decision-refused/{secrets.token_hex(8)}",
            incident=_incident_of(installation, statement.request),
            subject={"request": statement.request},
            body={"claimed_person": statement.person, "answer": statement.answer, "because": error.problem},
        )  # fmt: skip
        raise
    _record(installation, request, statement, proof)
    return verdict_on(installation, request)


def _incident_of(installation: Installation, request: Digest) -> str | None:
    return next((r.incident for r in requests_of(installation) if r.digest() == request), None)


def _record(installation: Installation, request: ApprovalRequest, statement: Statement, proof: Proof) -> None:
    by = person_actor(statement.person)
    writer = installation.pen(by)
    marks = f"{statement.person}/{statement.request}/{statement.answer}"
    if proof.kind is ProofKind.CODE:
        taken = writer.write(
            EntryType.CODE_VERIFIED, f"code/{statement.person}/{proof.time_step}", incident=request.incident,
            subject={"request": request.digest()},
            body={"person": statement.person, "time_step": proof.time_step, "answer": statement.answer},
        )  # fmt: skip
        if taken.subject["request"] != request.digest() or taken.body["answer"] != statement.answer:
            raise ApprovalError(
                f"this one-time code of {statement.person} was already used.",
                now="nothing was decided by it.", next_step="wait for the next code, at most 30 seconds.",
            )  # fmt: skip
        marks += f"/{proof.time_step}"
    writer.write(
        EntryType.DECISION_RECORDED, f"decision/{marks}", incident=request.incident,
        subject={"request": request.digest(), "action": request.action},
        body={
            "statement": statement.as_json(), "proof": proof.as_json(), "request": request.id,
            "attested": "signed by the person" if proof.kind is ProofKind.SSH else "attested by quell",
        },
    )  # fmt: skip


def _proof(installation: Installation, statement: Statement, signature: str, code: str) -> Proof:
    person = installation.active().people.get(statement.person)
    if person is None:
        raise ApprovalError(
            f"{statement.person} is not listed among the people of the active configuration.",
            now="nothing was decided.",
            next_step="use the name in config/people.toml, or have a policy owner activate one that lists you.",
        )
    if signature:
        return verify_ssh(statement, signature, person.ssh_keys)
    if code and person.code_secret:
        used = [
            int(entry.body["time_step"])
            for entry in installation.store.entries(types=(EntryType.CODE_VERIFIED,))
            if entry.body["person"] == statement.person
        ]
        secret = resolve_secret(person.code_secret, installation.settings.home)
        return verify_code(code, secret, clock(), used_steps=used)
    raise ApprovalError(
        f"the answer of {statement.person} came without a proof: expected a signature or a one-time code, found neither.",
        now="nothing was decided.",
        next_step="sign with `quell approve REQUEST --as PERSON --key FILE --reason TEXT`, or type the current code.",
    )


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


def statement_for(installation: Installation, request: ApprovalRequest, answer: Answer, person: str, reason: str) -> Statement:
    """What this person signs."""
    return Statement(
        installation=installation.id, request=request.digest(), answer=answer, person=person, reason=reason
    )


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
