"""`quell show INC`: all that is known about one incident, from the record alone."""

import argparse

from flows.doors.commands import _dossier
from flows.doors.commands._dossier import Dossier, open_dossier
from flows.doors.commands._requests import known_incident
from flows.doors.commands._say import Say, add_json, ago, plain
from runbooks.domain.case import TIMES_ARE, stage_times
from runbooks.domain.drafting import timeline
from runbooks.domain.incident import Standing
from runbooks.domain.instants import milliseconds_between
from runbooks.domain.ledger import ActorKind, LedgerEntry
from runbooks.domain.recovery import RecoveryVerdict
from runbooks.domain.value import short
from tasks.glasses import glasses_of
from tasks.installation import open_installation
from tasks.ledger import clock


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    del name
    parser.add_argument("incident", metavar="INC", help="the incident, as `quell incidents` names it")
    parser.add_argument("--all", action="store_true", help="every entry of the ledger, not only the timeline")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Head, evidence, acts, approvals, recovery, timeline, times, where things are."""
    installation, say = open_installation(args.home), args.say
    case = open_dossier(installation, known_incident(installation, args.incident), clock())
    if args.say.wants_json:
        return int(say.result(_dossier.as_json(case, every=args.all)))
    for part in (_head, _evidence, _acts, _approvals, _recovery):
        part(say, case)
    say.head("Every entry" if args.all else "Timeline (UTC)")
    if args.all:
        say.table(("entry", "at", "who", "type", "what"), ((e.index, e.at[11:23], _who(e), e.type, _body(e))
                  for e in case.entries))  # fmt: skip
    else:
        say.table(("at", "what", "entry"), ((line.at[11:19], line.what, line.entry) for line in timeline(case.entries)))
    times = stage_times(case.entries)
    say.head(f"Times in seconds ({TIMES_ARE})")
    say.line("  ".join(f"{name.replace('_', ' ')} {value}" for name, value in times.items()))
    _where(say, case)
    return 0


def _head(say: Say, case: Dossier) -> None:
    incident, where = case.incident, case.where
    drill = "DRILL  " if incident.drill else ""
    provisional = " (provisional: correct it when you know more)" if incident.severity.provisional else ""
    proven = "proven" if incident.requester.proven else "a typed name: one person more must approve"
    say.line(f"{drill}{incident.id}  {incident.archetype.shown} on {', '.join(incident.systems)}", "bold")
    rows = [
        ("stands", where.stage),
        ("needed next", case.needed),
        ("severity", f"{incident.severity.severity}{provisional}: {'; '.join(incident.severity.reasons)}"),
        ("lead", incident.lead),
        ("asked for by", f"{plain(incident.requester.name, 100)} ({proven})"),
        ("opened", f"{incident.opened_at[:19]} UTC, {ago(incident.opened_at, case.now)}"),
    ]
    rows += [
        ("BREAK-GLASS", (f"{one.body['person']} acted alone on {one.body['action']}, until "
         f"{str(one.body['ends_at'])[:19]} UTC: {plain(one.body['because'], 300)}"))
        for one in glasses_of(case.installation, incident.id)
    ]  # fmt: skip
    if case.found is not None:
        more = [plain(one, 200) for one in case.found.reasons[1:] if one not in incident.severity.reasons]
        rows.append(("taken for", "; ".join([case.found.in_words, *more])))
    if not incident.known_system:
        rows.append(("system", "not in the inventory: policy refuses to take anything away; evidence is kept"))
    if incident.continues:
        rows.append(("continues", f"{incident.continues}, which it was taken for at first"))
    if same := case.also_open:
        rows.append(
            ("also open", f"{', '.join(same)} when this was opened: the same system and kind, maybe the same harm")
        )
    if incident.near_miss:
        rows.append(("near miss", "stopped before harm: nothing is taken away"))
    rows += [
        ("FACT" if cause.standing is Standing.FACT else "hypothesis",
         f"{cause.cause.replace('_', ' ')}: {plain(cause.because, 300)}") for cause in incident.causes
    ]  # fmt: skip
    if case.reported:
        rows.append(("reported", "“" + plain(case.reported, 600) + "” (as reported; not checked)"))
    if case.affected:
        rows.append(("affected", case.affected))
    say.table(("", ""), rows)


def _evidence(say: Say, case: Dossier) -> None:
    manifest = case.manifest
    if manifest is None:
        say.head("Evidence: WAIVED, unsafe to wait" if case.waiver else "Evidence: not sealed yet")
        return
    gaps = f"{len(manifest.gaps)} gaps" if manifest.gaps else "no gaps"
    say.head(f"Evidence: {manifest.items} items, {manifest.bytes} bytes, {gaps}, manifest {short(manifest.digest())}")
    say.table(("", "holds", "sealed", ""),
              ((s.evidence_class, s.evidence_class.holds, s.captured, s.reason) for s in manifest.standings))  # fmt: skip


def _acts(say: Say, case: Dossier) -> None:
    if case.plan is None:
        say.head("Nothing is planned yet")
        return
    say.head("What is taken away (applied: the system said yes; effective: the harmful path was refused)")
    rows = []
    for row in case.rows:
        lag = ""
        if row.applied_at and row.effective_at:
            lag = f" (+{max(0, milliseconds_between(row.applied_at, row.effective_at)) / 1000:.1f} s)"
        rows.append(
            (
                row.action, row.reversibility, row.status.upper(), _time(row.applied_at),
                _time(row.effective_at) + lag, _time(row.undone_at),
            )
        )  # fmt: skip
    say.table(("act", "class", "status", "applied", "effective", "undone"), rows, empty="nothing was planned")
    for row in case.rows:
        because = row.because + (f"; given back: {row.undo_note}" if row.undo_note else "")
        say.line(f"{row.action}: {row.verb.shown} {row.target}; {because}", "dim")
    for text in case.plan.refused:
        say.line(f"not planned, or not without people: {text}")


def _approvals(say: Say, case: Dossier) -> None:
    if not case.requests:
        return
    say.head("Approvals")
    say.table(
        ("request", "for", "stands", "because", "not counted"),
        ((r.id, f"{r.purpose.replace('_', ' ')} {r.step}", v.standing.upper(), v.because, "; ".join(v.not_counted))
         for r, v in case.requests),
    )  # fmt: skip


def _recovery(say: Say, case: Dossier) -> None:
    verdict: RecoveryVerdict | None = case.recovery
    if verdict is None:
        return
    say.head(f"Recovery: {verdict.in_words.replace(' not ', ' NOT ')}")
    say.line(
        f"attack replayed {verdict.trials} times, got through {verdict.hits}, unclear {verdict.unclear}; true rate below "
        f"{verdict.upper_bound_percent} % ({verdict.bar.confidence_percent} % sure), the bar is "
        f"{verdict.bar.highest_rate_percent} %; benign requests that work: "
        f"{verdict.benign_trials - verdict.benign_failures} of {verdict.benign_trials}"
    )


def _where(say: Say, case: Dossier) -> None:
    say.head("Where it is")
    settings = case.installation.settings
    rows = [("ledger", case.ledger), ("anchored", case.anchored), ("vault", str(settings.vault_path)), *case.kept]
    rows += [(what, f"{address}  ({name})") for what, name, address in case.links()]
    say.pairs(rows)


def _time(at: str | None) -> str:
    return at[11:19] if at else ""


def _who(entry: LedgerEntry) -> str:
    return entry.actor.name if entry.actor.kind is ActorKind.PERSON else f"{entry.actor.kind} {entry.actor.name}"


def _body(entry: LedgerEntry) -> str:
    shown = {key: value for key, value in entry.body.items() if key not in ("statement", "proof", "verdict")}
    return plain("; ".join(f"{key}: {value}" for key, value in shown.items()), 400)
