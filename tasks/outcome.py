"""Small questions that stages ask of the record, and the pages that a responder sees after each stage."""

from runbooks.domain.case import Ending, action_rows, judge_containment
from runbooks.domain.containment import ContainmentStatus
from runbooks.domain.ledger import EntryType
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
    if incident.near_miss:
        return Ending.NEAR_MISS
    if not rows:
        return Ending.EVIDENCE_ONLY
    contained = judge_containment(rows)
    recovery = writer.last(incident_id, EntryType.RECOVERY_JUDGED)
    if recovery is not None and recovery.body["passed"] and contained.complete:
        asked = writer.entries(incident_id, types=(EntryType.REQUEST_DENIED, EntryType.REQUEST_EXPIRED))
        kept_off = any(entry.body["purpose"] != "contain" for entry in asked)
        return Ending.CONTAINED if kept_off else Ending.RECOVERED
    if contained.complete:
        return Ending.CONTAINED
    some = contained.anything or any(row.status is ContainmentStatus.PARTIAL for row in rows)
    return Ending.PARTIAL if some else Ending.NOT_CONTAINED


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
