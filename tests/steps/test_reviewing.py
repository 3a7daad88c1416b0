"""The review: scheduled once with an invitation that a calendar reads, and drafted from the record alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from icalendar import Calendar

import tasks.pages
import tasks.review
from runbooks.domain.drafting import timeline
from runbooks.domain.instants import moment
from runbooks.domain.ledger import EntryType
from runbooks.domain.review import Review, add_working_days
from tasks.ledger import flow_actor
from tasks.pages import leave_review
from tasks.review import schedule_now, write_review
from tests.steps.desk import PEOPLE, Desk

RUN = "10000000-0000-4000-8000-000000000000"
BEFORE_SECONDS = 600


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """No engine: with what a run of the review was asked for."""
    asked: list[tuple[Any, ...]] = []

    def start(*told: Any) -> str:
        asked.append(told)
        return RUN

    monkeypatch.setattr(tasks.review, "start_review_run", start)
    return asked


def responded(desk: Desk, *more: str) -> str:
    incident = desk.declare("--how-bad", "customers", "--cause", "injection:a ticket said so", *more)
    desk.respond(incident)
    desk.contain(incident)
    return incident


def test_it_is_scheduled_once_and_the_invitation_is_one_that_calendars_read(
    desk: Desk, started: list[tuple[Any, ...]]
) -> None:
    incident = desk.declare("--how-bad", "customers")
    place = desk.installation
    due = schedule_now(place, place.pen(flow_actor("test")), incident)
    assert schedule_now(place, place.pen(flow_actor("test")), incident) == due
    assert started == [(incident, moment(due), True)]
    (entry,) = place.store.entries(incident, types=(EntryType.REVIEW_SCHEDULED,))
    assert (entry.body["due"], entry.body["flow_run"]) == (due, RUN)

    octets = (desk.home / "invitations" / f"{incident}.ics").read_bytes()
    assert place.vault.get(entry.subject["invitation"]) == octets
    assert all(line.endswith(b"\r") for line in octets.split(b"\n")[:-1]), "RFC 5545 lines"
    calendar = Calendar.from_ical(octets)
    assert (str(calendar["version"]), "quell" in str(calendar["prodid"])) == ("2.0", True)
    assert "method" not in calendar, "RFC 5546 would demand an organizer with an address"
    (event,) = calendar.walk("VEVENT")
    assert not event.errors
    assert str(event["uid"]) == f"{incident}@{place.id}"
    assert str(event["summary"]) == f"DRILL: Review of {incident} (prompt-injection, SEV1)"
    assert event.decoded("dtstart") == moment(due)
    assert event.decoded("dtend") - event.decoded("dtstart") == timedelta(minutes=60)
    assert abs(event.decoded("dtstamp") - datetime.now(UTC)) < timedelta(minutes=5)
    assert "lead ana, owner of the system dora" in str(event["description"])
    assert "a ticket made it refund" not in octets.decode().replace("\r\n ", "")


def test_the_draft_has_every_section_and_each_is_from_the_record(desk: Desk, started: list[tuple[Any, ...]]) -> None:
    began = (datetime.now(UTC) - timedelta(seconds=BEFORE_SECONDS)).isoformat()
    incident = responded(desk, "--began-at", began)
    place = desk.installation
    schedule_now(place, place.pen(flow_actor("test")), incident)
    review = write_review.fn(incident)
    assert started

    entries = place.store.entries(incident)
    assert review.timeline == timeline(entries[:-1]), "all but its own entry"
    said = {line.what.partition(" (")[0].partition(":")[0] for line in review.timeline}
    assert said >= {
        "incident opened", "evidence sealed", "plan made", "approval asked for", "request granted", "applied", "probed",
        "review scheduled", "decision recorded by ana", "decision recorded by cleo",
    }  # fmt: skip
    assert {line.entry for line in review.timeline} <= {entry.index for entry in entries}

    assert review.impact[0].startswith("SEV1: ")
    assert any(line.startswith("Switch off refunds: effective") for line in review.worked)
    assert any(line.startswith("Put the prompt back: unverified") for line in review.did_not_work)
    assert sum(line.startswith("evidence ") for line in review.did_not_work) == 4, "four gaps, each named"

    assert BEFORE_SECONDS <= float(review.seconds["to_detect"]) < BEFORE_SECONDS + 60
    times = [float(review.seconds[name]) for name in ("to_seal", "to_plan", "to_request", "to_approve", "to_applied")]
    assert times == sorted(times)
    assert 0 <= times[0] <= float(review.seconds["to_all_effective"]) <= float(review.seconds["to_review_scheduled"])

    assert "Is it true that injection was a cause (a ticket said so)?" in review.questions
    assert any("Through which channel" in question for question in review.questions), "the runbook's own"
    assert not any("When did it begin?" in question for question in review.questions)

    soon = add_working_days(moment(review.drafted_at), 5, ()).date().isoformat()
    owners = {item.what.partition(" ")[0]: item.owner for item in review.actions}
    assert owners == {"Add": "dora", "Decide": "ana", "Close": "dora"}, "the system's owner, and whoever leads"
    assert set(owners.values()) <= set(PEOPLE)
    assert {item.due for item in review.actions} == {soon}
    assert all(item.because for item in review.actions)

    (drafted,) = place.store.entries(incident, types=(EntryType.REVIEW_DRAFTED,))
    assert Review.from_bytes(place.vault.get(drafted.subject["review"])) == review
    assert drafted.body["actions"] == [f"{item.what} ({item.owner}, {item.due})" for item in review.actions]


def test_when_nobody_said_when_it_began_that_is_a_question(desk: Desk) -> None:
    review = write_review.fn(responded(desk))
    assert "to_detect" not in review.seconds
    assert any("When did it begin?" in question for question in review.questions)


def test_its_page_shows_all_of_it_and_nothing_that_was_reported(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[tuple[str, str]] = []

    def leave(key: str, text: str, *_: object, **__: object) -> bool:
        left.append((key, text))
        return True

    monkeypatch.setattr(tasks.pages, "leave_page", leave)
    incident = responded(desk)
    review = write_review.fn(incident)
    leave_review(review)
    ((key, page),) = left
    assert key == f"review-{incident.lower()}"
    heads = [line.lstrip("# ").rstrip() for line in page.splitlines() if line.startswith("###")]
    assert heads == [
        "Impact", "What worked", "What did not", "Times", "Open questions", "Action items", "Timeline", "Where it is",
    ]  # fmt: skip
    for item in review.actions:
        assert f"| {item.owner} | {item.due} |" in page
    assert "a ticket made it refund" not in page
