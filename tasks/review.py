"""After the incident: schedule the review, invite, and, when it runs, draft it from the ledger."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from icalendar import Calendar, Event

from runbooks.domain.case import Ending
from runbooks.domain.drafting import draft_review
from runbooks.domain.evidence import Manifest
from runbooks.domain.incident import Incident
from runbooks.domain.instants import instant_from, moment
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.review import Review, review_due
from tasks.approval import plan_of
from tasks.glasses import glass_in, glasses_of
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.starting import start_review_run
from tasks.step import here, pen, step


@step("schedule the review")
def schedule_review(incident_id: str) -> str:
    """A run of post_incident_review at the due time, and an invitation file; returns the due instant. Done once."""
    return schedule_now(here(), pen(), incident_id)


def schedule_now(installation: Installation, writer: Pen, incident_id: str) -> str:
    """The same for any caller. After a break-glass it comes within the hours that the policy says."""
    done = writer.last(incident_id, EntryType.REVIEW_SCHEDULED)
    if done is not None:
        return str(done.body["due"])
    incident = installation.incident(incident_id)
    rules = installation.active().policy.review
    opened = moment(incident.opened_at)
    due = review_due(opened, incident.severity.severity, rules)
    due = min([due, *(_due_after_glass(installation, glass) for glass in glasses_of(installation, incident_id))])
    run = start_review_run(incident_id, due, incident.drill)
    invitation = write_invitation(installation, incident, due, rules.minutes)
    entry = writer.write(
        EntryType.REVIEW_SCHEDULED, f"review/{incident_id}", incident=incident_id,
        subject={"invitation": installation.vault.put(invitation.read_bytes())},
        body={"due": instant_from(due), "flow_run": run, "invitation": invitation.name},
    )  # fmt: skip
    return str(entry.body["due"])


def _due_after_glass(installation: Installation, entry: LedgerEntry) -> datetime:
    """The shortest deadline of the rules that let somebody act alone; no rule any more: a day."""
    glass = glass_in(installation, entry)
    rules = installation.configuration(glass.statement.configuration).policy.break_glass
    hours = min((rule.review_within_hours for rule in rules), default=24)
    return moment(glass.opened_at) + timedelta(hours=hours)


def write_invitation(installation: Installation, incident: Incident, due: datetime, minutes: int) -> Path:
    """An RFC 5545 file for the calendar of everybody who should come. Same incident, same UID.

    Without METHOD, ORGANIZER and ATTENDEE, which RFC 5546 wants together and with addresses that nobody gave us: a file
    to import, which asks no calendar to answer anybody.
    """
    event = Event()
    mark = "DRILL: " if incident.drill else ""
    event.add("uid", f"{incident.id}@{installation.id}")
    event.add("summary", f"{mark}Review of {incident.id} ({incident.archetype.shown}, {incident.severity.severity})")
    event.add("dtstart", due)
    event.add("dtend", due + timedelta(minutes=minutes))
    event.add("dtstamp", datetime.now(UTC))
    event.add(
        "description",
        f"Incident {incident.id} on {incident.system}; {_who_comes(installation, incident)}. "
        f"The draft is made from the ledger when the review run starts: quell show {incident.id}",
    )
    calendar = Calendar()
    calendar.add("prodid", "-//quell//post-incident review//EN")
    calendar.add("version", "2.0")
    calendar.add_component(event)
    folder = installation.settings.home / "invitations"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{incident.id}.ics"
    file.write_bytes(calendar.to_ical())
    return file


def _who_comes(installation: Installation, incident: Incident) -> str:
    system = installation.active().systems.get(incident.system)
    return f"lead {incident.lead}" + (f", owner of the system {system.owner}" if system else "")


@step("draft the review")
def write_review(incident_id: str) -> Review:
    """The draft, from the ledger: timeline, impact, what worked, times, questions, action items. Kept in the vault."""
    installation, writer = here(), pen()
    incident = installation.incident(incident_id)
    configuration = installation.active()
    entries = writer.entries(incident_id)
    sealed = writer.last(incident_id, EntryType.EVIDENCE_SEALED)
    manifest = Manifest.from_bytes(installation.vault.get(sealed.subject["manifest"])) if sealed else None
    planned = writer.last(incident_id, EntryType.PLAN_MADE) is not None
    review = draft_review(
        incident, entries, plan_of(installation, incident_id) if planned else None, manifest,
        installation.runbook(incident.archetype, configuration), configuration, clock(),
    )  # fmt: skip
    writer.write(
        EntryType.REVIEW_DRAFTED, f"review-drafted/{incident_id}/{entries[-1].index}", incident=incident_id,
        subject={"review": installation.keep(review)},
        body={"actions": [f"{item.what} ({item.owner}, {item.due})" for item in review.actions]},
    )  # fmt: skip
    return review


@step("close the incident")
def close_incident(incident_id: str, ending: str) -> str:
    """Write how it ended; returns it. Once."""
    alone = [f"{glass.body['person']}: {glass.body['action']}" for glass in glasses_of(here(), incident_id)]
    entry = pen().write(
        EntryType.INCIDENT_CLOSED, f"closed/{incident_id}", incident=incident_id,
        body={"ending": Ending(ending)} | ({"break_glass": alone} if alone else {}),
    )  # fmt: skip
    return str(entry.body["ending"])
