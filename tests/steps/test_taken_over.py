"""A give-back that certainly failed can be done again: by the keeper, less and less often, and under another consent."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.situation import situation
from tasks import giving_back
from tasks.break_glass import end_overdue
from tasks.connectors._signals import MaybeDoneError, NotDoneError, SignalError
from tasks.connectors.memory import Memory
from tasks.giving_back import give_back
from tasks.glass_telling import keep_telling
from tasks.ledger import KEEPER
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, judged_again, late, policy_plus, smash, status, written
from tests.steps.test_giving_back import asked_back, contained
from tests.steps.test_glass_loud import CHANNELS, Channels

TOOL = "refund-tool"
REFUSED, LOST = NotDoneError("503 service unavailable"), MaybeDoneError("it did not answer")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_back, "MARGIN_SECONDS", 0)


@contextmanager
def away(signal: SignalError = REFUSED) -> Iterator[None]:
    """The far side gives nothing back."""

    def refuse(*_: Any) -> None:
        raise signal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Memory, "_restore", refuse)
        yield


def keeper(desk: Desk) -> list[object]:
    """One round; what became of the breaking so far."""
    end_overdue(desk.installation, desk.installation.pen(KEEPER))
    keep_telling(desk.installation, desk.installation.pen(KEEPER))
    (incident,) = desk.installation.store.incidents()
    return [one["outcome"] for one in written(desk, incident, EntryType.BREAK_GLASS_ENDED)]


@pytest.fixture
def broken(desk: Desk) -> str:
    """Ben switched refunds off alone, for a minute, at a far side that is read back once."""
    desk.change("systems.toml", "[systems.helper.connections.side.settings]\n",
                "[systems.helper.connections.side.settings]\nreadback_seconds = 0\n")  # fmt: skip
    policy_plus(desk, GLASS + CHANNELS)
    incident = desk.declare()
    assert smash(desk, incident).json["status"] == "effective"
    return incident


@pytest.mark.parametrize("signal", [REFUSED, LOST], ids=["refused", "lost"])
def test_the_keeper_tries_again_until_it_is_given_back_and_tells_people_once(
    desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch, signal: SignalError
) -> None:
    channels = Channels(desk)
    monkeypatch.setattr("tasks.telling._send", channels.send)
    late(monkeypatch, desk, 2)
    with away(signal):
        assert keeper(desk) == ["failed"]
        assert keeper(desk) == ["failed"], "not at once again"
        late(monkeypatch, desk, 1)
        assert keeper(desk) == ["failed", "failed"]
    late(monkeypatch, desk, 1)
    assert keeper(desk) == ["failed", "failed"], "the second pause is two minutes"
    late(monkeypatch, desk, 1)
    assert keeper(desk) == ["failed", "failed", "undone"]
    assert status(desk) == "on"
    late(monkeypatch, desk, 60)
    assert keeper(desk) == ["failed", "failed", "undone"], "that is the end of it"
    told = [title for _, title in channels.heard if title == "quell: break-glass"]
    assert len(told) == 2, "each of the two channels heard once that it could not be given back"
    needed = [
        one for one in written(desk, broken, EntryType.PERSON_NEEDED) if "a person must look" in str(one["because"])
    ]
    assert len(needed) == 1
    assert situation(desk.installation.store.entries(broken)).calls == (), "nobody is needed any more"
    assert judged_again(desk, broken) == []


def test_the_pauses_grow_to_four_hours_and_it_ends_with_its_right(
    desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = desk.installation.now()

    def tries(minute: int) -> int:
        then = later(begun, 60 * minute)
        monkeypatch.setattr("tasks.installation.clock", lambda: then)
        return len(keeper(desk))

    with away():
        assert tries(2) == 1
        for number, minute in enumerate((3, 5, 9, 17, 33, 65, 129, 257, 497, 737), start=1):
            assert tries(minute - 1) == number, minute
            assert tries(minute) == number + 1, minute
        assert tries(29 * 24 * 60) == 12
        assert tries(31 * 24 * 60) == 12, "its right is over"
    failed = [one for one in written(desk, broken, EntryType.EFFECT_FAILED) if str(one["effect"]).startswith("undo/")]
    assert len(failed) == 12, "each on record"


def test_who_was_not_reached_hears_of_no_failure_that_is_over(
    desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = Channels(desk)
    monkeypatch.setattr("tasks.telling._send", channels.send)
    monkeypatch.setattr("tasks.telling.clock", lambda: later(desk.installation.now(), 3600))  # each round tells again
    channels.away = {"chat", "pager"}
    late(monkeypatch, desk, 2)
    with away():
        assert keeper(desk) == ["failed"]
    late(monkeypatch, desk, 1)
    assert keeper(desk) == ["failed", "undone"]
    channels.away = set()
    keeper(desk)
    assert "quell: break-glass" not in [title for _, title in channels.heard]
    assert status(desk) == "on", broken


def test_a_later_try_is_told_to_no_channel_that_was_not_there(
    desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = Channels(desk)
    monkeypatch.setattr("tasks.telling._send", channels.send)
    late(monkeypatch, desk, 2)
    with away():
        assert keeper(desk) == ["failed"]
        desk.change("policy.toml", 'chat = "file', 'mail = "file:secrets/mail"\nchat = "file')
        desk.installation.activate(desk.installation.proposed(), KEEPER, {})
        late(monkeypatch, desk, 60 * 24)
        assert keeper(desk) == ["failed", "failed"]
    assert "mail" not in [channel for channel, _ in channels.heard], broken


def asked_by_hand(desk: Desk, incident: str, *people: str) -> dict[str, Any]:
    """`quell undo`, these people approve, and `quell undo` again: what became of it."""

    def undo() -> dict[str, Any]:
        line: dict[str, Any] = desk("undo", incident, "--action", TOOL, "--json").json["acts"][0]
        return line

    asked = undo()
    assert asked["outcome"] == "waiting"
    for person in people:
        assert desk.approve(asked["request"], person).code == 0
    return undo()


def test_people_give_back_what_the_keeper_could_not(desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    late(monkeypatch, desk, 2)
    with away():
        assert keeper(desk) == ["failed"]
    assert asked_by_hand(desk, broken, "dora", "cleo", "ana")["outcome"] == "undone"
    assert status(desk) == "on"
    late(monkeypatch, desk, 5)
    assert keeper(desk) == ["failed", "nothing"], "it was given back already"
    assert judged_again(desk, broken) == []


def test_the_keeper_gives_back_what_people_could_not(desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    late(monkeypatch, desk, 2)
    with away():
        assert keeper(desk) == ["failed"]
        assert asked_by_hand(desk, broken, "dora", "cleo", "ana")["outcome"] == "failed"
    late(monkeypatch, desk, 5)
    assert keeper(desk) == ["failed", "undone"]
    assert judged_again(desk, broken) == []


def test_another_consent_takes_over_nothing_that_may_have_arrived(
    desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(monkeypatch, desk, 2)
    with away(LOST):
        assert keeper(desk) == ["failed"]
    sent = len(written(desk, broken, EntryType.EFFECT_SENDING))
    line = asked_by_hand(desk, broken, "dora", "cleo", "ana")
    assert line["outcome"] == "failed"
    assert "may have been done under that" in line["because"]
    assert "nobody knows whether it came back" in str(written(desk, broken, EntryType.PERSON_NEEDED))
    assert (status(desk), len(written(desk, broken, EntryType.EFFECT_SENDING))) == ("off", sent)


def test_the_replay_finds_what_was_taken_over_though_it_may_have_arrived(
    desk: Desk, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(monkeypatch, desk, 2)
    with away(LOST):
        assert keeper(desk) == ["failed"]
    assert judged_again(desk, broken) == []
    claimed = desk.installation.store.entries(broken, types=(EntryType.EFFECT_CLAIMED,))[-1]
    desk.installation.pen(KEEPER).write(
        EntryType.EFFECT_CLAIMED, "claimed/forged", incident=broken,
        subject=claimed.subject | {"grant": "sha256:" + "9" * 64}, body={**claimed.body, "fence": 2},
    )  # fmt: skip
    (found,) = judged_again(desk, broken)
    assert "before another right claims it; it may have been done" in found


def test_a_re_enabling_that_failed_is_undone_under_another_consent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = contained(desk)
    asked_back(desk, incident)
    with away():
        assert give_back.fn(incident, TOOL) == "failed"
    late(monkeypatch, desk, 24 * 60)
    assert asked_by_hand(desk, incident, "dora", "cleo")["outcome"] == "undone"
    assert status(desk) == "on"
    assert judged_again(desk, incident) == []
