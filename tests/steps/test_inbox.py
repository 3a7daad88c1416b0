"""What nobody answered in time stands in the inbox, people are told again, and Prefect shows it; nothing for nothing."""

import pytest

from runbooks.domain.ledger import EntryType
from tasks.approval import requests_of, settle, verdict_on
from tasks.escalation import escalate
from tasks.ledger import KEEPER
from tasks.review import close_incident
from tests.steps.desk import Desk
from tests.steps.glass import at, policy_plus, written

RIGHT = 'roles = ["incident-commander", "on-call", "security"]\nproofs = ["ssh", "code"]'


def ladder(desk: Desk, rungs: str) -> None:
    desk.change("policy.toml", RIGHT, f"{RIGHT}\nladder = [{rungs}]")
    policy_plus(desk, '\n[channels]\npager = "file:secrets/pager"\n')


def asked(desk: Desk) -> tuple[str, str]:
    """An incident, and its request to switch refunds off."""
    incident = desk.declare()
    desk.respond(incident)
    return incident, next(one.id for one in requests_of(desk.installation, incident) if one.step == "refund-tool")


def overdue(desk: Desk, *more: str) -> dict[str, str]:
    return {one["request"]: one["overdue_because"] for one in desk("inbox", "--json", *more).json["overdue"]}


def test_what_waits_beyond_its_last_rung_is_overdue(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ladder(desk, '{after_minutes = 0, channels = ["pager"]}, {after_minutes = 15, channels = ["pager"]}')
    _, request = asked(desk)
    at(monkeypatch, desk, 16)
    assert overdue(desk) == {}, "the last people have a few minutes"
    at(monkeypatch, desk, 5)
    assert "it still needs 2 more" in overdue(desk)[request]
    assert request in overdue(desk, "--as", "ben")
    assert overdue(desk, "--as", "dora") == {}, "she may not answer it"
    assert request in [one["request"] for one in desk("inbox", "--json").json["requests"]], "it can still be answered"
    said = desk("inbox").out
    assert said.index("OVERDUE: 2 that nobody answered in time") < said.index(f"quell approve {request}")


def test_without_a_ladder_nothing_is_overdue_before_it_expires(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(desk)
    at(monkeypatch, desk, 239)
    assert overdue(desk) == {}
    assert "Nothing waits" not in desk("inbox").out


def test_what_expired_stays_in_sight_while_it_could_still_matter(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident, request = asked(desk)
    at(monkeypatch, desk, 241)
    assert desk("inbox", "--json").json["requests"] == []
    assert "expired; it still needed 2 more" in overdue(desk)[request]
    assert "OVERDUE: 2 that nobody answered in time" in desk("inbox").out
    at(monkeypatch, desk, 60 * 24 * 7)
    assert overdue(desk) == {}, "not for ever"
    monkeypatch.undo()
    at(monkeypatch, desk, 241)
    assert request in overdue(desk)
    close_incident.fn(incident, "not_contained")
    assert overdue(desk) == {}, "nobody can answer it any more"


def test_what_was_asked_for_again_is_overdue_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident, _ = asked(desk)
    desk.contain(incident)
    undo = ["undo", incident, "--action", "refund-tool", "--json"]
    first = desk(*undo).json["acts"][0]["request"]
    at(monkeypatch, desk, 241)
    assert list(overdue(desk)) == [first]
    desk(*undo)
    assert overdue(desk) == {}


class Sent(list[str]):
    """What went out, by title."""


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    found = Sent()
    monkeypatch.setattr("tasks.telling._send", lambda _i, _ref, title, _text: found.append(title) or "")  # type: ignore[func-returns-value]
    return found


def test_a_rung_that_repeats_tells_again_until_it_is_settled(
    desk: Desk, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder(desk, '{after_minutes = 5, roles = ["on-call"], channels = ["pager"], repeat_minutes = 10}')
    incident, name = asked(desk)
    place, keeper = desk.installation, desk.installation.pen(KEEPER)
    request = next(one for one in requests_of(place, incident) if one.id == name)

    def look() -> int:
        escalate(place, keeper, request, verdict_on(place, request))
        escalate(place, keeper, request, verdict_on(place, request))
        return len(sent)

    counted = []
    for minutes in (0, 5, 9, 1, 10, 35):  # 0, 5, 14, 15, 25, 60 minutes after it was asked
        at(monkeypatch, desk, minutes)
        counted.append(look())
    assert counted == [0, 1, 1, 2, 3, 4], "of those that were missed only the newest"
    assert sent[0] == f"quell: {name} waits for ben"
    assert sent[1] == f"quell: {name} still waits for ben"
    assert [one["reminder"] for one in written(desk, incident, EntryType.REQUEST_ESCALATED)] == [0, 1, 2, 5]
    for person in ("ana", "cleo"):
        desk.approve(name, person)
    settle(keeper, request, verdict_on(place, request))
    at(monkeypatch, desk, 30)
    assert look() == 4


def test_a_rung_without_it_tells_once(desk: Desk, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    ladder(desk, '{after_minutes = 5, channels = ["pager"]}')
    incident, name = asked(desk)
    place = desk.installation
    request = next(one for one in requests_of(place, incident) if one.id == name)
    for minutes in (6, 60, 60):
        at(monkeypatch, desk, minutes)
        escalate(place, place.pen(KEEPER), request, verdict_on(place, request))
    assert len(sent) == 1


@pytest.mark.usefixtures("sent")
def test_the_inbox_says_who_was_told_and_when_the_next_are(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = '{after_minutes = 0, roles = ["on-call"], channels = ["pager"]}'
    ladder(desk, first + ', {after_minutes = 15, roles = ["incident-commander"], channels = ["pager"]}')
    incident, name = asked(desk)
    place = desk.installation
    request = next(one for one in requests_of(place, incident) if one.id == name)
    assert "told nobody yet; the next at" in " ".join(desk("inbox").out.split())
    escalate(place, place.pen(KEEPER), request, verdict_on(place, request))
    assert "ben (" in desk("inbox").out
    at(monkeypatch, desk, 16)
    escalate(place, place.pen(KEEPER), request, verdict_on(place, request))
    assert "that was the last step" in " ".join(desk("inbox").out.split())
