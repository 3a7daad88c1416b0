"""`quell undo INC`: give back what was taken away, newest first. Works with Prefect down."""

import argparse

from flows.doors.commands._requests import command, known_incident
from flows.doors.commands._say import add_json
from runbooks.domain.ledger import EntryType
from tasks.approval import find_request, plan_of
from tasks.installation import open_installation
from tasks.ledger import door_actor
from tasks.undoing import UndoLine, undo_acts

DONE = ("undone", "impossible", "nothing")


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("incident", metavar="INC", help="the incident")
    parser.add_argument("--action", metavar="ID", help="only this act, as `quell show` names it")
    parser.add_argument("--again", action="store_true", help="ask anew where people said no before")
    add_json(parser)
    parser.epilog = (
        f"The first `quell {name}` asks for consent; after it was given, the same command carries it out. Whoever took "
        "it away is not enough to give it back. Nobody proves who runs this, so one person more must approve."
    )
    parser.set_defaults(refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """0 when nothing is left that could be given back, 1 when something waits, failed or was denied."""
    installation, say = open_installation(args.home), args.say
    incident = known_incident(installation, args.incident)
    planned = installation.store.entries(incident.id, types=(EntryType.PLAN_MADE,))
    known = [action.id for action in plan_of(installation, incident.id).actions] if planned else []
    if args.action and args.action not in known:
        args.refuse(f"--action: expected one of {', '.join(known) or '(nothing is planned)'}, found {args.action!r}")
    lines: tuple[UndoLine, ...] = ()
    if planned:
        with say.busy("giving back"):
            writer = installation.pen(door_actor("cli"))
            lines = undo_acts(installation, writer, incident.id, only=args.action, again=args.again)
    say.table(
        ("act", "", "because"),
        (
            (line.title, f"waiting for approval {line.request}" if line.outcome == "waiting" and line.request else
             line.outcome, line.because)
            for line in lines
        ),
        empty="Nothing that was taken away is still away.",
    )  # fmt: skip
    for line in lines:
        if line.outcome == "waiting" and line.request:
            say.line(command(find_request(installation, line.request)), "bold")
    finished = all(line.outcome in DONE for line in lines)
    if not finished:
        say.line(f"Then carry it out with: quell undo {incident.id}")
    return int(say.result({"incident": incident.id, "acts": [line.as_json() for line in lines]}, 0 if finished else 1))
