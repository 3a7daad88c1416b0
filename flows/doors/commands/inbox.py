"""`quell inbox`: what waits for somebody's decision, with everything needed to decide, and what nobody answered in time."""

import argparse

from flows.doors.commands._requests import command, may_answer, purpose_in_words, request_json
from flows.doors.commands._say import Say, add_json, ago, duration, plain
from runbooks.domain.approval import ApprovalRequest, RequestVerdict
from runbooks.domain.instants import Instant, milliseconds_between
from tasks.approval_page import evidence_of, steps_taken
from tasks.inbox import Overdue, Waiting, look_into
from tasks.installation import Installation, open_installation
from tasks.intake.defects import defect_counts
from tasks.intake.outbox import Defect, WaitingResponse, defects, waiting_responses
from tasks.ledger import clock

MOST_SHOWN = 30


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    del name
    parser.add_argument("--as", dest="person", metavar="PERSON", help="only what this person may still answer")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Oldest first."""
    installation, now, say = open_installation(args.home), clock(), args.say
    installation.activate_if_fresh()
    inbox = look_into(installation)

    def concerns(one: Waiting | Overdue) -> bool:
        return args.person is None or args.person in may_answer(installation, one.request, one.verdict)

    found, overdue = list(filter(concerns, inbox.waiting)), list(filter(concerns, inbox.overdue))
    _show_overdue(say, overdue, now)
    for one in found:
        _show(say, installation, one.request, one.verdict, now, args.person)
    starting = [] if args.person else waiting_responses(installation)
    broken = [] if args.person else defects(installation)
    _show_starting(say, starting, now)
    unread = sum(defect_counts(installation).values()) if broken else 0
    _show_broken(say, broken, unread, now)
    if not found and not overdue and not starting and not broken:
        say.line("Nothing waits" + (f" for {args.person}." if args.person else "."))
    shown = [request_json(installation, one.request, one.verdict, now) for one in found]
    late = [
        request_json(installation, one.request, one.verdict, now) | {"overdue_since": one.since, "overdue_because": one.because}
        for one in overdue
    ]  # fmt: skip
    return int(
        say.result({
            "requests": shown, "overdue": late, "starting": [one.as_json() for one in starting],
            "defects": [one.as_json() for one in broken], "defects_in_all": unread,
        })
    )  # fmt: skip


def _show_overdue(say: Say, overdue: list[Overdue], now: Instant) -> None:
    if not overdue:
        return
    say.head(
        f"OVERDUE: {len(overdue)} that nobody answered in time. What expired is not done; who still wants it asks again"
    )
    say.table(
        ("request", "", "incident", "since", "why"),
        (
            (one.request.id, ("DRILL " if one.request.drill else "") + purpose_in_words(one.request.purpose)
             + f": {one.request.what}", one.request.incident, ago(one.since, now), one.because)
            for one in overdue[:MOST_SHOWN]
        ),
    )  # fmt: skip


def _show_starting(say: Say, waiting: list[WaitingResponse], now: Instant) -> None:
    if not waiting:
        return
    say.head(f"{len(waiting)} responses wait for Prefect; they start by themselves, the worst first (`quell up`)")
    say.table(
        ("incident", "", "on", "signals", "since", "what stood in the way"),
        (
            (one.incident, f"{one.severity}{' DRILL' if one.drill else ''}", f"{one.archetype.shown} on {one.system}",
             one.signals, ago(one.since, now), one.problem[:120])
            for one in waiting[:MOST_SHOWN]
        ),
    )  # fmt: skip


def _show_broken(say: Say, broken: list[Defect], unread: int, now: Instant) -> None:
    if broken:
        newest = f" (the newest {len(broken)})" if unread > len(broken) else ""
        say.head(
            f"{unread} deliveries that could not be read{newest}: each may be an alert. Correct the mapping, then read "
            "them again: quell signal replay"
        )
        say.table(
            ("delivery", "from", "when", "why"),
            ((one.delivery, one.source, ago(one.at, now), plain(one.because)) for one in broken),
        )


def _show(
    say: Say, installation: Installation, request: ApprovalRequest, verdict: RequestVerdict, now: Instant,
    person: str | None,
) -> None:  # fmt: skip
    incident = installation.incident(request.incident)
    left = milliseconds_between(now, request.expires_at) // 1000
    told = steps_taken(installation, request)
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
            ("evidence", evidence_of(installation, request)),
            ("asked by", f"{asked_by}, {ago(request.asked_at, now)}"),
            ("answered", ", ".join(verdict.approvers) or "nobody yet"),
            ("still needed", (f"{verdict.still_needed} of {', '.join(request.roles)}"
                             f" (may answer: {', '.join(may) or 'nobody who is listed'})")),
            *([("told", told)] if told else []),
            ("expires", f"in {duration(left)}; silence is a no" if left > 0 else "it has expired; nothing is done"),
        ),
    )  # fmt: skip
    say.line(f"digest        {request.digest()}", "dim")
    who = person or (may[0] if len(may) == 1 else None)
    say.line(command(request, who), "bold")
    say.line(command(request, who).replace(" approve ", " deny    ", 1), "dim")
