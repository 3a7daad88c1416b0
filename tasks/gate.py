"""What the gate shows, and what is written each time a run suspends and wakes."""

from prefect.artifacts import create_markdown_artifact

from runbooks.domain.approval import Answer, Standing, Statement
from runbooks.domain.errors import ApprovalError, QuellError
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Value
from tasks.approval import eligible, find_request, requests_of, settle, verdict_on
from tasks.decisions import submit_decision
from tasks.engine import form_answer
from tasks.history import mirror_history
from tasks.installation import Installation
from tasks.ledger import door_actor
from tasks.pages import approval_page, clean
from tasks.step import here, pen, run_id, step


class GateView(Value):
    """How the requests of one purpose stand: acts that are granted, requests that are open, the page to show."""

    granted: list[str]
    open: list[str]
    people: list[str]
    text: str
    seen: int
    """Size of the ledger before the decisions were read."""


@step("read the decisions")
def view_gate(incident_id: str, purpose: str) -> GateView:
    """Judge every request of this purpose from the record; what is settled is written down once."""
    installation, writer = here(), pen()
    seen = installation.store.size()
    granted, open_requests, people = [], [], set()
    for request in requests_of(installation, incident_id):
        verdict = verdict_on(installation, request)
        if request.purpose == purpose:
            settle(writer, request, verdict)
            if verdict.standing is Standing.GRANTED:
                granted.append(request.step)
        if verdict.standing is Standing.WAITING and request.purpose == purpose:
            open_requests.append(request.id)
            people |= set(eligible(installation.active(), request))
    text = approval_page(installation, incident_id, open_requests) if open_requests else ""
    return GateView(granted=granted, open=open_requests, people=sorted(people), text=text, seen=seen)


def next_form(incident_id: str) -> str:
    """The key of this run's next form: never one that was used before."""
    used = here().store.entries(incident_id, types=(EntryType.RUN_SUSPENDED,), flow_run_id=run_id())
    return f"gate-{len(used)}"


@step("leave the requests on the page")
def record_suspension(incident_id: str, key: str, view: GateView) -> None:
    """Leave the page on the run, mirror the engine's history, and write that the run is about to wait on this form.

    `seen` says how far the record had been read: whatever is newer wakes the run again, so that an answer in the very
    instant before it sleeps is not lost.
    """
    writer = pen()
    create_markdown_artifact(view.text, key=f"approval-{incident_id.lower()}", description="Who must answer what")
    mirror_history(incident_id)
    writer.write(
        EntryType.RUN_SUSPENDED, f"suspended/{run_id()}/{key}", incident=incident_id,
        body={"form": key, "requests": list(view.open), "seen": view.seen},
    )  # fmt: skip


@step("take in the answers")
def take_in_answers(incident_id: str) -> None:
    """Every form that was left open by a run of this incident: take its answer in, if it has one; write the wake once.

    Forms of an earlier run that died are looked at too: what a person answered there is not lost.
    """
    installation = here()
    forms = installation.store.entries(incident_id, types=(EntryType.RUN_SUSPENDED,))
    for form in forms:
        if installation.store.find(f"woken/{form.flow_run_id}/{form.body['form']}") is None:
            answer = form_answer(str(form.flow_run_id), str(form.body["form"]))
            _record_wake(installation, incident_id, form, answer)


def _record_wake(
    installation: Installation, incident_id: str, form: LedgerEntry, answer: dict[str, str] | None
) -> None:
    said = "woken without an answer; nothing changes by that"
    if answer is not None and (answer.get("person") or answer.get("answer") in ("approve", "deny")):
        said = _submit(installation, answer)
        create_markdown_artifact(
            f"**Last answer through the form:** {clean(said)}", key=f"answer-{incident_id.lower()}",
            description="What became of the last answer",
        )  # fmt: skip
    pen().write(
        EntryType.RUN_WOKEN, f"woken/{form.flow_run_id}/{form.body['form']}", incident=incident_id,
        body={"form": form.body["form"], "because": said},
    )  # fmt: skip


def _submit(installation: Installation, answer: dict[str, str]) -> str:
    """Hand the form's answer to the one function that accepts decisions; a wrong one gets a sentence and no effect."""
    try:
        request = find_request(installation, str(answer.get("request", "")))
        statement = Statement(
            installation=installation.id, request=request.digest(), answer=Answer(str(answer.get("answer", ""))),
            person=str(answer.get("person", "")), reason=str(answer.get("reason", "")) or "(no reason given)",
        )  # fmt: skip
        verdict = submit_decision(
            installation, statement, door=door_actor("form"), signature=str(answer.get("signature", "")).strip(),
            code=str(answer.get("one_time_code", "")).strip(),
        )  # fmt: skip
    except ApprovalError as error:
        return f"the answer was not accepted: {error.problem} {error.next_step}"
    except (QuellError, ValueError) as error:
        return f"the answer could not be read ({type(error).__name__}); the request still waits"
    return f"an answer of {statement.person} was accepted; the request now stands {verdict.standing}"
