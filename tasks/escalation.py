"""The ladder of a request that waits: who is told next, and when. A duty of the keeper; nobody is told about hostile text.

Rules, per rung:
1. It is told once its time has come, each channel once.
2. With `repeat_minutes` it is told again after each such time, as long as the request waits. Of reminders that came due
   while no keeper was awake only the newest goes out.
"""

from runbooks.domain.approval import ApprovalRequest, RequestVerdict, Standing
from runbooks.domain.configuration import Rung
from runbooks.domain.instants import Instant, later, milliseconds_between
from runbooks.domain.ledger import EntryType
from runbooks.domain.voices import who_may_answer
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.telling import tell_people


def escalate(installation: Installation, writer: Pen, request: ApprovalRequest, verdict: RequestVerdict) -> list[str]:
    """Every rung whose time has come, by the rules above; returns the names of the people whom they reach.

    Of all requests in a storm people are told once per rung; `quell inbox` shows each.
    """
    if verdict.standing is not Standing.WAITING:
        return []
    reached: list[str] = []
    now = installation.now()
    for number, rung in enumerate(request.ladder):
        if later(request.asked_at, 60 * rung.after_minutes) > now:
            continue
        people = people_on(installation, request, rung, verdict)
        reached += people
        turn = reminders_due(request, rung, now)  # 2
        step = f"{number}/again/{turn}" if turn else f"{number}"
        key = f"escalated/{request.digest()}/{step}"
        writer.write(
            EntryType.REQUEST_ESCALATED, key, incident=request.incident, subject={"request": request.digest()},
            body={
                "request": request.id, "action": request.step, "rung": number, "people": people,
                "channels": list(rung.channels), "reminder": turn,
                "because": f"it has waited for {rung.after_minutes + turn * (rung.repeat_minutes or 0)} min",
            },
        )  # fmt: skip
        storm = installation.incident(request.incident).storm
        tell_people(
            installation,
            writer,
            key if storm is None else f"escalated/{storm}/{step}",
            incident=request.incident,
            channels=rung.channels,
            title=f"quell: {request.id} {'still ' if turn else ''}waits for {', '.join(people) or 'anybody'}",
            text=f"{request.incident}: {request.step} ({request.reversibility}) {verdict.because}. "
            f"Nothing happens without it; it expires at {request.expires_at[:16]} UTC. Answer: quell inbox",
        )
    return reached


def reminders_due(request: ApprovalRequest, rung: Rung, now: Instant) -> int:
    """How many times the people of this rung should have heard of it again by now; 0 when it is told only once."""
    if rung.repeat_minutes is None:
        return 0
    waited = milliseconds_between(later(request.asked_at, 60 * rung.after_minutes), now)
    return max(0, waited // (60_000 * rung.repeat_minutes))


def people_on(installation: Installation, request: ApprovalRequest, rung: Rung, verdict: RequestVerdict) -> list[str]:
    """Whom this rung means: of those who may still answer, the ones in its roles, and (if it says so) their deputies."""
    active = installation.active()
    roles = set(rung.roles or request.roles)
    found = []
    pinned = installation.configuration(request.configuration)
    for name in who_may_answer(request, pinned, active, installation.now()):
        person = active.people[name]
        principal = active.people.get(person.deputy_for) if person.deputy_for else None
        deputises = rung.deputies and principal is not None and bool(roles & set(principal.roles))
        if name not in verdict.approvers and (roles & set(person.roles) or deputises):
            found.append(name)
    return found
