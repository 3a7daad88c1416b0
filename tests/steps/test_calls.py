"""Calls for a person: made when the response cannot go on or ends without what it wanted, told, and not wiped out by closing."""

from collections.abc import Iterator

import pytest

from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of
from tasks.connectors._signals import Act, MaybeDoneError
from tasks.connectors.memory import Memory
from tasks.containment import contain, judge
from tasks.ledger import flow_actor
from tasks.outcome import ending_of
from tasks.recovery import validate_recovery
from tests.steps.desk import Desk
from tests.steps.glass import policy_plus, written
from tests.steps.test_telling import Receiver

CHANNELS = (
    '\n[channels]\nchat = "file:secrets/chat"\n[opening_channels]\nSEV1 = ["chat"]\nSEV2 = ["chat"]\nSEV3 = ["chat"]\n'
)


@pytest.fixture
def heard(desk: Desk) -> Iterator[list[dict[str, str]]]:
    """What the one channel of the policy was told."""
    receiver = Receiver()
    (desk.home / "secrets" / "chat").write_text(receiver.address)
    policy_plus(desk, CHANNELS)
    desk.change("systems.toml", "[systems.helper.connections.side.settings]\n",
                "[systems.helper.connections.side.settings]\nreadback_seconds = 0\n")  # fmt: skip
    yield receiver.heard
    receiver.close()


def needed(desk: Desk, incident: str) -> str:
    rows = desk("incidents", "--json").json["incidents"]
    return str(next(row["needed"] for row in rows if row["incident"] == incident))


def end(desk: Desk, incident: str) -> None:
    """What every response does at its end."""
    pen = desk.installation.pen(flow_actor("test"))
    pen.write(EntryType.REVIEW_SCHEDULED, f"review/{incident}", incident=incident, body={"due": "soon"})
    ending = ending_of(incident)
    pen.write(EntryType.INCIDENT_CLOSED, f"closed/{incident}", incident=incident, body={"ending": ending})


def review(desk: Desk, incident: str) -> None:
    pen = desk.installation.pen(flow_actor("test"))
    pen.write(EntryType.REVIEW_DRAFTED, f"drafted/{incident}", incident=incident, body={"actions": []})


def approved(desk: Desk) -> str:
    incident = desk.declare()
    desk.respond(incident)
    for waits in desk("inbox", "--json").json["requests"]:
        for person in ("ana", "cleo"):
            desk.approve(waits["request"], person)
    return incident


def test_what_was_not_taken_away_is_called_for_until_the_review_takes_it_up(
    desk: Desk, heard: list[dict[str, str]]
) -> None:
    incident = desk.declare()
    desk.respond(incident)
    for _ in range(2):
        judge.fn(incident)
    end(desk, incident)
    assert needed(desk, incident) == "decide about what is not taken away: refund-tool, system-prompt"
    assert [one["title"] for one in heard] == [f"quell: {incident} needs a person (DRILL)"]
    assert "refund-tool, system-prompt" in heard[0]["message"]
    review(desk, incident)
    assert needed(desk, incident) == "nothing"


def test_a_fix_that_does_not_hold_is_called_for_after_the_closing(desk: Desk, heard: list[dict[str, str]]) -> None:
    incident = approved(desk)
    for action in plan_of(desk.installation, incident).actions:
        contain.fn(incident, action.id)
    for _ in range(2):
        assert validate_recovery.fn(incident) is False
    end(desk, incident)
    assert needed(desk, incident).startswith("whether the fix holds was not tried: see yourself whether it does.")
    assert [one["message"][:35] for one in heard] == ["whether the fix holds was not tried"]
    review(desk, incident)
    assert needed(desk, incident) == "nothing"


def test_an_unknown_outcome_calls_at_once_and_until_it_is_known(
    desk: Desk, heard: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = approved(desk)

    def vanish(memory: Memory, act: Act) -> None:
        raise MaybeDoneError(f"{memory.place.name} said nothing about {act.action.target}: hostile words")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "_apply", vanish)
        for _ in range(2):
            assert contain.fn(incident, "refund-tool") == "unknown"
    assert len(written(desk, incident, EntryType.PERSON_NEEDED)) == 1, "before anything else was settled, and once"
    assert needed(desk, incident).startswith(
        "look at refunds of helper itself: nobody knows whether refund-tool was done"
    )
    assert len(heard) == 1
    assert "hostile words" not in str(heard)
    assert contain.fn(incident, "system-prompt") == "unverified"
    assert "refund-tool was done" in needed(desk, incident), "what becomes of another act says nothing about this one"
    assert contain.fn(incident, "refund-tool") == "effective"
    assert "refund-tool was done" not in needed(desk, incident)
