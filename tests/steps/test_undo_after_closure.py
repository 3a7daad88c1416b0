"""What a closed incident left away is asked for: people see it, are told of it, and silence ends it. Without any engine."""

import pytest

from flows.doors.afterwards import Afterwards
from flows.doors.keeper import attend
from runbooks.domain.approval import Purpose
from runbooks.domain.ledger import EntryType
from tasks.approval import requests_of
from tasks.containment import contain
from tasks.giving_back import give_back
from tasks.review import close_incident
from tests.steps.desk import Desk, Ran
from tests.steps.glass import at, judged_again, late, policy_plus, status, written

CHANNEL = '\n[channels]\npager = "file:secrets/pager"\n'


@pytest.fixture
def closed(desk: Desk) -> str:
    """It ended with refunds switched off, and everybody went home."""
    ladder = 'proofs = ["ssh"]\nladder = [{after_minutes = 10, channels = ["pager"]}]\n\n[[rights]]\nreversibilities'
    desk.change("policy.toml", 'proofs = ["ssh"]\n\n[[rights]]\nreversibilities', ladder)
    policy_plus(desk, CHANNEL)
    incident = desk.declare()
    desk.respond(incident)
    desk.contain(incident)
    close_incident.fn(incident, "partial")
    assert status(desk) == "off"
    return incident


def undo(desk: Desk, incident: str) -> Ran:
    return desk("undo", incident, "--action", "refund-tool", "--json")


def inbox(desk: Desk) -> list[str]:
    return [one["request"] for one in desk("inbox", "--json").json["requests"]]


def test_it_is_in_the_inbox_until_it_is_given_back(desk: Desk, closed: str) -> None:
    assert inbox(desk) == []
    request = undo(desk, closed).json["acts"][0]["request"]
    assert inbox(desk) == [request]
    for person in ("dora", "cleo"):
        assert desk.approve(request, person).code == 0
    assert undo(desk, closed).code == 0
    assert status(desk) == "on"
    assert inbox(desk) == []
    assert judged_again(desk, closed) == []


def test_what_was_given_back_otherwise_is_asked_for_no_more(desk: Desk, closed: str) -> None:
    request = undo(desk, closed).json["acts"][0]["request"]
    afterwards = Afterwards(desk.installation)
    assert afterwards.incidents() == [closed]
    for person in ("dora", "cleo"):
        desk.approve(request, person)
    undo(desk, closed)
    assert afterwards.incidents() == []
    assert Afterwards(desk.installation).incidents() == []


def test_the_keeper_tells_people_and_then_expires_it(desk: Desk, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr("tasks.telling._send", lambda _i, _ref, title, _text: sent.append(title) or "")  # type: ignore[func-returns-value]
    afterwards = Afterwards(desk.installation)
    assert afterwards.incidents() == []
    request = undo(desk, closed).json["acts"][0]["request"]

    def round_of_the_keeper() -> None:
        for incident in afterwards.incidents():
            attend(desk.installation, incident)

    round_of_the_keeper()
    assert sent == []
    at(monkeypatch, desk, 11)
    round_of_the_keeper()
    assert sent == [f"quell: {request} waits for ana, cleo, dora"]
    at(monkeypatch, desk, 240)
    round_of_the_keeper()
    round_of_the_keeper()
    (expired,) = written(desk, closed, EntryType.REQUEST_EXPIRED)
    assert expired["request"] == request
    assert inbox(desk) == []
    assert afterwards.incidents() == []
    again = undo(desk, closed).json["acts"][0]
    assert (again["outcome"], again["request"] != request) == ("waiting", True)
    assert afterwards.incidents() == [closed]


def test_what_a_closed_incident_did_not_take_away_stays_as_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to take away end with their incident: nobody is told of them, nothing is written after closure."""
    incident = desk.declare()
    desk.respond(incident)
    assert len(inbox(desk)) == 2
    close_incident.fn(incident, "not_contained")
    assert inbox(desk) == []
    assert Afterwards(desk.installation).incidents() == []
    before = desk.installation.store.size()
    at(monkeypatch, desk, 300)
    attend(desk.installation, incident)
    assert desk.installation.store.size() == before
    assert {request.purpose for request in requests_of(desk.installation, incident)} == {Purpose.CONTAIN}


def test_a_consent_that_was_not_used_in_its_time_is_asked_for_anew(
    desk: Desk, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = undo(desk, closed).json["acts"][0]["request"]
    for person in ("dora", "cleo"):
        assert desk.approve(request, person).code == 0
    late(monkeypatch, desk, 60 * 24)
    again = undo(desk, closed).json["acts"][0]
    assert (again["outcome"], status(desk)) == ("waiting", "off")
    assert again["request"] != request
    for person in ("dora", "cleo"):
        assert desk.approve(again["request"], person).code == 0
    assert undo(desk, closed).json["acts"][0]["outcome"] == "undone"
    assert status(desk) == "on"
    claimed = desk.installation.store.entries(closed, types=(EntryType.EFFECT_CLAIMED,))[-1]
    asked = {one.id: one.digest() for one in requests_of(desk.installation, closed)}
    assert claimed.subject["request"] == asked[again["request"]], "under the consent that is in its time"
    assert judged_again(desk, closed) == []


def test_what_came_back_is_done_no_more_and_undone_no_more_whatever_became_of_its_consent(
    desk: Desk, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = undo(desk, closed).json["acts"][0]["request"]
    for person in ("dora", "cleo"):
        desk.approve(request, person)
    assert undo(desk, closed).code == 0
    kept = len(desk.installation.store.entries(closed))
    at(monkeypatch, desk, 60 * 24)
    assert contain.fn(closed, "refund-tool") == "effective", "what it was"
    assert give_back.fn(closed, "refund-tool", Purpose.UNDO) == "undone"
    assert status(desk) == "on"
    assert len(desk.installation.store.entries(closed)) == kept, "no failure, no call for anybody"
