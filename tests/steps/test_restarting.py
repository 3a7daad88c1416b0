"""What the keeper writes before it moves a run in the engine: the very states that it leaves, so that a replay knows it."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.doors import keeper, taking_up
from runbooks.domain.ledger import EntryType
from tests.steps.desk import Desk


def _run(kind: StateType) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), state=State(type=kind))


def _fakes(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    for name, does in found.items():
        monkeypatch.setattr(keeper, name, does)


def test_runs_that_are_put_aside_are_named_with_the_states_that_they_were_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = desk.declare()
    waiting, ended, aside = _run(StateType.PAUSED), _run(StateType.COMPLETED), list[UUID]()
    _fakes(
        monkeypatch, runs_of=lambda _: [waiting, ended], is_starting=lambda _, **__: False, _just_opened=lambda _: False,
        is_due=lambda *_, **__: True, note_deleted=lambda *_: None, start_response_run=lambda *_, **__: None,
        set_aside=lambda run, _: aside.append(run),
    )  # fmt: skip
    keeper.restart(desk.installation, incident, desk.installation.store.entries(incident))
    entry = desk.installation.store.entries(incident, types=(EntryType.RESPONSE_RESTARTED,))[-1]
    assert waiting.state is not None
    assert entry.body["set_aside"] == {str(waiting.id): str(waiting.state.id)}
    assert aside == [waiting.id], "one that has ended is left as it is"


def test_a_run_that_begins_again_is_named_with_the_state_that_it_crashed_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed, again = _run(StateType.CRASHED), list[UUID]()
    monkeypatch.setattr(taking_up, "starts_without_incident", lambda: [crashed])
    monkeypatch.setattr(taking_up, "start_again", again.append)
    taking_up.take_up(desk.installation)
    entry = desk.installation.store.entries(types=(EntryType.RESPONSE_RESTARTED,), flow_run_id=str(crashed.id))[-1]
    assert crashed.state is not None
    assert (entry.incident, entry.body["begun_from"]) == (None, str(crashed.state.id))
    assert again == [crashed.id]
