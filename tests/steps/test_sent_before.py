"""What may have arrived, as the ledger tells the next holder of a claim: an act that must not be repeated is sent once."""

import pytest

from runbooks.domain.containment import ContainmentAction
from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of
from tasks.connectors._signals import Act, MaybeDoneError, NotDoneError
from tasks.connectors.memory import Memory
from tasks.containment import contain
from tests.steps.desk import Desk
from tests.steps.glass import status, written

TOOL = "refund-tool"


@pytest.fixture
def granted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> str:
    """People consented; the far side says nothing of when it acts, and its act must not be repeated."""
    desk.change("systems.toml", "[systems.helper.connections.side.settings]\n",
                "[systems.helper.connections.side.settings]\nreadback_seconds = 0\n")  # fmt: skip
    monkeypatch.setattr(Memory, "_repeatable", lambda *_: False)
    incident = desk.declare()
    desk.respond(incident)
    desk.consent(incident)
    return incident


def sent(desk: Desk, incident: str) -> int:
    return len(written(desk, incident, EntryType.EFFECT_SENDING))


def act_of(desk: Desk, incident: str) -> ContainmentAction:
    return plan_of(desk.installation, incident).action(TOOL)


def test_an_unknown_outcome_is_read_back_at_every_wake_and_not_sent_again(
    desk: Desk, granted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Act] = []

    def lost(memory: Memory, act: Act) -> None:
        held.append(act)
        raise MaybeDoneError(f"{memory.place.name} did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "_apply", lost)
        assert [contain.fn(granted, TOOL) for _ in range(3)] == ["unknown"] * 3
    assert (sent(desk, granted), len(held)) == (1, 1)
    assert contain.fn(granted, TOOL) == "unknown", "the far side is well again; the first request may still come"
    assert sent(desk, granted) == 1
    place = desk.installation
    act = act_of(desk, granted)
    connector = place.connector(act.system, act.connector, place.active())
    assert isinstance(connector, Memory)
    connector._apply(held[0])  # now it arrives
    assert contain.fn(granted, TOOL) == "effective"
    assert (sent(desk, granted), status(desk), len(desk.world["effects"])) == (1, "off", 1)


def test_what_was_refused_may_be_sent_again(desk: Desk, granted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(memory: Memory, act: Act) -> None:
        raise NotDoneError(f"{memory.place.name} does not do {act.action.id}")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "_apply", refuse)
        assert contain.fn(granted, TOOL) == "failed"
    assert contain.fn(granted, TOOL) == "effective"
    assert sent(desk, granted) == 2
