"""One incident by its name, and one waiting request, as the inbox, an incident's page and a program see it."""

from flows.doors.commands._say import plain
from runbooks.domain.approval import ApprovalRequest, Purpose, RequestVerdict, Standing
from runbooks.domain.errors import ApprovalError
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.value import Json
from tasks.approval import eligible
from tasks.installation import Installation


def known_incident(installation: Installation, name: str) -> Incident:
    """The incident with this id, however it was typed; a name that the ledger does not know is a no, not a fault."""
    incident_id = name.strip().upper()
    if incident_id not in installation.store.incidents():
        raise ApprovalError(
            f"no incident {plain(incident_id, 60)} is in the ledger.",
            now="nothing was done.", next_step="`quell incidents` lists the incidents of this installation.",
        )  # fmt: skip
    return installation.incident(incident_id)


def may_answer(installation: Installation, request: ApprovalRequest, verdict: RequestVerdict) -> list[str]:
    """Who may still answer: eligible, and has not been counted yet."""
    return [name for name in eligible(installation, request) if name not in verdict.approvers]


def request_json(
    installation: Installation, request: ApprovalRequest, verdict: RequestVerdict, now: Instant
) -> dict[str, Json]:
    """Everything that a person sees, and how it stands."""
    waits = verdict.standing is Standing.WAITING
    return {
        "request": request.id, "digest": request.digest(), "incident": request.incident, "action": request.step,
        "purpose": request.purpose, "what": request.what, "target": request.target, "why": request.why,
        "blast_radius": request.blast_radius, "reversibility": request.reversibility, "undo": request.undo,
        "manifest": request.manifest, "waiver": request.waiver, "requester": request.requester.as_json(),
        "roles": list(request.roles), "people": request.people, "proofs": list(request.proofs),
        "standing": verdict.standing, "because": verdict.because, "approvers": list(verdict.approvers),
        "denier": verdict.denier, "not_counted": list(verdict.not_counted), "still_needed": verdict.still_needed,
        "may_answer": may_answer(installation, request, verdict) if waits else [], "asked_at": request.asked_at,
        "expires_at": request.expires_at, "expires_in_seconds": milliseconds_between(now, request.expires_at) // 1000,
        "drill": request.drill, "command": command(request) if waits else None,
    }  # fmt: skip


def command(request: ApprovalRequest, person: str | None = None) -> str:
    """The exact words that answer it."""
    proof = "--key ~/.ssh/id_ed25519" if "ssh" in request.proofs else "--code 123456"
    return f'quell approve {request.id} --as {person or "YOU"} {proof} --reason "…"'


def purpose_in_words(purpose: Purpose) -> str:
    """As people say it."""
    return {Purpose.CONTAIN: "take away", Purpose.RE_ENABLE: "give back", Purpose.UNDO: "undo"}[purpose]
