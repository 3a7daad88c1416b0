"""`quell break-glass INC`: one person acts alone, now, for a short time. Signed, loud, given back by itself."""

import argparse

from pydantic import ValidationError

from flows.doors.commands._bell import ring_bell
from flows.doors.commands._proof import add_person, add_signing, signature_from
from flows.doors.commands._requests import known_incident
from flows.doors.commands._say import add_json
from runbooks.domain.errors import ApprovalError
from runbooks.domain.signed import BREAK_GLASS_NAMESPACE
from tasks.break_glass import act_alone, break_glass, prepare, statement_of
from tasks.glass_telling import tell_opened
from tasks.installation import open_installation
from tasks.ledger import door_actor, person_actor

DONE = ("effective", "applied", "partial", "unverified")


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("incident", metavar="INC", help="the incident")
    parser.add_argument("--action", required=True, metavar="ID", help="the one act, as `quell show` names it")
    add_person(parser)
    parser.add_argument("--reason", required=True, help="why nobody else can be asked; it goes into the record")
    parser.add_argument("--minutes", type=int, required=True, help="for how long; then it is given back")
    add_signing(parser)
    add_json(parser)
    parser.epilog = (
        f"Example: quell {name} INC-7K2QF9ABCD --action refund-tool --as ana --key ~/.ssh/id_ed25519 --minutes 30 "
        "--reason 'nobody answers and money leaves every second'. It needs no Prefect. Never for what cannot be undone. "
        "Everybody who could have approved is told, every report says so, and a review follows."
    )


def run(args: argparse.Namespace) -> int:
    """Seal, plan, sign, act, probe; 0 when it is effective, or applied as far as can be known."""
    installation, say, door = open_installation(args.home), args.say, door_actor("cli")
    incident = known_incident(installation, args.incident).id
    if args.signature or args.print_statement:
        raise ApprovalError(
            "breaking the glass is signed here and now.", now="nothing was done.",
            next_step="use --key FILE, or --agent with --public-key FILE.",
        )  # fmt: skip
    with say.busy("sealing the evidence first"):
        action = prepare(installation, installation.pen(door), incident, args.action)
    try:
        statement = statement_of(installation, action, args.person, args.reason.strip(), args.minutes)
    except ValidationError as error:
        first = error.errors()[0]
        raise ApprovalError(
            f"the {'.'.join(map(str, first['loc']))} cannot be used: {first['msg']}.", now="nothing was done alone.",
            next_step="your name is the one in config/people.toml; minutes are 1 to 1440.",
        ) from error  # fmt: skip
    signature = signature_from(args, statement.canonical(), BREAK_GLASS_NAMESPACE)
    glass = break_glass(installation, statement, signature, door=door)
    try:
        with say.busy("acting, and looking whether it holds"):
            status = act_alone(installation, glass)
        ring_bell(installation, incident)
        say.line(f"BREAK-GLASS: {statement.person} acted alone. {action.title}: {status.upper()}.", "bold")
        say.line(
            f"It is given back at {glass.body['ends_at'][:19]} UTC, unless people approve it before (`quell inbox`)."
        )
    finally:  # whatever became of the act
        with say.busy("telling everybody"):
            told = tell_opened(installation, installation.pen(person_actor(statement.person)), glass)
    missed = [name for name in installation.active().policy.channels if name not in told]
    if missed:
        say.line(f"Not reached: {', '.join(missed)}. The keeper goes on trying; tell people yourself, too.", "bold")
    elif not told:
        say.line("The policy has no [channels], so nobody was told: tell people yourself.", "bold")
    shown = {
        "incident": incident, "action": action.id, "status": status, "person": statement.person,
        "glass": glass.subject["glass"], "entry": glass.index, "ends_at": glass.body["ends_at"], "told": told,
        "not_told": missed,
    }  # fmt: skip
    return int(say.result(shown, 0 if status in DONE else 1))
