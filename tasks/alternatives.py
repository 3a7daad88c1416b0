"""After a denial: what the runbook proposes instead, narrower or wider, is asked for as a new request; or a person is needed.

The denied act stays in the plan as refused: it is never rounded up to contained.
"""

from runbooks.domain.approval import Purpose
from runbooks.domain.containment import Plan
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.planning import alternatives_to
from runbooks.domain.runbook import Runbook
from tasks.approval import ask, plan_of
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.step import here, pen, step


@step("look for another way")
def offer_alternatives(incident_id: str) -> list[str]:
    """Answer every denial of taking away, once; returns the ids of the requests that were asked because of it."""
    installation, writer = here(), pen()
    denied = installation.store.entries(incident_id, types=(EntryType.REQUEST_DENIED,))
    return [
        request for entry in denied if entry.body["purpose"] == Purpose.CONTAIN
        for request in offer(installation, writer, incident_id, entry)
    ]  # fmt: skip


def offer(installation: Installation, writer: Pen, incident_id: str, denial: LedgerEntry) -> list[str]:
    """The same for one denial."""
    key = f"instead/{denial.subject['request']}"
    if writer.find(key) is not None:
        return []
    plan, incident = plan_of(installation, incident_id), installation.incident(incident_id)
    denied = str(denial.body["action"])
    found = alternatives_to(
        plan.action(denied), plan, incident, Runbook.from_bytes(installation.vault.get(plan.runbook)),
        installation.configuration(plan.configuration),
    )  # fmt: skip
    because = f"{denied}: {denial.body['because']}"
    if not found:
        writer.write(
            EntryType.PERSON_NEEDED, key, incident=incident_id, subject={"request": denial.subject["request"]},
            body={"because": f"{because}; the runbook knows no other act", "needed": "decide what to do instead"},
        )  # fmt: skip
        return []
    wider = plan.model_copy(update={"actions": (*plan.actions, *(action for action, _ in found))})
    _plan(installation, writer, wider, key)
    asked = [ask(installation, writer, incident, wider, action, Purpose.CONTAIN) for action, _ in found]
    writer.write(
        EntryType.ALTERNATIVE_PROPOSED, key, incident=incident_id, subject={"request": denial.subject["request"]},
        body={
            "instead_of": denied, "because": because,
            "proposed": [f"{action.id} ({'wider' if other.wider else 'narrower'})" for action, other in found],
        },
    )  # fmt: skip
    return [request.id for request in asked if request is not None]


def _plan(installation: Installation, writer: Pen, plan: Plan, key: str) -> None:
    writer.write(
        EntryType.PLAN_MADE, f"planned/{plan.incident}/{key}", incident=plan.incident,
        subject={"plan": installation.keep(plan), "configuration": plan.configuration, "runbook": plan.runbook},
        body={
            "actions": [a.id for a in plan.actions], "preauthorised": list(plan.preauthorised),
            "refused": list(plan.refused),
        },
    )  # fmt: skip
