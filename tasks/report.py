"""The report of an incident for a person: one self-contained page, made from the record, printable, nothing fetched.

It is a view. Whoever doubts it checks the entries that it cites; their numbers stand beside every line.
"""

from runbooks.domain.audit import told
from runbooks.domain.case import ActionRow, action_rows, judge_containment, stage_times
from runbooks.domain.containment import ContainmentStatus, Plan
from runbooks.domain.evidence import EvidenceClass, Manifest
from runbooks.domain.incident import Incident, Report
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.recovery import RecoveryVerdict
from runbooks.domain.situation import classification_of, situation
from runbooks.domain.value import short
from tasks.anchors import unanchored
from tasks.installation import Installation
from tasks.report_picture import picture
from tasks.report_words import STYLE, pill, plain, shown, table
from tasks.signatures import Signatures

_STANDS = {
    ContainmentStatus.EFFECTIVE: True, ContainmentStatus.UNDONE: True, ContainmentStatus.FAILED: False,
    ContainmentStatus.UNKNOWN: False, ContainmentStatus.REFUSED: False,
}  # fmt: skip

_SAID = {
    EntryType.EVIDENCE_WAIVED: "waived", EntryType.DECISION_REFUSED: "not accepted",
    EntryType.BREAK_GLASS_OPENED: "BREAK-GLASS: acted alone",
}  # fmt: skip


def report_html(
    installation: Installation, incident_id: str, entries: list[LedgerEntry], classes: frozenset[EvidenceClass]
) -> bytes:
    """The page. What belongs to an evidence class that is not handed over is left out and said to be."""
    incident = installation.incident(incident_id)
    planned = _last(entries, EntryType.PLAN_MADE)
    plan = Plan.from_bytes(installation.vault.get(planned.subject["plan"])) if planned else None
    rows = action_rows(plan, entries) if plan else ()
    sealed = _last(entries, EntryType.EVIDENCE_SEALED)
    manifest = Manifest.from_bytes(installation.vault.get(sealed.subject["manifest"])) if sealed else None
    judged = _last(entries, EntryType.RECOVERY_JUDGED)
    verdict = RecoveryVerdict.model_validate(judged.body["verdict"]) if judged else None
    signatures = installation.signatures()
    believed = [entry for entry in entries if not signatures.fault(entry)]
    parts = [
        _head(incident, entries, rows), _figures(entries, rows, manifest, verdict), _timeline(believed, rows),
        _said(installation, incident, classes), _acts(rows, plan), _answers(entries, signatures), _recovery(verdict),
        _evidence(manifest), _calls(entries), _record(entries), _proof(installation, entries),
    ]  # fmt: skip
    title = f"{incident.id}: {incident.archetype.shown} on {incident.system}"
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{shown(title)}</title>'
        f"<style>{STYLE}</style></head><body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )
    return page.encode()


def _last(entries: list[LedgerEntry], kind: EntryType) -> LedgerEntry | None:
    return next((entry for entry in reversed(entries) if entry.type is kind), None)


def _head(incident: Incident, entries: list[LedgerEntry], rows: tuple[ActionRow, ...]) -> str:
    drill = '<span class="drill">DRILL</span>' if incident.drill else ""
    where = situation(entries)
    contained = judge_containment(rows)
    stands = where.stage[:1].upper() + where.stage[1:]
    judged = _last(entries, EntryType.RECOVERY_JUDGED)
    tried = judged is not None and dict(judged.body["verdict"]).get("trials", 0)
    holds = "The fix holds." if judged is not None and judged.body["passed"] else "The fix does not hold."
    fix = "" if judged is None else f" {holds}" if tried else " Whether the fix holds was not tried."
    provisional = " (provisional)" if incident.severity.provisional else ""
    found = classification_of(entries)
    taken_for = f'<p class="soft">Taken for {shown(found.in_words)}.</p>' if found else ""
    return (
        f"<header><div><h1>{shown(incident.archetype.shown.replace('-', ' ').capitalize())} on {shown(incident.system)}</h1>"
        f'<div class="soft">{shown(incident.id)} · {incident.severity.severity}{provisional} · lead {shown(incident.lead)} · '
        f"opened {incident.opened_at[:10]} {incident.opened_at[11:19]} UTC</div></div>{drill}</header>"
        f'<p class="verdict">{shown(stands)}. Containment: {shown(contained.because)}.{fix}</p>'
        f'<p class="soft">{shown("; ".join(incident.severity.reasons))}</p>{taken_for}'
    )


def _figures(
    entries: list[LedgerEntry], rows: tuple[ActionRow, ...], manifest: Manifest | None, verdict: RecoveryVerdict | None
) -> str:
    times = stage_times(entries)
    found = [
        (_time(times.get("to_seal")), "from opening to sealed evidence"),
        (_time(times.get("to_approve")), "to the first consent"),
        (_time(times.get("to_applied")), "to the first act applied"),
        (_time(times.get("to_all_effective")), "until every act was seen to be effective"),
        (f"{sum(bool(r.effective_at) for r in rows)} of {len(rows)}", "acts proven effective"),
    ]
    if verdict is not None:
        hits = f"{verdict.hits} of {verdict.trials}" if verdict.trials else "not tried"
        found.append((hits, "recorded attacks that still got through"))
    if manifest is not None:
        found.append(
            (f"{manifest.items}", f"items sealed, {len(manifest.gaps)} named gap{'s' * (len(manifest.gaps) != 1)}")
        )
    cells = "".join(
        f'<div class="figure"><b>{shown(value)}</b><span>{shown(what)}</span></div>' for value, what in found
    )
    return f'<div class="figures">{cells}</div>'


def _time(seconds: str | None) -> str:
    if seconds is None:
        return "not reached"
    value = float(seconds)
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _timeline(entries: list[LedgerEntry], rows: tuple[ActionRow, ...]) -> str:
    keys = (
        ("striped", "applied: the system said yes, nothing is proven"), ("solid", "effective: the harmful path was refused"),
    )  # fmt: skip
    legend = "".join(
        f'<span><svg class="key" viewBox="0 0 26 12"><rect class="{kind}" width="26" height="12"/></svg>{words}</span>'
        for kind, words in keys
    )
    more = "<span>○ asked</span><span>| an answer</span><span>● consent</span><span>→ given back</span>"
    return (
        f"<h2>What happened</h2><figure>{picture(entries, rows)}<figcaption>{legend}{more}"
        "<span>Times are UTC; long quiet stretches are cut and say how long they were.</span></figcaption></figure>"
    )


def _said(installation: Installation, incident: Incident, classes: frozenset[EvidenceClass]) -> str:
    if EvidenceClass.J not in classes:
        return '<h2>What was reported</h2><p class="soft">Withheld with class J (reports and screens).</p>'
    report = Report.from_bytes(installation.vault.get(incident.report))
    proven = "proven" if incident.requester.proven else "not proven, so one person more had to agree"
    causes = "".join(
        f"<li>{shown(c.standing.upper())}: {shown(c.cause.replace('_', ' '))}. {shown(c.because)}</li>"
        for c in incident.causes
    )
    return (
        f"<h2>What was reported</h2><blockquote>{shown(report.what_happened, 4000)}</blockquote>"
        f'<p class="soft">In the words of {shown(report.reporter)} ({proven}). Kept as evidence, never executed.</p>'
        + (f"<ul>{causes}</ul>" if causes else "")
    )


def _acts(rows: tuple[ActionRow, ...], plan: Plan | None) -> str:
    body = [
        (
            _act(row),
            pill(row.status, _STANDS.get(row.status)), _clock(row.applied_at), _clock(row.effective_at),
            _clock(row.undone_at), shown(row.undo_note or row.because),
        )
        for row in rows
    ]  # fmt: skip
    refused = "".join(f"<li>{shown(text)}</li>" for text in (plan.refused if plan else ()))
    return (
        "<h2>What was taken away</h2>"
        + table(
            ("Act", "Known status", "Applied", "Effective", "Given back", "Why we say so"), body, "Nothing was planned."
        )
        + (f"<p>Asked for by the runbook and not possible here:</p><ul>{refused}</ul>" if refused else "")
    )


def _act(row: ActionRow) -> str:
    more = [row.verb.shown, row.target, row.reversibility.meaning, *(["pre-authorised"] if row.preauthorised else [])]
    return f"<b>{shown(row.title)}</b><br><small>{shown(' · '.join(more))}</small>"


def _clock(at: str | None) -> str:
    return f'<span class="nowrap">{at[11:23]}</span>' if at else "-"


def _answers(entries: list[LedgerEntry], signatures: Signatures) -> str:
    names = {e.subject["request"]: str(e.body["action"]) for e in entries if e.type is EntryType.APPROVAL_REQUESTED}
    rows = []
    for entry in entries:
        if entry.type is EntryType.DECISION_RECORDED:
            said, proof = dict(entry.body["statement"]), dict(entry.body["proof"])
            how = (
                f"signed by the person<br><small>{shown(proof.get('key'))}</small>" if proof.get("kind") == "ssh"
                else "attested by quell<br><small>one-time code</small>"
            )  # fmt: skip
            how = _not_signed(entry, signatures) or how
            rows.append((
                str(entry.index), _clock(entry.at), shown(said.get("person")),
                pill(str(said.get("answer")), {"approve": True, "deny": False}.get(str(said.get("answer")))),
                shown(names.get(entry.subject.get("request", ""), "?")), shown(said.get("reason")), how,
            ))  # fmt: skip
        elif entry.type in _SAID:
            word = _SAID[entry.type]
            rows.append((
                str(entry.index), _clock(entry.at), shown(entry.body.get("person") or entry.body.get("claimed_person")),
                pill(word, False), "", shown(entry.body.get("because")), _not_signed(entry, signatures),
            ))  # fmt: skip
    return "<h2>Who decided</h2>" + table(
        ("Entry", "UTC", "Person", "Answer", "On", "In their words", "Proof"), rows, "Nobody was asked or answered."
    )


def _not_signed(entry: LedgerEntry, signatures: Signatures) -> str:
    """A mark on what somebody else put on record in a person's name."""
    why = signatures.fault(entry)
    return f"{pill('NOT SIGNED', False)} it counts for nothing<br><small>{shown(why)}</small>" if why else ""


def _recovery(verdict: RecoveryVerdict | None) -> str:
    if verdict is None:
        return "<h2>Does the fix hold?</h2><p>No fix was tried.</p>"
    bar = verdict.bar
    if not verdict.trials:
        why = "".join(f"<li>{shown(reason)}</li>" for reason in verdict.reasons)
        return f"<h2>Does the fix hold? {pill('not tried', None)}</h2><p>No trial was made, so nothing is known.</p><ul>{why}</ul>"
    reasons = "".join(f"<li>{shown(reason)}</li>" for reason in verdict.reasons)
    return (
        f"<h2>Does the fix hold? {pill('yes' if verdict.passed else 'no', verdict.passed)}</h2>"
        f"<p>The recorded attack was replayed harmlessly {verdict.trials} times: {verdict.hits} got through, "
        f"{verdict.unclear} could not be told. With {bar.confidence_percent} % confidence the true rate is below "
        f"<b>{shown(verdict.upper_bound_percent)} %</b>; the bar is {bar.highest_rate_percent} %. "
        f"{verdict.benign_trials - verdict.benign_failures} of {verdict.benign_trials} harmless requests still work.</p>"
        f"<ul>{reasons}</ul>"
    )


def _evidence(manifest: Manifest | None) -> str:
    if manifest is None:
        return "<h2>Evidence</h2><p>None was sealed.</p>"
    good = {"captured": True, "partial": None, "unavailable": False}
    rows = [
        (
            f"<b>{s.evidence_class}</b>",
            shown(s.evidence_class.holds),
            pill(s.captured, good[s.captured]),
            shown(s.reason),
        )
        for s in manifest.standings
    ]
    return (
        f"<h2>Evidence</h2><p class='soft'>Sealed at {manifest.sealed_at[11:23]} UTC, before anything was taken away unless waived.</p>"
        + table(("Class", "What it is", "Captured", "Why"), rows, "No class is required.")
    )


def _calls(entries: list[LedgerEntry]) -> str:
    kinds = (EntryType.PERSON_NEEDED, EntryType.RUN_INTERFERED, EntryType.RUN_REFUSED, EntryType.EFFECT_REFUSED,
             EntryType.RESPONSE_RESTARTED, EntryType.EFFECT_FAILED, EntryType.EFFECT_UNKNOWN)  # fmt: skip
    rows = [
        (str(e.index), _clock(e.at), shown(e.type.replace("_", " ")), shown(e.body.get("because")))
        for e in entries
        if e.type in kinds
    ]
    return "<h2>What did not go by itself</h2>" + table(("Entry", "UTC", "What", "Why"), rows, "Everything did.")


def _record(entries: list[LedgerEntry]) -> str:
    rows = [(str(e.index), f'<span class="nowrap">{e.at[11:23]}</span>', shown(told(e), 220)) for e in entries]
    return "<h2>The record</h2>" + table(("Entry", "UTC", "What"), rows, "No entry.")


def _proof(installation: Installation, entries: list[LedgerEntry]) -> str:
    signatures = installation.signatures()
    active = [entry for entry in signatures.activations if entry.index < entries[-1].index]
    signed = bool(active and signatures.signer(active[-1]))
    first, size = unanchored(installation)
    anchored = f"entries up to {first - 1} are anchored outside" if first else "no entry is anchored outside"
    return (
        "<h2>Why believe this</h2><p>You need not: VERIFY.md says how to check every line with tools of your own. "
        f"The rules that held (configuration <code>{short(active[-1].subject['configuration']) if active else 'none'}</code>) "
        f"were {'signed by a policy owner' if signed else '<b>not signed by a person</b>'}. "
        f"When this page was made the log had {size} entries; {plain(anchored)}. It cannot show what was never recorded.</p>"
    )
