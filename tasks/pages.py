"""What a responder sees on the run page, in markdown. Only quell's own words, names and digests: hostile text stays out.

A page is a view; each is made anew from the record.
"""

from prefect.artifacts import create_markdown_artifact

from runbooks.domain.approval import ApprovalRequest, Purpose
from runbooks.domain.case import action_rows
from runbooks.domain.evidence import Manifest
from runbooks.domain.incident import Incident, Standing
from runbooks.domain.instants import milliseconds_between, moment
from runbooks.domain.ledger import EntryType
from runbooks.domain.recovery import RecoveryVerdict
from runbooks.domain.review import Review
from runbooks.domain.value import short
from tasks.approval import eligible, plan_of, requests_of, verdict_on
from tasks.installation import Installation
from tasks.step import here, pen


def clean(text: str) -> str:
    """Text for a table cell: one line, no markup, bounded."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    for mark in "|`<>[]*_#!":
        kept = kept.replace(mark, " " if mark == "|" else "\\" + mark if mark in "*_#[]!`" else " ")
    return kept[:300]


def _leave(key: str, incident: str, text: str, description: str) -> None:
    create_markdown_artifact(text, key=f"{key}-{incident.lower()}", description=description)


def _mark(incident: Incident) -> str:
    return "> **DRILL.** Nothing here is real; only practice systems are touched.\n\n" if incident.drill else ""


def leave_brief(incident_id: str) -> None:
    """The incident brief: what is known, who leads, how bad and why."""
    incident = here().incident(incident_id)
    causes = "\n".join(
        f"- {'FACT' if c.standing is Standing.FACT else 'only a hypothesis'}: {c.cause.replace('_', ' ')}"
        for c in incident.causes
    )
    reasons = "\n".join(f"- {clean(reason)}" for reason in incident.severity.reasons)
    provisional = " (provisional: correct it when you know more)" if incident.severity.provisional else ""
    proven = "proven" if incident.requester.proven else "a typed name: one person more must approve"
    _leave(
        "brief", incident_id,
        f"{_mark(incident)}# {incident.id}: {incident.archetype.shown} on {incident.system}\n\n"
        f"**{incident.severity.severity}**{provisional} · lead **{incident.lead}** · "
        f"asked for by {clean(incident.requester.name)} ({proven}) · opened {incident.opened_at[:19]} UTC\n\n"
        f"## Why {incident.severity.severity}\n{reasons}\n\n"
        f"## Suspected causes\n{causes or '- none named yet'}\n\n"
        f"What was reported is sealed as evidence (digest `{short(incident.report)}`); "
        "it is not repeated here, because it may be hostile.\n\n"
        f"**What happens next:** evidence is sealed, then you are asked for consent. Look at any time: "
        f"`quell show {incident.id}`",
        "What is known, who leads, how bad it is",
    )  # fmt: skip


def leave_manifest(incident_id: str) -> None:
    """The evidence manifest with its gaps."""
    installation = here()
    sealed = pen().last(incident_id, EntryType.EVIDENCE_SEALED)
    if sealed is None:
        return
    manifest = Manifest.from_bytes(installation.vault.get(sealed.subject["manifest"]))
    incident = installation.incident(incident_id)
    rows = "\n".join(
        f"| {s.evidence_class} | {s.evidence_class.holds} | **{s.captured}** | {clean(s.reason)} |"
        for s in manifest.standings
    )
    gaps = f"**{len(manifest.gaps)} gaps**, each named below" if manifest.gaps else "no gaps"
    _leave(
        "evidence", incident_id,
        f"{_mark(incident)}# Evidence sealed: {manifest.items} items, {manifest.bytes} bytes, {gaps}\n\n"
        f"Manifest `{sealed.subject['manifest']}`, sealed {manifest.sealed_at[:19]} UTC, ledger entry {sealed.index}\n\n"
        f"| | What | Sealed? | |\n|---|---|---|---|\n{rows}\n",
        "What is sealed, and every gap",
    )  # fmt: skip


def leave_containment(incident_id: str) -> None:
    """The containment table with the times that matter."""
    installation, writer = here(), pen()
    incident = installation.incident(incident_id)
    plan = plan_of(installation, incident_id)
    rows = []
    for row in action_rows(plan, writer.entries(incident_id)):
        lag = ""
        if row.applied_at and row.effective_at:
            lag = f"{max(0, milliseconds_between(row.applied_at, row.effective_at)) / 1000:.1f} s later"
        rows.append(
            f"| {clean(row.title)} | {row.verb.shown} | {row.reversibility} | **{row.status}** | "
            f"{(row.applied_at or '')[11:19]} | {(row.effective_at or '')[11:19]} {lag} | {clean(row.because)} |"
        )
    refused = "\n".join(f"- {clean(text)}" for text in plan.refused)
    table = "\n".join(rows)
    _leave(
        "containment", incident_id,
        f"{_mark(incident)}# What was taken away\n\n*Applied* means that the system said yes. *Effective* means that the "
        "harmful path was refused several times in a row, through the path that the agent itself uses.\n\n"
        "| What | How | Class | Known status | Applied | Effective | Why we say so |\n|---|---|---|---|---|---|---|\n"
        f"{table}\n\n" + (f"**Not planned**\n{refused}\n" if refused else ""),
        "Every act: applied, effective, or not",
    )  # fmt: skip


def leave_recovery(incident_id: str) -> None:
    """The recovery table: hits of n against the bar."""
    judged = pen().last(incident_id, EntryType.RECOVERY_JUDGED)
    if judged is None:
        return
    incident = here().incident(incident_id)
    v = RecoveryVerdict.model_validate(judged.body["verdict"])
    word = "The fix holds" if v.passed else "The fix does NOT hold: nothing is given back"
    _leave(
        "recovery", incident_id,
        f"{_mark(incident)}# {word}\n\n| | |\n|---|---|\n| attack replayed, harmless | {v.trials} times |\n"
        f"| got through | **{v.hits}** |\n| could not tell (counted as hits) | {v.unclear} |\n"
        f"| true rate is below, with {v.bar.confidence_percent} % confidence | **{v.upper_bound_percent} %** |\n"
        f"| the bar | {v.bar.highest_rate_percent} % |\n"
        f"| benign requests that still work | {v.benign_trials - v.benign_failures} of {v.benign_trials} |\n\n"
        + "\n".join(f"- {clean(reason)}" for reason in v.reasons),
        "Hits of n against the bar",
    )  # fmt: skip


def leave_review(review: Review) -> None:
    """The review draft."""
    incident = here().incident(review.incident)

    def bullets(lines: tuple[str, ...]) -> str:
        return "\n".join(f"- {clean(line)}" for line in lines) or "- none"

    times = "\n".join(f"| {name.replace('_', ' ')} | {value} s |" for name, value in review.seconds.items())
    line = "\n".join(f"| {one.at[11:23]} | {clean(one.what)} | {one.entry} |" for one in review.timeline)
    actions = "\n".join(f"| {clean(a.what)} | {a.owner} | {a.due} | {clean(a.because)} |" for a in review.actions)
    _leave(
        "review", review.incident,
        f"{_mark(incident)}# Review of {review.incident} (draft from the ledger)\n\n## Impact\n{bullets(review.impact)}\n\n"
        f"## What worked\n{bullets(review.worked)}\n\n## What did not\n{bullets(review.did_not_work)}\n\n"
        f"## Times, from the opening\n| | |\n|---|---|\n{times}\n\n## Open questions\n{bullets(review.questions)}\n\n"
        f"## Action items\n| What | Owner | Due | Because |\n|---|---|---|---|\n{actions}\n\n"
        f"## Timeline\n| UTC | What | Entry |\n|---|---|---|\n{line}\n",
        "Timeline, impact, times, questions, action items",
    )  # fmt: skip


def approval_page(installation: Installation, incident_id: str, request_ids: list[str]) -> str:
    """What a person needs to decide, and how to answer, for every open request."""
    incident = installation.incident(incident_id)
    chosen = [r for r in requests_of(installation, incident_id) if r.id in request_ids]
    parts = [
        f"{_mark(incident)}# {len(chosen)} decision{'s' if len(chosen) != 1 else ''} needed: {incident.id}, "
        f"{incident.archetype.shown} on {incident.system}, {incident.severity.severity}\n"
    ]
    parts += [_one_request(installation, request) for request in chosen]
    parts.append(
        "---\n**How to answer.** Here: open this run, menu **⋮ → Resume**, choose the request, your name, approve or "
        "deny, a reason, and your one-time code (or paste a signature). Or in a terminal:\n\n"
        '    quell approve REQUEST --as YOU --key ~/.ssh/id_ed25519 --reason "…"\n'
        '    quell deny    REQUEST --as YOU --key ~/.ssh/id_ed25519 --reason "…"\n\n'
        "If nobody answers, the request expires and nothing is done. Resuming without an answer changes nothing."
    )
    return "\n".join(parts)


def _one_request(installation: Installation, request: ApprovalRequest) -> str:
    verdict = verdict_on(installation, request)
    who = ", ".join(eligible(installation.active(), request)) or "nobody who is listed"
    answered = ", ".join(verdict.approvers) or "nobody yet"
    left = (moment(request.expires_at) - moment(request.asked_at)).total_seconds() / 60
    giving_back = request.purpose is not Purpose.CONTAIN
    proofs = " or ".join("an SSH signature" if p == "ssh" else "a one-time code" for p in request.proofs)
    return (
        f"## {request.id}: {clean(request.what)}\n\n| | |\n|---|---|\n"
        f"| **What will be done** | {clean(request.what)} ({clean(request.target)}) |\n"
        f"| **Why** | {clean(request.why)} |\n"
        f"| **What it breaks** | {clean(request.blast_radius)} |\n"
        f"| **Can it be undone?** | {request.reversibility.meaning}: {clean(request.undo)} |\n"
        f"| **Evidence** | sealed, manifest `{short(request.manifest) if request.manifest else 'WAIVED'}` |\n"
        f"| **Asked for by** | {clean(request.requester.name)} "
        f"({'proven' if request.requester.proven else 'not proven, so one person more'}) |\n"
        f"| **Needed** | {request.people} of: {', '.join(request.roles)}; proof: {proofs} |\n"
        f"| **Answered** | {answered} |\n| **Still needed** | {clean(verdict.because)} (may answer: {who}) |\n"
        f"| **If nobody answers** | it expires {request.expires_at[:16]} UTC ({left:.0f} min after asking); nothing "
        f"{'is given back' if giving_back else 'is done'} |\n"
        f"| **Digest** | `{request.digest()}` |\n"
    )
