"""What the gate shows, and what is written each time a run suspends and wakes."""

from prefect.artifacts import create_markdown_artifact

from runbooks.domain.approval import Answer, Standing, Statement
from runbooks.domain.errors import ApprovalError, QuellError
from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Value
from tasks.approval import eligible, find_request, requests_of, settle, submit_decision, verdict_on
from tasks.history import mirror_history
from tasks.ledger import door_actor
from tasks.pages import approval_page
from tasks.step import here, pen, run_id, step


class GateView(Value):
    """How the requests of one purpose stand: acts that are granted, requests that are open, the page to show."""

    granted: list[str]
    open: list[str]
    people: list[str]
    text: str


@step("read the decisions")
def view_gate(incident_id: str, purpose: str) -> GateView:
    """Judge every request of this purpose from the record; what is settled is written down once."""
    installation, writer = here(), pen()
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
    return GateView(granted=granted, open=open_requests, people=sorted(people), text=text)


def wakes_of_this_run(incident_id: str) -> int:
    """How often this very run has woken at a gate; the number of its next form."""
    return len(here().store.entries(incident_id, types=(EntryType.RUN_WOKEN,), flow_run_id=run_id()))


def record_suspension(incident_id: str, key: str, view: GateView) -> None:
    """Write that the run is about to wait, with the form's key, and leave the page on the run. Once per form."""
    writer = pen()
    if writer.find(f"suspended/{run_id()}/{key}") is None:
        create_markdown_artifact(view.text, key=f"approval-{incident_id.lower()}", description="Who must answer what")
        mirror_history(incident_id)
    writer.write(
        EntryType.RUN_SUSPENDED, f"suspended/{run_id()}/{key}", incident=incident_id,
        body={"form": key, "requests": list(view.open)},
    )  # fmt: skip


def record_wake(incident_id: str, key: str, answer: dict[str, str] | None) -> None:
    """Take an answer in, if there is one, then write that the run woke. A wrong answer gets a sentence and no effect."""
    installation, writer = here(), pen()
    said = "woken without an answer; nothing changes by that"
    if answer is not None:
        try:
            request = find_request(installation, answer["request"])
            statement = Statement(
                installation=installation.id, request=request.digest(), answer=Answer(answer["answer"]),
                person=answer["person"], reason=answer["reason"] or "(no reason given)",
            )  # fmt: skip
            verdict = submit_decision(
                installation, statement, door=door_actor("form"), signature=answer["signature"].strip(),
                code=answer["one_time_code"].strip(),
            )  # fmt: skip
            said = f"an answer of {statement.person} was accepted; the request now stands {verdict.standing}"
        except ApprovalError as error:
            said = f"the answer was not accepted: {error.problem} {error.next_step}"
        except (QuellError, ValueError) as error:
            said = f"the answer could not be read: {type(error).__name__}; the request still waits"
        create_markdown_artifact(
            f"**Last answer through the form:** {said}", key=f"answer-{incident_id.lower()}",
            description="What became of the last answer",
        )  # fmt: skip
    writer.write(
        EntryType.RUN_WOKEN, f"woken/{run_id()}/{key}", incident=incident_id, body={"form": key, "because": said}
    )
