"""What a responder sees on the run page, in markdown. Only quell's own words, names and digests: hostile text stays out.

A page is a view; each is made anew from the record.
"""

from runbooks.domain.case import TIMES_ARE, action_rows
from runbooks.domain.configuration import Configuration
from runbooks.domain.evidence import Manifest
from runbooks.domain.incident import Incident, Standing
from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.recovery import RecoveryVerdict
from runbooks.domain.review import Review
from runbooks.domain.situation import classification_of
from runbooks.domain.value import short
from tasks.approval import plan_of
from tasks.engine import leave_page
from tasks.incident import also_open
from tasks.links import kept, linked
from tasks.preauthorising import lapsed
from tasks.step import here, is_first_process, pen, run_id, tell


def clean(text: str, longest: int = 300) -> str:
    """Text for a table cell: one line, no markup, bounded."""
    kept = "".join(c if c.isprintable() else " " for c in text)
    for mark in "|`<>[]*_#!":
        kept = kept.replace(mark, " " if mark == "|" else "\\" + mark if mark in "*_#[]!`" else " ")
    return kept[:longest]


def _leave(key: str, incident: str, text: str, headline: str) -> None:
    """The page, and its headline where people look first: on the page's card and among the run's lines."""
    if leave_page(f"{key}-{incident.lower()}", text, headline, run_id(), first=is_first_process(incident)):
        tell(f"{headline}. See the artifact {key}.")


def _mark(incident: Incident) -> str:
    return "**DRILL.** Nothing here is real; only practice systems are touched.\n\n" if incident.drill else ""


def counted(number: int, what: str) -> str:
    """`1 act`, `2 acts`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def utc(instant: str) -> str:
    """An instant for people: day and second."""
    return f"{instant[:10]} {instant[11:19]} UTC"


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
    found = classification_of(pen().entries(incident_id))
    same = ", ".join(also_open(here(), incident_id))
    _leave(
        "brief", incident_id,
        f"{_mark(incident)}## {incident.archetype.shown} on {incident.system}: {incident.severity.severity}\n\n"
        f"- **Incident:** {incident.id}, opened {utc(incident.opened_at)}\n"
        f"- **Severity:** {incident.severity.severity}{provisional}\n- **Lead:** {incident.lead}\n"
        f"- **Reported by:** {clean(incident.requester.name)} ({proven})\n"
        + (f"- **Taken for:** {clean(found.in_words)}\n" if found else "")
        + (f"- **Already open when this was opened, for the same system and kind:** {same}. Look there first: it may be the "
           "same harm.\n" if same else "")
        + ("" if incident.known_system else "- **This system is not in config/systems.toml:** evidence is kept, "
           "but nothing can be taken away. If the name is a slip, start again with the right one.\n")
        + f"\n### Why {incident.severity.severity}\n{reasons}\n\n"
        f"### Suspected causes\n{causes or '- none named yet'}\n\n"
        f"What was reported is sealed as evidence (digest `{short(incident.report)}`); "
        "it is not repeated here, because it may be hostile.\n\n"
        f"**What happens:** {_what_happens(incident)} Look at any time in a terminal: "
        f"`quell show {incident.id}`\n\n### Where it is\n{_where(incident_id)}",
        f"{incident.severity.severity}, lead {incident.lead}",
    )  # fmt: skip


def _what_happens(incident: Incident) -> str:
    """What of this incident is done without asking, and what waits for people: by its plan, once it has one."""
    installation, rules = here(), here().active()
    asked = (
        "people are asked for consent. What they are asked stands in the artifact *approval* of this run; they answer with "
        "⋮ → Resume."
    )
    if pen().last(incident.id, EntryType.PLAN_MADE):
        plan = plan_of(installation, incident.id)
        late = lapsed(installation, plan)
        unasked = [act for act in plan.actions if act.id in plan.preauthorised and act.id not in late]
        some, more = bool(plan.actions), len(plan.actions) > len(unasked)
        what = ", ".join(clean(act.title) for act in unasked)
    else:
        book = installation.runbook(incident.archetype, rules)
        some, more = bool(book.containment) and incident.known_system and not incident.near_miss, True
        what = "what the policy allows for it" if _may_begin(incident, rules, installation.now()) else ""
    if not some:
        return "evidence is sealed. Nothing is taken away."
    if what:
        rest = f"for the rest {asked}" if more else "nothing else is planned."
        return (
            f"evidence is sealed; a monitor's signed signal opened this, so it is done without asking: {what}; {rest}"
        )
    return (
        f"evidence is sealed. **Nothing is taken away before people say yes:** {asked} (Only a monitor's signed signal begins "
        "anything without asking, and only what the policy allows for it.)"
    )


def _may_begin(incident: Incident, rules: Configuration, now: Instant) -> bool:
    """Whether the policy lets its signal begin anything without people; the plan says what."""
    origin = incident.origin
    return origin is not None and origin.fresh and origin.received_at is not None and rules.lets_begin(
        incident.archetype, incident.severity.severity, incident.system, origin.source,
        received_at=origin.received_at, now=now,
    )  # fmt: skip


def leave_links(incident_id: str) -> None:
    """Where to find the runs, the review, the evidence, the record."""
    incident = here().incident(incident_id)
    home = _code(str(here().settings.home))
    _leave(
        "links", incident_id,
        f"{_mark(incident)}## Where everything of {incident_id} is\n\n{_where(incident_id)}\n\n"
        f"In a terminal on that machine, with `QUELL_HOME` set to {home}:\n\n"
        f"    quell show {incident_id}            # all of it\n"
        f"    quell export {incident_id} FOLDER   # evidence and a report, for an auditor\n",
        "Runs, review, evidence, record",
    )  # fmt: skip


def _where(incident_id: str) -> str:
    """The same list on every page that has one."""
    installation = here()
    lines = [f"- **{what}:** [{name}]({address})" for what, name, address in linked(installation, incident_id)]
    return "\n".join([*lines, *(f"- **{what}:** {_code(where)}" for what, where in kept(installation, incident_id))])


def _code(text: str) -> str:
    return f"`{text.replace('`', ' ')}`"


def leave_manifest(incident_id: str) -> None:
    """The evidence manifest with its gaps."""
    installation = here()
    sealed = pen().last(incident_id, EntryType.EVIDENCE_SEALED)
    if sealed is None:
        return
    manifest = Manifest.from_bytes(installation.vault.get(sealed.subject["manifest"]))
    incident = installation.incident(incident_id)
    rows = "\n".join(
        f"| {s.evidence_class} | {s.evidence_class.holds} | **{s.captured}** | {_reason(s.reason)} |"
        for s in manifest.standings
    )
    gaps = counted(len(manifest.gaps), "gap") if manifest.gaps else "no gaps"
    headline = f"{counted(manifest.items, 'item')} sealed, {gaps}"
    _leave(
        "evidence", incident_id,
        f"{_mark(incident)}## Evidence: {headline}\n\n"
        f"Sealed {utc(manifest.sealed_at)}, before anything is taken away. {_size(manifest.bytes)}, "
        f"ledger entry {sealed.index}. A gap is something that the runbook wants and that could not be sealed.\n\n"
        f"| Class | What | Sealed? | How much, or why not |\n|---|---|---|---|\n{rows}\n\n"
        f"Digest of the manifest:\n\n    {sealed.subject['manifest']}\n",
        headline,
    )  # fmt: skip


def _reason(text: str) -> str:
    return "1 item" if text == "1 items" else clean(text)


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{max(1, count // 1000)} kB"


def leave_containment(incident_id: str) -> None:
    """The containment table with the times that matter."""
    installation, writer = here(), pen()
    incident = installation.incident(incident_id)
    plan = plan_of(installation, incident_id)
    found = action_rows(plan, writer.entries(incident_id))
    effective = sum(row.effective_at is not None and row.undone_at is None for row in found)
    rows = [
        f"| **{clean(row.title)}** ({row.verb.shown}) | **{row.status}** | {(row.applied_at or '-')[11:19]} | "
        f"{(row.effective_at or '-')[11:19]}{_lag(row.applied_at, row.effective_at)} | "
        f"{(row.undone_at or '-')[11:19]} | {clean(row.because)} |"
        for row in found
    ]
    refused = "\n".join(f"- {clean(text)}" for text in plan.refused)
    table = "\n".join(rows)
    headline = f"{effective} of {counted(len(found), 'act')} effective now"
    _leave(
        "containment", incident_id,
        f"{_mark(incident)}## What was taken away: {headline}\n\n*Applied*: the system said yes. *Effective*: the "
        "harmful path was refused several times in a row, through the path that the agent itself uses. Times are UTC."
        f"{_probed_last(writer.last(incident_id, EntryType.PROBES_JUDGED))} How it stands now: `quell show {incident_id}`"
        "\n\n| What | Status | Applied | Effective | Given back | Why we say so |\n|---|---|---|---|---|---|\n"
        f"{table}\n\n" + (f"### Not planned, or not without people\n{refused}\n" if refused else ""),
        headline,
    )  # fmt: skip


def _probed_last(entry: LedgerEntry | None) -> str:
    return "" if entry is None else f" Last probed for this page at {entry.at[11:19]}."


def _lag(applied: str | None, effective: str | None) -> str:
    if not applied or not effective:
        return ""
    return f" ({max(0, milliseconds_between(applied, effective)) / 1000:.1f} s later)"


def leave_reissue(incident_id: str, revoked: list[tuple[str, str]], until: Instant) -> None:
    """What somebody must issue anew before the fix can be tried: titles of what was revoked, and how it comes back."""
    lines = "\n".join(f"- **{clean(title)}** was done. {clean(how)}" for title, how in revoked)
    _leave(
        "reissue", incident_id,
        f"{_mark(here().incident(incident_id))}## Somebody must issue a new token\n\n{lines}\n\nWhat was revoked "
        "cannot come back, and the agent cannot work without it, so the fix cannot be tried. Its owner issues a new "
        "one, in the system that issues them; nothing need be told to quell, which looks every few seconds. The "
        f"harmful tools stay off.\n\nIt waits until {until[11:16]} UTC. Without a new one by then, the fix counts as one "
        "that does not hold, and nothing is given back.\n",
        "A new token is needed before the fix can be tried",
    )  # fmt: skip


def leave_recovery(incident_id: str) -> None:
    """The recovery table: hits of n against the bar."""
    judged = pen().last(incident_id, EntryType.RECOVERY_JUDGED)
    if judged is None:
        return
    incident = here().incident(incident_id)
    v = RecoveryVerdict.model_validate(judged.body["verdict"])
    word = (v.in_words[0].upper() + v.in_words[1:]).replace(" not ", " NOT ")
    word += "" if v.passed else ": nothing is given back"
    _leave(
        "recovery", incident_id,
        f"{_mark(incident)}## {word}\n\n| What was tried | Result |\n|---|---|\n| attack replayed, harmless | {v.trials} times |\n"
        f"| got through | **{v.hits}** |\n| could not tell (counted as hits) | {v.unclear} |\n"
        f"| true rate is below, with {v.bar.confidence_percent} % confidence | **{v.upper_bound_percent} %** |\n"
        f"| the bar | {v.bar.highest_rate_percent} % |\n"
        f"| benign requests that still work | {v.benign_trials - v.benign_failures} of {v.benign_trials} |\n\n"
        + "\n".join(f"- {clean(reason)}" for reason in v.reasons),
        f"{word.partition(':')[0]}: {v.hits} of {v.trials} got through",
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
        f"{_mark(incident)}## Review of {review.incident} (draft from the ledger)\n\n### Impact\n{bullets(review.impact)}\n\n"
        f"### What worked\n{bullets(review.worked)}\n\n### What did not\n{bullets(review.did_not_work)}\n\n"
        f"### Times\nIn seconds. {TIMES_ARE.capitalize()}.\n\n| | |\n|---|---|\n{times}\n\n### Open questions\n{bullets(review.questions)}\n\n"
        f"### Action items\n| What | Owner | Due | Because |\n|---|---|---|---|\n{actions}\n\n"
        f"### Timeline\n| UTC | What | Entry |\n|---|---|---|\n{line}\n\n### Where it is\n{_where(review.incident)}\n",
        f"Draft: {counted(len(review.actions), 'action item')}, {counted(len(review.questions), 'open question')}",
    )  # fmt: skip
