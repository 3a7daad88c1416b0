"""`quell declare`: somebody saw something; the incident opens and the response starts."""

import argparse
import sys
from datetime import datetime

from pydantic import ValidationError

from flows.doors.commands._proof import add_person, add_signing, signature_from
from flows.doors.commands._say import Say, add_json
from flows.doors.commands._starting import start_response
from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ApprovalError
from runbooks.domain.incident import Archetype, Cause, Incident, Report, SuspectedCause
from runbooks.domain.instants import Instant, instant_from
from runbooks.domain.runbook import Runbook, select
from runbooks.domain.severity import Floor
from runbooks.domain.signed import REPORT_NAMESPACE, SignedReport
from runbooks.domain.value import Json
from tasks.incident import also_open, open_incident, with_floors
from tasks.installation import Installation, open_installation
from tasks.ledger import clock, door_actor
from tasks.reporting import record_signed_report

HOW_BAD: dict[str, tuple[Floor, ...]] = {
    "unsure": (),
    "stopped": (),
    "internal": (),
    "customers": (Floor.EXPOSURE,),
    "ongoing": (Floor.UNCONTROLLED_ACTION,),
}
"""The same five sentences as in the run form, each as one word."""
LONGEST = 20_000


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("--system", required=True, help="the AI system's short name in the inventory")
    parser.add_argument("--what", required=True, metavar="TEXT", help="what you saw, two sentences; - reads stdin")
    add_person(parser)
    parser.add_argument("--archetype", choices=[a.shown for a in Archetype] + [a.value for a in Archetype
                        if a.value != a.shown], metavar="A", help="what kind it is, for example prompt-injection")  # fmt: skip
    parser.add_argument("--label", action="append", default=[], metavar="L", help="a detector's label; may be repeated")
    parser.add_argument("--how-bad", choices=HOW_BAD, default="unsure", help="unsure (default) counts as SEV2")
    parser.add_argument("--lead", help="who leads; default: the lead that the inventory names")
    parser.add_argument("--cause", action="append", default=[], metavar="CAUSE:because", help="a suspected cause")
    parser.add_argument("--began-at", metavar="ISO", help="when it began, with time zone: 2026-11-21T02:00:00Z")
    parser.add_argument("--near-miss", action="store_true", help="it was stopped before harm: nothing is taken away")
    parser.add_argument("--drill", action="store_true", help="a drill: only systems marked practice are touched")
    add_signing(parser)
    add_json(parser)
    parser.epilog = (
        f"Example: quell {name} --system support-agent --what 'it refunded 5,000 because a ticket said so' --as ana "
        "--archetype prompt-injection. What people open waits for people: nothing is taken away before they say yes "
        "(quell inbox). Without a key your name is unproven, and one person more must approve."
    )
    parser.set_defaults(refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """Open, then start; Prefect down still opens, and the keeper starts the response later."""
    installation = open_installation(args.home)
    installation.activate_if_fresh()
    configuration = installation.active()
    books = {kind: installation.runbook(kind, configuration) for kind in configuration.runbooks}
    archetype, near_miss = _choose(args, books)
    report = _report(args, configuration, near_miss=near_miss or args.near_miss or args.how_bad == "stopped")
    report = with_floors(report, books[archetype].severity_floors)
    report = _proven(args, installation, report)
    incident = open_incident(
        installation, report, archetype, drill=args.drill, opener=door_actor("cli"), material=report.canonical()
    )
    started, told = start_response(installation, incident)
    same = also_open(installation, incident.id)
    return _tell(args.say, incident, configuration, same, started=started, told=told)


def _choose(args: argparse.Namespace, books: dict[Archetype, Runbook]) -> tuple[Archetype, bool]:
    by_label, near_miss = select(tuple(args.label), books)
    archetype = Archetype(args.archetype.replace("-", "_")) if args.archetype else by_label
    near_miss = near_miss and archetype is by_label
    if archetype not in books:
        args.say.notice(f"There is no runbook for {archetype.shown} yet: it opens as unclassified, for triage.")
        archetype = Archetype.UNCLASSIFIED
    return archetype, near_miss


def _report(args: argparse.Namespace, configuration: Configuration, *, near_miss: bool) -> Report:
    said = sys.stdin.read(LONGEST) if args.what == "-" else args.what[:LONGEST]
    if not said.strip():
        args.refuse("--what: expected what you saw, found nothing")
    system, person = args.system.strip().lower(), args.person.strip()
    known = configuration.systems.get(system)
    reporter_leads = person if person in configuration.people else "unknown"
    lead = (args.lead or (known.lead if known else reporter_leads)).strip().lower()
    if args.lead and lead not in configuration.people:
        listed = ", ".join(sorted(configuration.people))
        args.refuse(f"--lead: expected one of {listed}, found {lead}")
    try:
        return Report(
            system=system, what_happened=said, reporter=person, lead=lead, noticed_at=clock(),
            began_at=_instant(args), floors=HOW_BAD[args.how_bad], causes=_causes(args), near_miss=near_miss,
            source="cli",
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        args.refuse(f"{first['loc'][0]}: {first['msg']}")
        raise AssertionError("unreachable") from error


def _instant(args: argparse.Namespace) -> Instant | None:
    if not args.began_at:
        return None
    try:
        return instant_from(datetime.fromisoformat(args.began_at))
    except ValueError as error:
        args.refuse(f"--began-at: expected a time with its zone, like 2026-11-21T02:00:00Z; {error}")
        raise AssertionError("unreachable") from error


def _causes(args: argparse.Namespace) -> tuple[SuspectedCause, ...]:
    found = []
    for text in args.cause:
        name, _, because = text.partition(":")
        if name.strip().replace("-", "_") not in set(Cause) or not because.strip():
            args.refuse(f"--cause: expected CAUSE:because with one of {', '.join(Cause)}; found {text!r}")
        found.append(SuspectedCause(cause=Cause(name.strip().replace("-", "_")), because=because.strip()))
    return tuple(found)


def _proven(args: argparse.Namespace, installation: Installation, report: Report) -> Report:
    """The report as one of a proven person, when a key signs its digest; the proof is on record before it opens."""
    if not (args.key or args.agent or args.public_key or args.signature or args.print_statement):
        return report
    if args.signature or args.print_statement:
        args.refuse("a report is signed here and now: use --key FILE, or --agent with --public-key FILE")
    proven = report.model_copy(update={"reporter_proven": True})
    try:
        signed = SignedReport(installation=installation.id, report=proven.digest(), person=report.reporter)
    except ValidationError as error:
        raise ApprovalError(
            f"{report.reporter!r} is no name of config/people.toml.", now="no incident was opened.",
            next_step="use the name under which your key is listed, or declare without --key.",
        ) from error  # fmt: skip
    record_signed_report(installation, proven, signed, signature_from(args, signed.canonical(), REPORT_NAMESPACE))
    return proven


def _tell(
    say: Say, incident: Incident, configuration: Configuration, same: list[str], *, started: bool, told: str
) -> int:
    system = configuration.systems.get(incident.system)
    notices = []
    if same:
        notices.append(
            f"Already open for the same system and kind: {', '.join(same)}. Look there first: quell show {same[-1]}"
        )
    if system is None:
        notices.append(
            f"The inventory does not know {incident.system}: policy refuses to take anything away there. Evidence is "
            f"kept and people are told. Known: {', '.join(sorted(configuration.systems)) or 'none'}."
        )
    if incident.drill and system is not None and not system.practice:
        notices.append(f"{incident.system} is not marked practice: in a drill nothing is taken away there.")
    if incident.lead not in configuration.people:
        notices.append("Nobody leads yet: the inventory names no lead for it, and you are not listed. "
                       f"Somebody who is: quell reclassify {incident.id} --lead NAME")  # fmt: skip
    if not incident.requester.proven:
        notices.append("Your name is unproven: one person more must approve.")
    provisional = " (provisional)" if incident.severity.provisional else ""
    say.line(f"{incident.id}  {incident.archetype.shown} on {incident.system}", "bold")
    say.line(f"{incident.severity.severity}{provisional}, lead {incident.lead}{', DRILL' if incident.drill else ''}")
    for reason in incident.severity.reasons:
        say.line(f"  - {reason}", "dim")
    for text in notices:
        say.line(text)
    say.line(told)
    say.line(f"Look: quell show {incident.id}    Decide: quell inbox")
    shown: dict[str, Json] = {
        "incident": incident.id, "archetype": incident.archetype, "system": incident.system,
        "known_system": incident.known_system, "severity": incident.severity.severity,
        "provisional": incident.severity.provisional, "reasons": list(incident.severity.reasons),
        "lead": incident.lead, "requester": {"name": incident.requester.name, "proven": incident.requester.proven},
        "near_miss": incident.near_miss, "drill": incident.drill, "opened_at": incident.opened_at,
        "report": incident.report, "started": started, "told": told, "notices": notices,
        "also_open": same,
    }  # fmt: skip
    return say.result(shown)
