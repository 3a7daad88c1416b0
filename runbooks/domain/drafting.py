"""Drafting the review from the record. What the record does not say becomes a question, never a guess."""

from runbooks.domain.case import ActionRow, action_rows, judge_containment, stage_times
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import UNDO_IMPOSSIBLE, ContainmentStatus, Plan
from runbooks.domain.evidence import Manifest
from runbooks.domain.incident import Incident, Standing
from runbooks.domain.instants import Instant, moment
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.review import ActionItem, Review, TimelineLine, add_working_days
from runbooks.domain.runbook import Runbook

_SHOWN: dict[EntryType, str] = {
    EntryType.INCIDENT_OPENED: "incident opened",
    EntryType.INCIDENT_RECLASSIFIED: "classified anew",
    EntryType.LEAD_CHANGED: "the lead was handed over",
    EntryType.CAUSE_ESTABLISHED: "a cause was established",
    EntryType.EVIDENCE_SEALED: "evidence sealed",
    EntryType.EVIDENCE_WAIVED: "sealing waived: unsafe to wait",
    EntryType.LOCKS_FAILED: "locks on the evidence could not be extended",
    EntryType.AFFECTED_LISTED: "affected records listed",
    EntryType.PLAN_MADE: "plan made",
    EntryType.APPROVAL_REQUESTED: "approval asked for",
    EntryType.DECISION_RECORDED: "decision recorded",
    EntryType.DECISION_REFUSED: "decision refused",
    EntryType.REQUEST_GRANTED: "request granted",
    EntryType.REQUEST_DENIED: "request denied",
    EntryType.REQUEST_EXPIRED: "request expired unanswered",
    EntryType.REQUEST_ESCALATED: "escalated",
    EntryType.TELLING_FAILED: "people could not be told",
    EntryType.ALTERNATIVE_PROPOSED: "another act proposed instead",
    EntryType.BREAK_GLASS_OPENED: "BREAK-GLASS: one person acted alone",
    EntryType.BREAK_GLASS_ENDED: "break-glass ended",
    EntryType.EFFECT_REFUSED: "an effect without the right to it was refused",
    EntryType.EFFECT_APPLIED: "applied",
    EntryType.EFFECT_FAILED: "failed",
    EntryType.EFFECT_UNKNOWN: "outcome unknown",
    EntryType.PROBES_JUDGED: "probed",
    EntryType.CONTAINMENT_JUDGED: "containment judged",
    EntryType.RECOVERY_JUDGED: "recovery judged",
    EntryType.EFFECT_UNDONE: "given back",
    EntryType.UNDO_IMPOSSIBLE: "cannot be given back",
    EntryType.RESPONSE_RESTARTED: "the response was restarted",
    EntryType.RUN_INTERFERED: "the run was interfered with",
    EntryType.RUN_REFUSED: "a foreign run was refused",
    EntryType.PERSON_NEEDED: "a person is needed",
    EntryType.REVIEW_SCHEDULED: "review scheduled",
    EntryType.INCIDENT_CLOSED: "closed",
}
"""Entries that a person wants in a timeline, in words. The rest is in `quell show --all`."""


def timeline(entries: list[LedgerEntry]) -> tuple[TimelineLine, ...]:
    """The entries worth a line, each citing its index."""
    lines = []
    for entry in entries:
        words = _SHOWN.get(entry.type)
        if words is None:
            continue
        about = next(
            (entry.body[key] for key in ("action", "ending", "leads", "established") if entry.body.get(key)), ""
        )
        by = f" by {entry.actor.name}" if entry.actor.kind == "person" else ""
        because = str(entry.body.get("because", ""))
        what = f"{words}{by}" + (f": {about}" if about else "") + (f" ({because})" if because else "")
        lines.append(TimelineLine(at=entry.at, entry=entry.index, what=what))
    return tuple(lines)


def draft_review(
    incident: Incident,
    entries: list[LedgerEntry],
    plan: Plan | None,
    manifest: Manifest | None,
    runbook: Runbook,
    configuration: Configuration,
    now: Instant,
) -> Review:
    """The draft of the review, from the record alone."""
    rows = action_rows(plan, entries) if plan else ()
    contained = judge_containment(rows)
    affected = next((e for e in entries if e.type is EntryType.AFFECTED_LISTED), None)
    recovery = next((e for e in entries if e.type is EntryType.RECOVERY_JUDGED), None)
    impact = [f"{incident.severity.severity}: {reason}" for reason in incident.severity.reasons]
    if affected is not None:
        impact.append(f"{affected.body['records']} affected records, {affected.body['facts']} of them facts")
    impact += [
        f"cause, established: {cause.cause.replace('_', ' ')} ({cause.because})"
        for cause in incident.causes
        if cause.standing is Standing.FACT
    ]
    worked = [f"{row.title}: effective ({row.because})" for row in rows if row.effective_at]
    wanting = [f"{row.title}: {row.status} ({row.because})" for row in rows if not row.effective_at]
    if recovery is not None:
        (worked if recovery.body["passed"] else wanting).append(f"recovery: {recovery.body['because']}")
    if manifest is not None:
        wanting += [f"evidence {s.evidence_class} ({s.evidence_class.holds}): {s.reason}" for s in manifest.gaps]
    wanting += [f"not planned: {text}" for text in (plan.refused if plan else ())]
    questions = [
        f"Is it true that {cause.cause.replace('_', ' ')} was a cause ({cause.because})?"
        for cause in incident.causes
        if cause.standing is Standing.HYPOTHESIS
    ]
    if incident.began_at is None:
        questions.append("When did it begin? Nobody said, so how long it took to detect is not known.")
    questions += ["Why was this possible?", "Why was it not stopped sooner?", "Which assumption proved wrong?"]
    questions += [
        f"Was it right that {entry.body['person']} acted alone on {entry.body['action']}, and why was nobody else there?"
        for entry in entries if entry.type is EntryType.BREAK_GLASS_OPENED
    ]  # fmt: skip
    questions += list(runbook.review.questions)
    return Review(
        incident=incident.id, drafted_at=now, timeline=timeline(entries), impact=tuple(impact), worked=tuple(worked),
        did_not_work=tuple(wanting), seconds=stage_times(entries), questions=tuple(questions),
        actions=_actions(incident, rows, contained.missing, entries, configuration, now, manifest),
    )  # fmt: skip


def _actions(
    incident: Incident,
    rows: tuple[ActionRow, ...],
    missing: tuple[str, ...],
    entries: list[LedgerEntry],
    configuration: Configuration,
    now: Instant,
    manifest: Manifest | None,
) -> tuple[ActionItem, ...]:
    system = configuration.systems.get(incident.system)
    owner = system.owner if system else incident.lead
    soon = add_working_days(moment(now), 5, configuration.policy.review.holidays).date().isoformat()
    items = [
        ActionItem(what=f"Add the recorded attack of {incident.id} to the regression trials", owner=owner, due=soon,
                   because="an incident that is not a test comes back"),
    ]  # fmt: skip
    items += [
        ActionItem(
            what=f"{'Reissue' if row.verb in UNDO_IMPOSSIBLE else 'Give back, or decide that it stays away'}: {row.title}",
            owner=owner,
            due=soon,
            because=row.undo_note,
        )
        for row in rows
        if row.undo_note and row.status is not ContainmentStatus.UNDONE
    ]
    items += [ActionItem(what=f"Decide about {name}", owner=incident.lead, due=soon, because="not effective")
              for name in missing]  # fmt: skip
    if manifest is not None:
        items += [
            ActionItem(what=f"Close the evidence gap {s.evidence_class} ({s.evidence_class.holds})", owner=owner,
                       due=soon, because=s.reason)
            for s in manifest.gaps
        ]  # fmt: skip
    if any(entry.type is EntryType.PERSON_NEEDED for entry in entries):
        items.append(
            ActionItem(what="Go through every entry that asked for a person", owner=incident.lead, due=soon,
                       because="the response could not settle it alone")
        )  # fmt: skip
    return tuple(items)
