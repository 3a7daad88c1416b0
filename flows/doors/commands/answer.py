"""`quell approve`, `quell deny`, `quell withdraw`: one person's proven answer to one frozen request."""

import argparse
import sys

from pydantic import ValidationError

from flows.doors.commands._bell import ring_bell
from flows.doors.commands._proof import add_person, add_signing, print_statement, signature_from
from flows.doors.commands._say import add_json, plain
from runbooks.domain.approval import (
    DECISION_NAMESPACE,
    Answer,
    ApprovalRequest,
    Purpose,
    RequestVerdict,
    Standing,
    Statement,
)
from runbooks.domain.errors import ApprovalError
from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Json
from tasks.approval import find_request
from tasks.decisions import statement_for, submit_decision
from tasks.installation import Installation, open_installation
from tasks.ledger import door_actor


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("request", metavar="REQ", help="the request, as `quell inbox` names it")
    add_person(parser)
    parser.add_argument("--reason", required=True, help="why, in a sentence; it goes into the record")
    parser.add_argument("--code", help="a one-time code instead of a signature; - reads it from standard input")
    add_signing(parser)
    add_json(parser)
    parser.epilog = f"Example: quell {name} REQ-7K2QF9ABCD --as ben --key ~/.ssh/id_ed25519 --reason 'seen the traces'"


def run(args: argparse.Namespace) -> int:
    """Sign, hand in, ring; 0 when the answer counts, 1 when it was recorded and does not."""
    installation = open_installation(args.home)
    request = find_request(installation, args.request)
    statement = _statement(args, installation, request)
    if args.print_statement:
        again = ["quell", args.command, request.id, "--as", statement.person, "--reason", statement.reason]
        return print_statement(statement.canonical(), DECISION_NAMESPACE, again)
    code = sys.stdin.readline().strip() if args.code == "-" else (args.code or "").strip()
    signature = "" if code else signature_from(args, statement.canonical(), DECISION_NAMESPACE)
    with args.say.busy("handing in the answer"):
        verdict = submit_decision(installation, statement, door=door_actor("cli"), signature=signature, code=code)
        closed = installation.store.entries(request.incident, types=(EntryType.INCIDENT_CLOSED,))
        rung, told = (False, "The incident is closed.") if closed else ring_bell(installation, request.incident)
    return _tell(args, request, statement, verdict, rung=rung, told=told)


def _statement(args: argparse.Namespace, installation: Installation, request: ApprovalRequest) -> Statement:
    try:
        return statement_for(installation, request, Answer(args.command), args.person, args.reason.strip())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ApprovalError(
            f"the {where} cannot be used: {error.errors()[0]['msg']}.", now="nothing was decided.",
            next_step="give your name as in config/people.toml, and a reason of at most 2,000 characters.",
        ) from error  # fmt: skip


def _tell(
    args: argparse.Namespace, request: ApprovalRequest, statement: Statement, verdict: RequestVerdict, *,
    rung: bool, told: str,
) -> int:  # fmt: skip
    counts = verdict.counts(statement)
    say, word = args.say, {"approve": "approved", "deny": "denied", "withdraw": "withdrew from"}[statement.answer]
    if counts:
        say.line(f"{statement.person} {word} {request.id}: {plain(request.what)}", "bold")
    else:
        say.line(f"Recorded, but it does not count: {'; '.join(verdict.not_counted)}", "bold")
    say.line(f"The request now stands {verdict.standing.upper()}: {verdict.because}.")
    if verdict.standing is Standing.GRANTED and request.purpose is Purpose.UNDO:
        told = f"Now carry it out: quell undo {request.incident} --action {request.step}"
    say.line(told)
    shown: dict[str, Json] = {
        "request": request.id, "digest": request.digest(), "incident": request.incident, "action": request.step,
        "purpose": request.purpose, "person": statement.person, "answer": statement.answer, "counts": counts,
        "standing": verdict.standing, "because": verdict.because, "approvers": list(verdict.approvers),
        "still_needed": verdict.still_needed, "not_counted": list(verdict.not_counted), "rung": rung, "told": told,
    }  # fmt: skip
    return int(say.result(shown, 0 if counts else 1))
