"""Small questions that stages ask of the record, and the pages that a responder sees after each stage."""

from runbooks.domain.approval import Purpose, Standing
from runbooks.domain.case import Ending, action_rows, judge_ending
from runbooks.domain.review import Review
from tasks.answered_page import leave_answered
from tasks.approval import judge_all, plan_of, settled_key
from tasks.pages import leave_brief, leave_containment, leave_links, leave_manifest, leave_recovery, leave_review
from tasks.preauthorising import lapsed
from tasks.step import here, pen, step


def acts_to_do_at_once(incident_id: str) -> list[str]:
    """Ids of the pre-authorised acts, without those that may begin no more (`lapsed`)."""
    plan = plan_of(here(), incident_id)
    late = lapsed(here(), plan)
    return [name for name in plan.preauthorised if name not in late]


def acts_to_ask_for(incident_id: str) -> list[str]:
    """Ids of the acts that wait for people, with those that were pre-authorised and did not begin in time."""
    plan = plan_of(here(), incident_id)
    late = lapsed(here(), plan)
    return [action.id for action in plan.actions if action.id not in plan.preauthorised or action.id in late]


def ending_of(incident_id: str) -> Ending:
    """How the response ended, from the record alone."""
    installation, writer = here(), pen()
    incident, plan = installation.incident(incident_id), plan_of(installation, incident_id)
    rows = action_rows(plan, writer.entries(incident_id))
    return judge_ending(incident.near_miss, rows, writer.entries(incident_id))


def consented(incident_id: str) -> bool:
    """Whether people consented to taking something away and no run has looked since: that comes before everything else."""
    installation = here()
    return any(
        request.purpose is Purpose.CONTAIN and verdict.standing is Standing.GRANTED
        and installation.store.find(settled_key(request, verdict)) is None
        for request, verdict in judge_all(installation, incident_id)
    )  # fmt: skip


@step("show the incident")
def show_incident(incident_id: str) -> None:
    """Leave the brief on the run page."""
    leave_brief(incident_id)


@step("show where everything is")
def show_links(incident_id: str) -> None:
    """Leave the links on the run page, and what became of everything that people were asked."""
    leave_answered(incident_id)
    leave_links(incident_id)


@step("show the evidence")
def show_evidence(incident_id: str) -> None:
    """Leave the manifest on the run page."""
    leave_manifest(incident_id)


@step("show the containment")
def show_containment(incident_id: str) -> None:
    """Leave the containment table on the run page; the questions end where nothing is open any more."""
    leave_containment(incident_id)
    leave_answered(incident_id)


@step("show the recovery")
def show_recovery(incident_id: str) -> None:
    """Leave the recovery table on the run page."""
    leave_recovery(incident_id)


@step("show the review")
def show_review(review: Review) -> None:
    """Leave the draft on the run page."""
    leave_review(review)
