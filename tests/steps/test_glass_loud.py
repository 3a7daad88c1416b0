"""Break-glass is loud in spite of a dead process, a channel that is away, and a channel that hangs: after the act."""

import json

import pytest

import flows.doors.commands.break_glass as command
from runbooks.domain.errors import UnreachableError
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from tasks.break_glass import end_overdue
from tasks.glass_telling import keep_telling
from tasks.ledger import KEEPER
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, at, policy_plus, smash, status, written

CHANNELS = '\n[channels]\nchat = "file:secrets/chat"\npager = "file:secrets/pager"\n'


class Channels:
    """What each channel heard, which of them are away, and how refunds stood when the first was told."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.heard, self.away, self.stood = desk, list[tuple[str, str]](), set[str](), list[str]()

    def send(self, _: object, reference: str, title: str, text: str) -> str:
        del text
        self.stood.append(status(self.desk))
        channel = reference.rpartition("/")[2]
        if channel in self.away:
            return "the channel did not take it"
        self.heard.append((channel, title.partition(" in ")[0]))
        return ""


OPENED = [("chat", "quell: BREAK-GLASS"), ("pager", "quell: BREAK-GLASS")]


@pytest.fixture
def channels(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Channels:
    policy_plus(desk, GLASS + CHANNELS)
    found = Channels(desk)
    monkeypatch.setattr("tasks.telling._send", found.send)
    return found


def keeper(desk: Desk) -> None:
    end_overdue(desk.installation, desk.installation.pen(KEEPER))
    keep_telling(desk.installation, desk.installation.pen(KEEPER))


def test_the_act_comes_first_and_a_channel_only_after_it(desk: Desk, channels: Channels) -> None:
    ran = smash(desk, desk.declare())
    assert channels.stood == ["off", "off"]
    assert ran.json["told"] == ["chat", "pager"]
    keeper(desk)
    assert channels.heard == OPENED, "once"


def test_people_hear_of_it_though_the_act_failed(
    desk: Desk, channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> str:
        raise UnreachableError("the ledger is away.", now="nothing was done.", next_step="try again.")

    monkeypatch.setattr(command, "act_alone", fails)
    assert smash(desk, desk.declare()).code != 0
    assert channels.heard == OPENED


def test_who_died_before_telling_is_told_of_by_the_keeper(
    desk: Desk, channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DiedError(BaseException):
        """As if the process were gone."""

    def dies(*_: object) -> list[str]:
        raise DiedError

    incident = desk.declare()
    monkeypatch.setattr(command, "tell_opened", dies)
    with pytest.raises(DiedError):
        smash(desk, incident)
    assert (status(desk), channels.heard) == ("off", [])
    keeper(desk)
    keeper(desk)
    assert channels.heard == OPENED
    assert len(written(desk, incident, EntryType.PEOPLE_TOLD)) == 2


def test_a_channel_that_was_away_is_told_as_soon_as_it_is_back(
    desk: Desk, channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels.away = {"pager"}
    incident = desk.declare()
    ran = smash(desk, incident, minutes="30")
    assert ran.json["told"] == ["chat"]
    assert ran.json["not_told"] == ["pager"]
    keeper(desk)
    assert len(written(desk, incident, EntryType.TELLING_FAILED)) == 1, "not at once again"
    monkeypatch.setattr("tasks.telling.BETWEEN_TRIES_SECONDS", 0)
    keeper(desk)
    channels.away = set()
    keeper(desk)
    assert channels.heard == OPENED
    assert [one["channel"] for one in written(desk, incident, EntryType.PEOPLE_TOLD)] == ["chat", "pager"]


def test_a_channel_is_tried_less_and_less_often_and_for_about_an_hour(
    desk: Desk, channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels.away = {"chat", "pager"}
    incident = desk.declare()
    smash(desk, incident, minutes="30")
    begun = desk.installation.now()
    tried: list[int] = []
    for minute in range(120):
        then = later(begun, 60 * minute)
        for module in ("telling", "ledger"):
            monkeypatch.setattr(f"tasks.{module}.clock", lambda then=then: then)
        before = len(channels.stood)
        keep_telling(desk.installation, desk.installation.pen(KEEPER))
        tried += [minute] * (len(channels.stood) > before)
    assert tried == [1, 2, 4, 8, 16, 32, 64]
    assert len(written(desk, incident, EntryType.TELLING_FAILED)) == 2 * (1 + len(tried))


def test_what_could_not_be_given_back_is_told_again_too(
    desk: Desk, channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = desk.declare()
    smash(desk, incident)
    world = json.loads((desk.home / "world.json").read_text())
    world["targets"]["refunds"]["status"] = "half"
    (desk.home / "world.json").write_text(json.dumps(world))
    channels.away = {"chat", "pager"}
    at(monkeypatch, desk, 2)
    keeper(desk)
    assert channels.heard == OPENED
    channels.away = set()
    monkeypatch.setattr("tasks.telling.BETWEEN_TRIES_SECONDS", 0)
    keeper(desk)
    keeper(desk)
    assert channels.heard == [*OPENED, ("chat", "quell: break-glass"), ("pager", "quell: break-glass")]


def test_what_is_long_over_is_told_no_more(desk: Desk, channels: Channels, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that was added weeks later does not hear of every breaking there ever was."""
    smash(desk, desk.declare())
    at(monkeypatch, desk, 2)
    keeper(desk)
    channels.heard.clear()
    at(monkeypatch, desk, 60 * 24)
    desk.change("policy.toml", 'chat = "file', 'mail = "file:secrets/mail"\nchat = "file')
    desk.installation.activate(desk.installation.proposed(), KEEPER, {})
    keeper(desk)
    assert channels.heard == []
