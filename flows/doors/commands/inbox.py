"""`quell inbox`: what waits for somebody's decision, with everything needed to decide."""

import argparse

from flows.doors.commands._requests import command, may_answer, purpose_in_words, request_json
from flows.doors.commands._say import Say, add_json, ago, duration, plain
from runbooks.domain.approval import ApprovalRequest, RequestVerdict
from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.value import short
from tasks.approval import waiting
from tasks.installation import Installation, open_installation
from tasks.ledger import clock


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    del name
    parser.add_argument("--as", dest="person", metavar="PERSON", help="only what this person may still answer")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Oldest first."""
    installation, now, say = open_installation(args.home), clock(), args.say
    installation.activate_if_fresh()
    found = [
        (request, verdict)
        for request, verdict in waiting(installation)
        if args.person is None or args.person in may_answer(installation, request, verdict)
    ]
    for request, verdict in found:
        _show(say, installation, request, verdict, now, args.person)
    if not found:
        say.line("Nothing waits" + (f" for {args.person}." if args.person else "."))
    shown = [request_json(installation, request, verdict, now) for request, verdict in found]
    return int(say.result({"requests": shown}))


def _show(
    say: Say, installation: Installation, request: ApprovalRequest, verdict: RequestVerdict, now: Instant,
    person: str | None,
) -> None:  # fmt: skip
    incident = installation.incident(request.incident)
    left = milliseconds_between(now, request.expires_at) // 1000
    mark = "DRILL  " if request.drill else ""
    say.head(f"{mark}{request.id}  {purpose_in_words(request.purpose)}: {plain(request.what)}")
    may = may_answer(installation, request, verdict)
    asked_by = f"{request.requester.name} ({'proven' if request.requester.proven else 'unproven: one person more'})"
    say.table(
        ("", ""),
        (
            ("incident", f"{incident.id}, {incident.archetype.shown} on {incident.system}, {incident.severity.severity}"),
            ("target", request.target),
            ("why", request.why),
            ("breaks", request.blast_radius),
            ("undo", f"{request.reversibility.meaning}: {request.undo}"),
            ("evidence", f"sealed, manifest {short(request.manifest)}" if request.manifest else "WAIVED: unsafe to wait"),
            ("asked by", f"{asked_by}, {ago(request.asked_at, now)}"),
            ("answered", ", ".join(verdict.approvers) or "nobody yet"),
            ("still needed", (f"{verdict.still_needed} of {', '.join(request.roles)}"
                             f" (may answer: {', '.join(may) or 'nobody who is listed'})")),
            ("expires", f"in {duration(left)}; silence is a no" if left > 0 else "it has expired; nothing is done"),
        ),
    )  # fmt: skip
    say.line(f"digest        {request.digest()}", "dim")
    who = person or (may[0] if len(may) == 1 else None)
    say.line(command(request, who), "bold")
    say.line(command(request, who).replace(" approve ", " deny    ", 1), "dim")
