"""What the gate shows, and what is written each time a run suspends and wakes."""

from runbooks.domain.approval import Answer, Purpose, Standing, Statement
from runbooks.domain.errors import ApprovalError, QuellError
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Value
from tasks.approval import (
    ask,
    eligible,
    find_request,
    people_who_disabled,
    plan_of,
    requests_of,
    settle,
    verdict_on,
)
from tasks.approval_page import approval_pages, takes_code
from tasks.decisions import submit_decision
from tasks.engine import form_answer, leave_page
from tasks.history import mirror_history
from tasks.installation import Installation
from tasks.ledger import door_actor
from tasks.pages import clean
from tasks.preauthorising import lapsed
from tasks.step import here, pen, run_id, step, tell


class GateView(Value):
    """How the requests of one purpose stand: acts that are granted, requests that are open, who may answer."""

    granted: list[str]
    open: list[str]
    choices: list[str]
    """The open requests as the form lists them: `id: what`."""
    people: list[str]
    """Who may answer, as the form lists them: `name: full name, roles`."""
    proofs: list[str]
    """What at least one open request takes as a proof: the form asks for nothing else."""
    seen: int
    """Size of the ledger before the decisions were read."""


@step("ask for approval")
def request_approvals(incident_id: str, purpose: str, actions: list[str]) -> list[str]:
    """Ask for each of these acts of the plan; returns the ids of the requests that stand."""
    installation, writer = here(), pen()
    incident, plan = installation.incident(incident_id), plan_of(installation, incident_id)
    acted = tuple(sorted(people_who_disabled(installation, incident_id))) if purpose != Purpose.CONTAIN else ()
    waits = plan.waits | lapsed(installation, plan) if purpose == Purpose.CONTAIN else {}
    asked = [
        ask(installation, writer, incident, plan, plan.action(name), Purpose(purpose), acted, waits=waits.get(name, ""))
        for name in actions
    ]
    return [request.id for request in asked if request is not None]


@step("read the decisions")
def view_gate(incident_id: str, purpose: str) -> GateView:
    """Judge every request of this purpose from the record; what is settled is written down once."""
    installation, writer = here(), pen()
    seen = installation.store.size()
    granted, open_requests, people = [], [], set[str]()
    for request in requests_of(installation, incident_id):
        verdict = verdict_on(installation, request)
        if request.purpose == purpose:
            settle(writer, request, verdict)
            if verdict.standing is Standing.GRANTED:
                granted.append(request.step)
        if verdict.standing is Standing.WAITING and request.purpose == purpose:
            open_requests.append(request)
            people |= set(eligible(installation, request))
    return GateView(
        granted=granted, open=[request.id for request in open_requests],
        choices=[choice(request.id, request.what) for request in open_requests],
        people=[_who(installation, name) for name in sorted(people)], seen=seen,
        proofs=sorted({proof for request in open_requests for proof in request.proofs}),
    )  # fmt: skip


def choice(name: str, words: str) -> str:
    """One line of a list in a form: `name: words`."""
    return f"{name}: {' '.join(words.split())}"[:120]


def chosen(line: str) -> str:
    """The name in a line of a list in a form; a bare name is taken too."""
    return line.partition(":")[0].strip()


def _who(installation: Installation, name: str) -> str:
    person = installation.active().people[name]
    return choice(name, f"{person.name}, {', '.join(person.roles)}")


def _last_answer(installation: Installation, incident_id: str) -> str:
    """What became of the newest answer through a form, if the last wake was one."""
    woken = installation.store.entries(incident_id, types=(EntryType.RUN_WOKEN,))
    return str(woken[-1].body["because"]) if woken and woken[-1].body.get("answered") else ""


def next_form() -> str:
    """The key of this run's next form: never one that was used before, also not for another incident.

    (Somebody who changes a run's parameters sends it to another incident; Prefect answers a form of an old key at once.)
    """
    used = here().store.entries(types=(EntryType.RUN_SUSPENDED,), flow_run_id=run_id())
    return f"gate-{len(used)}"


@step("leave the requests on the page")
def record_suspension(incident_id: str, key: str, view: GateView) -> str:
    """Leave the page on the run, mirror the engine's history, and write that the run is about to wait on this form.

    Returns what stands above the form. Empty, and nothing is written, when somebody decided meanwhile: then the run
    looks again instead of going to sleep.
    `seen` says how far the record had been read: whatever is newer wakes the run again, so that an answer in the very
    instant before it sleeps is not lost.
    """
    installation, writer = here(), pen()
    waiting = [request for request in requests_of(installation, incident_id) if request.id in view.open]
    page, form = approval_pages(installation, incident_id, waiting, _last_answer(installation, incident_id))
    count = f"{len(view.open)} decision{'s' if len(view.open) != 1 else ''}"
    leave_page(f"approval-{incident_id.lower()}", page, f"{count} needed", run_id())
    tell(f"{count} needed: {'; '.join(view.choices)}. May answer: {', '.join(chosen(who) for who in view.people)}.")
    tell("To answer: menu ⋮ at the top right, Resume (older interface: the button Resume). Nothing happens without it.")
    mirror_history(incident_id)
    if decided_since(incident_id, view.seen):
        return ""
    writer.write(
        EntryType.RUN_SUSPENDED, f"suspended/{run_id()}/{key}", incident=incident_id,
        body={"form": key, "requests": list(view.open), "seen": view.seen},
    )  # fmt: skip
    return form


def take_in_answers(incident_id: str) -> None:
    """Every form that was left open by a run of this incident: take its answer in, if it has one; write the wake once.

    Forms of an earlier run that died are looked at too: what a person answered there is not lost.
    """
    if forms_left_open(here(), incident_id):
        take_in(incident_id)


def forms_left_open(installation: Installation, incident_id: str) -> list[LedgerEntry]:
    """Forms whose wake is not on record."""
    forms = installation.store.entries(incident_id, types=(EntryType.RUN_SUSPENDED,))
    return [f for f in forms if installation.store.find(f"woken/{f.flow_run_id}/{f.body['form']}") is None]


@step("take in the answers")
def take_in(incident_id: str) -> None:
    """What people answered in them."""
    installation = here()
    for form in forms_left_open(installation, incident_id):
        answer = form_answer(str(form.flow_run_id), str(form.body["form"]))
        _record_wake(installation, incident_id, form, answer)


def _record_wake(
    installation: Installation, incident_id: str, form: LedgerEntry, answer: dict[str, str] | None
) -> None:
    said = "woken without an answer; nothing changes by that"
    answered = answer is not None and bool(answer.get("person") or answer.get("answer") in ("approve", "deny"))
    if answer is not None and answered:
        said = _submit(installation, incident_id, answer)
        page = f"**The last answer through the form:** {clean(said, 1000)}"
        leave_page(f"answer-{incident_id.lower()}", page, "What became of the last answer", run_id())
        tell(f"The last answer through the form: {said}")
    pen().write(
        EntryType.RUN_WOKEN, f"woken/{form.flow_run_id}/{form.body['form']}", incident=incident_id,
        body={"form": form.body["form"], "because": said, "answered": answered},
    )  # fmt: skip


def _submit(installation: Installation, incident_id: str, answer: dict[str, str]) -> str:
    """Hand the form's answer to the one function that accepts decisions; a wrong one gets a sentence and no effect."""
    name, word, person = (chosen(str(answer.get(key, ""))) for key in ("request", "answer", "person"))
    if word not in ("approve", "deny") or not person or not name:
        return (
            "NOT accepted: an answer needs all of: which request, who you are, and approve or deny. "
            "The request still waits. Resume again and choose all three, with a new proof."
        )
    if name not in {request.id for request in requests_of(installation, incident_id)}:
        return "NOT accepted: this incident has no such request. Resume again and choose one of the list."
    try:
        request = find_request(installation, name)
        statement = Statement(
            installation=installation.id, request=request.digest(), answer=Answer(word), person=person, reason=str(answer.get("reason", "")).strip() or "(no reason given)",
        )  # fmt: skip
        verdict = submit_decision(
            installation, statement, door=door_actor("form"), signature=pasted(str(answer.get("signature", ""))),
            code=str(answer.get("one_time_code", "")).strip(),
        )  # fmt: skip
    except ApprovalError as error:
        return f"NOT accepted: {error.problem} The request still waits. Next: {error.next_step}"
    except (QuellError, ValueError) as error:
        return f"NOT accepted: the answer could not be read ({type(error).__name__}). The request still waits."
    waits = f"; it still {verdict.because}" if verdict.still_needed else ""
    stands = f"{request.id} now stands {verdict.standing}{waits}."
    if verdict.counts(statement):
        return f"{word} by {person} was accepted. {stands}"
    again = "" if takes_code(request) else " Answer again with an SSH signature: the page approval says how."
    return f"{word} by {person} was recorded, but does NOT count: {'; '.join(verdict.not_counted)}. {stands}{again}"


def pasted(text: str) -> str:
    """A signature as it was copied: indented, or with its lines run together, it is still the same one."""
    head, tail = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
    whole = text.strip()
    if not (whole.startswith(head) and whole.endswith(tail)):
        return whole
    return "\n".join((head, *whole[len(head) : -len(tail)].split(), tail))


def decided_since(incident_id: str, seen: int) -> bool:
    """Whether a decision came while the run was busy with others: look again before sleeping."""
    found = here().store.entries(incident_id, since=seen, types=(EntryType.DECISION_RECORDED,))
    return bool(found)
