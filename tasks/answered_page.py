"""What people were asked and how it ended, in the place of the questions once none of them is open."""

from runbooks.domain.approval import Standing
from tasks.approval import judge_all
from tasks.engine import leave_page
from tasks.pages import clean, counted
from tasks.step import here, run_id


def leave_answered(incident_id: str) -> None:
    """The approval page, once everything is answered: nobody looks for a question that is settled. Else it stays."""
    installation = here()
    judged = judge_all(installation, incident_id)
    if not judged or any(verdict.standing is Standing.WAITING for _, verdict in judged):
        return
    incident, rows = installation.incident(incident_id), []
    for request, verdict in judged:
        rows.append(
            f"| {request.id} | {clean(request.what)} | **{verdict.standing}** | "
            f"{', '.join(verdict.approvers) or verdict.denier or 'nobody'} | {clean(verdict.because)} |"
        )
    drill = "**DRILL** (practice systems only). " if incident.drill else ""
    leave_page(
        f"approval-{incident_id.lower()}",
        f"{drill}**Nothing needs a decision now.** If something more is asked, it stands here.\n\n"
        "## What people were asked\n\n| Request | What | Stands | Who decided | Because |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nWho answered when, with which proof: `quell show {incident_id}`\n",
        f"No decision needed now; {counted(len(judged), 'request')} answered", run_id(),
    )  # fmt: skip
