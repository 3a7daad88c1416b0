"""`quell incidents`: every incident, open ones first, and what each needs next."""

import argparse

from flows.doors.commands._say import add_json, ago
from runbooks.domain.approval import ApprovalRequest, RequestVerdict
from runbooks.domain.incident import Incident
from runbooks.domain.ledger import EntryType
from runbooks.domain.situation import Situation, situation
from runbooks.domain.value import Json
from tasks.approval import waiting
from tasks.installation import Installation, open_installation
from tasks.ledger import clock

SHOWN = 200


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    del name
    parser.add_argument("--open", action="store_true", help="only those that are not closed")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Open first, newest first within each; at most 200."""
    installation, now, say = open_installation(args.home), clock(), args.say
    names = installation.store.incidents()
    asked = waiting(installation) if names else []
    found = [_row(installation, incident, asked) for incident in names]
    rows = sorted((row for row in found if row is not None), key=lambda row: row[0].opened_at, reverse=True)
    rows.sort(key=lambda row: row[1].ending is not None)
    rows = [row for row in rows if not args.open or row[1].ending is None][:SHOWN]
    say.table(
        ("incident", "severity", "lead", "age", "what, how it stands, what is needed next"),
        (
            (
                incident.id, incident.severity.severity, incident.lead, ago(incident.opened_at, now),
                (f"{'DRILL ' if incident.drill else ''}{incident.archetype.shown} on {incident.system}\n"
                f"{where.stage}\n-> {needed}"),
            )
            for incident, where, needed, _ in rows
        ),
        empty="No incident is on record.",
    )  # fmt: skip
    shown: list[dict[str, Json]] = [
        {
            "incident": incident.id, "archetype": incident.archetype, "system": incident.system,
            "severity": incident.severity.severity, "provisional": incident.severity.provisional,
            "lead": incident.lead, "opened_at": incident.opened_at, "open": where.ending is None,
            "ending": where.ending, "stage": where.stage, "needed": needed, "requests": requests,
            "drill": incident.drill, "near_miss": incident.near_miss,
        }
        for incident, where, needed, requests in rows
    ]  # fmt: skip
    return int(say.result({"incidents": shown}))


def _row(
    installation: Installation, incident_id: str, asked: list[tuple[ApprovalRequest, RequestVerdict]]
) -> tuple[Incident, Situation, str, list[str]] | None:
    entries = installation.store.entries(incident_id)
    if not any(entry.type is EntryType.INCIDENT_OPENED for entry in entries):
        return None
    where = situation(entries)
    mine = [request.id for request, _ in asked if request.incident == incident_id]
    return installation.incident(incident_id), where, needed_next(where, mine), mine


def needed_next(where: Situation, requests: list[str]) -> str:
    """What a person does next, in words."""
    if requests:
        return f"answer {', '.join(requests)} (quell inbox)"
    if where.calls:
        return where.calls[-1]
    return "nothing" if where.ending is not None else "nothing: the response goes on by itself"
