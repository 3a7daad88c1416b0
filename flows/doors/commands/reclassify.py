"""`quell reclassify INC`: of another kind, as bad as this, led by somebody else, caused by this. Signed.

What it was taken for stays on record.
"""

import argparse

from pydantic import ValidationError

from flows.doors.commands._proof import add_person, add_signing, print_statement, signature_from
from flows.doors.commands._requests import known_incident
from flows.doors.commands._say import add_json
from flows.doors.commands._starting import start_response
from runbooks.domain.errors import ApprovalError
from runbooks.domain.incident import Archetype, Cause, Incident, Standing
from runbooks.domain.severity import Severity
from runbooks.domain.signed import RECLASSIFICATION_NAMESPACE, Reclassification
from runbooks.domain.value import Json
from tasks.approval import waiting
from tasks.installation import Installation, open_installation
from tasks.ledger import door_actor
from tasks.reclassifying import reclassify


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("incident", metavar="INC", help="the incident")
    add_person(parser)
    kinds = [one.shown for one in Archetype] + [one.value for one in Archetype if one.value != one.shown]
    parser.add_argument(
        "--archetype", choices=kinds, metavar="A", help="what kind it is: opens an incident that continues this one"
    )
    parser.add_argument("--severity", choices=[*Severity], help="how bad it is; only the lead lowers it")
    parser.add_argument("--harm-happened", action="store_true", help="it was taken for a near miss and is none")
    parser.add_argument("--lead", metavar="NAME", help="who leads from now on; the lead or the system's owner says so")
    parser.add_argument(
        "--cause-is-fact", action="append", default=[], metavar="CAUSE", type=lambda text: text.replace("-", "_"),
        choices=[*Cause], help=f"this was a cause; the reason says how you know. One of {', '.join(Cause)}; may be repeated",
    )  # fmt: skip
    parser.add_argument("--reason", required=True, help="why; it goes into the record")
    add_signing(parser)
    add_json(parser)
    parser.set_defaults(refuse=parser.error)
    parser.epilog = f"Example: quell {name} INC-7K2QF9ABCD --archetype data-exfiltration --as ana --key ~/.ssh/id_ed25519 --reason '...'"


def run(args: argparse.Namespace) -> int:
    """Sign, hand in, start what continues it."""
    if not (args.archetype or args.severity or args.harm_happened or args.lead or args.cause_is_fact):
        args.refuse("expected --archetype, --severity, --harm-happened, --lead or --cause-is-fact, found none")
    installation = open_installation(args.home)
    before = known_incident(installation, args.incident)
    said = _statement(args, installation, before)
    if args.print_statement:
        return print_statement(said.canonical(), RECLASSIFICATION_NAMESPACE, _again(args, before))
    signature = signature_from(args, said.canonical(), RECLASSIFICATION_NAMESPACE)
    after = reclassify(installation, said, signature, door=door_actor("cli"))
    return _tell(args, installation, before, after)


def _statement(args: argparse.Namespace, installation: Installation, incident: Incident) -> Reclassification:
    try:
        return Reclassification(
            installation=installation.id, incident=incident.id, was=incident.digest(),
            archetype=Archetype(args.archetype.replace("-", "_")) if args.archetype else None,
            severity=Severity(args.severity) if args.severity else None, harm_happened=args.harm_happened,
            lead=args.lead, facts=tuple(Cause(one) for one in args.cause_is_fact), person=args.person, reason=args.reason.strip(),
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise ApprovalError(
            f"the {'.'.join(map(str, first['loc']))} cannot be used: {first['msg']}.", now="nothing was changed.",
            next_step="your name is the one in config/people.toml, and the reason is not empty.",
        ) from error  # fmt: skip


def _again(args: argparse.Namespace, incident: Incident) -> list[str]:
    words = ["quell", "reclassify", incident.id, "--as", args.person, "--reason", args.reason]
    words += ["--archetype", args.archetype] if args.archetype else []
    words += ["--severity", args.severity] if args.severity else []
    words += ["--lead", args.lead] if args.lead else []
    words += [word for one in args.cause_is_fact for word in ("--cause-is-fact", one)]
    return [*words, *(["--harm-happened"] if args.harm_happened else [])]


def _tell(args: argparse.Namespace, installation: Installation, before: Incident, after: Incident) -> int:
    say = args.say
    continued = after.id != before.id
    started, told = start_response(installation, after) if continued else (False, "")
    still = (
        [request.id for request, _ in waiting(installation, lambda one: one.incident == before.id)] if continued else []
    )
    say.line(f"{before.id}  was {before.archetype.shown}, {before.severity.severity}, lead {before.lead}", "dim")
    say.line(f"{after.id}  is {after.archetype.shown}, {after.severity.severity}, lead {after.lead}", "bold")
    facts = [cause.cause for cause in after.causes if cause.standing is Standing.FACT]
    if facts:
        say.line(f"causes that are facts: {', '.join(one.replace('_', ' ') for one in facts)}")
    if continued:
        say.line(told)
    if still:
        say.line(f"{before.id} still asks for {', '.join(still)}: deny what is not to be taken away any more.")
    shown: dict[str, Json] = {
        "incident": after.id, "continues": before.id if continued else None, "started": started, "still_waiting": still,
        "archetype": {"was": before.archetype, "is": after.archetype},
        "severity": {"was": before.severity.severity, "is": after.severity.severity},
        "lead": {"was": before.lead, "is": after.lead}, "facts": facts,
    }  # fmt: skip
    return int(say.result(shown))
