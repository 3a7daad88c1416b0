"""`quell waive INC`: unsafe to wait for the evidence. Signed, on record, and named in every later report."""

import argparse

from pydantic import ValidationError

from flows.doors.commands._bell import ring_bell
from flows.doors.commands._proof import add_person, add_signing, print_statement, signature_from
from flows.doors.commands._requests import known_incident
from flows.doors.commands._say import add_json
from runbooks.domain.errors import ApprovalError
from runbooks.domain.signed import WAIVER_NAMESPACE, Waiver
from tasks.installation import Installation, open_installation
from tasks.ledger import door_actor
from tasks.waiver import submit_waiver


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("incident", metavar="INC", help="the incident")
    add_person(parser)
    parser.add_argument("--reason", required=True, help="why waiting is unsafe; it goes into the record")
    add_signing(parser)
    add_json(parser)
    parser.epilog = (
        f"Example: quell {name} INC-7K2QF9ABCD --as ana --key ~/.ssh/id_ed25519 --reason 'money leaves every second'. "
        "It lets acts come before the evidence is sealed. It approves no act: each still needs its own consent."
    )


def run(args: argparse.Namespace) -> int:
    """Sign, hand in, ring."""
    installation, say = open_installation(args.home), args.say
    waiver = _waiver(args, installation)
    if args.print_statement:
        again = ["quell", "waive", waiver.incident, "--as", waiver.person, "--reason", waiver.reason]
        return print_statement(waiver.canonical(), WAIVER_NAMESPACE, again)
    signature = signature_from(args, waiver.canonical(), WAIVER_NAMESPACE)
    entry = submit_waiver(installation, waiver, signature, door=door_actor("cli"))
    rung, told = ring_bell(installation, waiver.incident)
    say.line(f"{waiver.person} waived the seal of {waiver.incident}: unsafe to wait. Every report will say so.", "bold")
    say.line(told)
    shown = {"incident": waiver.incident, "person": waiver.person, "waiver": entry.subject["waiver"],
             "entry": entry.index, "rung": rung, "told": told}  # fmt: skip
    return int(say.result(shown))


def _waiver(args: argparse.Namespace, installation: Installation) -> Waiver:
    try:
        incident = known_incident(installation, args.incident)
        return Waiver(
            installation=installation.id, incident=incident.id, person=args.person,
            reason=args.reason.strip(),
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise ApprovalError(
            f"the {'.'.join(map(str, first['loc']))} cannot be used: {first['msg']}.", now="nothing was waived.",
            next_step="`quell incidents` lists the incidents; your name is the one in config/people.toml.",
        ) from error  # fmt: skip
