"""Small questions that stages ask of the record, and the pages that a responder sees after each stage."""

from runbooks.domain.case import Ending, action_rows, judge_ending
from tasks.approval import plan_of
from tasks.pages import leave_containment, leave_manifest, leave_recovery
from tasks.step import here, pen, step


def acts_to_do_at_once(incident_id: str) -> list[str]:
    """Ids of the pre-authorised acts."""
    return list(plan_of(here(), incident_id).preauthorised)


def acts_to_ask_for(incident_id: str) -> list[str]:
    """Ids of the acts that wait for people."""
    plan = plan_of(here(), incident_id)
    return [action.id for action in plan.actions if action.id not in plan.preauthorised]


def ending_of(incident_id: str) -> Ending:
    """How the response ended, from the record alone."""
    installation, writer = here(), pen()
    incident, plan = installation.incident(incident_id), plan_of(installation, incident_id)
    rows = action_rows(plan, writer.entries(incident_id))
    return judge_ending(incident.near_miss, rows, writer.entries(incident_id))


@step("show the evidence")
def show_evidence(incident_id: str) -> None:
    """Leave the manifest on the run page."""
    leave_manifest(incident_id)


@step("show the containment")
def show_containment(incident_id: str) -> None:
    """Leave the containment table on the run page."""
    leave_containment(incident_id)


@step("show the recovery")
def show_recovery(incident_id: str) -> None:
    """Leave the recovery table on the run page."""
    leave_recovery(incident_id)
