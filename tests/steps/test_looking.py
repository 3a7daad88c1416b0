"""How the keeper takes turns, and what one incident whose record contradicts itself does to the others: nothing."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.doors import interference, keeper, looking
from flows.doors.looking import FORMS_PER_ROUND, LOOKS_PER_ROUND, Look, form_stands, is_starting
from flows.doors.pausing import SETTLE_SECONDS
from flows.doors.run_processes import gone
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from tasks.ledger import clock, flow_actor, this_process
from tasks.presence import lease_name
from tasks.starting import HANDED, WOKEN
from tests.steps.desk import Desk


def test_everybody_gets_a_turn_and_closely_too(desk: Desk) -> None:
    names = [f"INC-{number}" for number in range(2 * LOOKS_PER_ROUND + 5)]
    looked, closely, rounds = set[str](), set[str](), 0
    while closely != set(names):
        look = Look.of_round(desk.installation, names, rounds)
        assert len(look.incidents) <= LOOKS_PER_ROUND
        assert look.closely <= look.incidents
        assert len(look.closely) <= FORMS_PER_ROUND
        looked |= look.incidents
        closely |= look.closely
        rounds += 1
        assert rounds < 100, "somebody never gets a turn"
    assert looked == set(names)
    assert rounds <= 3 * LOOKS_PER_ROUND / FORMS_PER_ROUND + 3


def test_a_record_that_contradicts_itself_stops_no_round(desk: Desk) -> None:
    broken, sound = desk.declare(), desk.declare()
    for incident in (broken, sound):
        desk.installation.pen(flow_actor("test"), "no identifier").write(
            EntryType.RUN_SUSPENDED, f"suspended/{incident}", incident=incident, body={"form": "gate-0", "seen": 0}
        )
    with closing(sqlite3.connect(desk.home / "ledger.db")) as ledger:
        ledger.execute("UPDATE quell_entries SET core = ? WHERE incident = ? AND incident_seq = 0", (b"{}", broken))
        ledger.commit()
    look = Look.of_round(desk.installation, [broken, sound], 0)
    assert look.incidents == {broken, sound}
    assert look.paused == frozenset()


def test_prefect_is_not_asked_about_what_has_only_just_been_opened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def none_of(incident: str) -> list[object]:
        asked.append(incident)
        return []

    monkeypatch.setattr(keeper, "runs_of", none_of)
    monkeypatch.setattr(keeper, "start_response_run", lambda *_, **__: asked.append("started"))
    place, incident = desk.installation, desk.declare()
    entries = [entry for entry in place.store.entries(incident) if entry.type is EntryType.INCIDENT_OPENED]
    keeper.restart(place, incident, entries)
    assert asked == []
    monkeypatch.setattr(keeper, "clock", lambda: later(entries[0].at, SETTLE_SECONDS + 1))
    keeper.restart(place, incident, entries)
    assert asked == [incident, "started"]


def test_a_run_that_is_gone_is_on_record_and_one_that_only_lost_its_tags_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, incident = desk.installation, desk.declare()
    place.pen(flow_actor("test"), "the-run").write(EntryType.RUN_STARTED, "started/the-run", incident=incident)
    for there, noted in ((True, []), (False, ["the run was deleted"])):
        monkeypatch.setattr(interference, "is_there", lambda _, there=there: there)
        for _ in range(2):
            interference.note_deleted(place, incident, place.store.entries(incident), [])
        found = place.store.entries(incident, types=(EntryType.RUN_INTERFERED,))
        assert [entry.body["because"] for entry in found] == noted


@pytest.mark.parametrize("kind", StateType)
@pytest.mark.parametrize("age", [0, 60])
def test_a_working_run_that_shows_another_state_is_on_record_whatever_its_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: StateType, age: int
) -> None:
    place, run, incident = desk.installation, str(uuid4()), desk.declare()
    place.pen(flow_actor("test"), run).write(EntryType.RUN_STARTED, f"started/{run}", incident=incident)
    state: State = State(type=kind, name="Running", timestamp=datetime.now(UTC) - timedelta(seconds=age))
    shown = FlowRun(id=UUID(run), flow_id=uuid4(), state=state)
    monkeypatch.setattr(interference, "runs_of", lambda _: [shown])
    monkeypatch.setattr(interference, "JUST_NOW_SECONDS", 0.0)
    place.store.take_lease(
        lease_name(incident), holder=this_process(run), now=clock(), seconds=60, gone=lambda _: False
    )
    for _ in range(2):
        interference.note_working(place, incident)
    passing = kind in interference.ON_THE_WAY and age < interference.ON_THE_WAY_SECONDS
    noted = place.store.entries(incident, types=(EntryType.RUN_INTERFERED,))
    assert len(noted) == (0 if kind is StateType.RUNNING or passing else 1)


@pytest.mark.parametrize(
    ("message", "named", "seconds", "starting"),
    [
        (f"{HANDED} (1)", False, 20, True),
        (f"{HANDED} (1)", False, 60, False),
        (f"{HANDED} (1)", True, 20, False),
        ("", False, 20, False),
        ("", False, 5, True),
    ],
)
def test_one_that_was_handed_over_has_the_time_of_one_that_waits_for_its_worker(
    message: str, named: bool, seconds: int, starting: bool
) -> None:
    """It is created as Running; that its process is not named yet does not mean that it has gone."""
    state = State(
        type=StateType.RUNNING,
        name="Running",
        message=message,
        timestamp=datetime.now(UTC) - timedelta(seconds=seconds),
    )
    run = FlowRun(flow_id=uuid4(), state=state, infrastructure_pid="elsewhere:1:x" if named else None)
    assert is_starting(run) is starting
    assert is_starting(run, begun=True) is (seconds == 5), "no worker is waited for any more"


@pytest.mark.parametrize(
    ("kind", "named", "seconds", "is_gone"),
    [
        (StateType.RUNNING, None, 600, True),
        (StateType.RUNNING, None, 60, False),
        (StateType.PENDING, None, 600, False),
        (StateType.RUNNING, "elsewhere:1:x", 600, False),
    ],
)
def test_a_run_whose_worker_was_killed_before_it_named_a_process_does_not_run_for_ever(
    kind: StateType, named: str | None, seconds: int, *, is_gone: bool
) -> None:
    """A review has nobody else who would miss it."""
    state = State(type=kind, timestamp=datetime.now(UTC) - timedelta(seconds=seconds))
    assert gone(FlowRun(flow_id=uuid4(), state=state, infrastructure_pid=named)) is is_gone


@pytest.mark.parametrize(("seconds", "stands"), [(20, True), (60, False)])
def test_one_that_was_woken_here_and_has_not_begun_yet_is_nobodys_interference(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, seconds: int, stands: bool
) -> None:
    """It still names the process that ended when it went to sleep; its worker may have died, too."""
    incident, run_id = desk.declare(), uuid4()
    form = desk.installation.pen(flow_actor("test"), str(run_id)).write(
        EntryType.RUN_SUSPENDED, f"suspended/{run_id}", incident=incident, body={"form": "gate-0", "seen": 0}
    )
    woken = State(
        type=StateType.RUNNING, name="Running", message=WOKEN, timestamp=datetime.now(UTC) - timedelta(seconds=seconds)
    )
    run = FlowRun(id=run_id, flow_id=uuid4(), state=woken, infrastructure_pid="elsewhere:1:mark")
    monkeypatch.setattr(looking, "runs_of", lambda _: [run])
    assert form_stands(desk.installation, form) is stands
    assert desk.installation.store.entries(types=(EntryType.RUN_INTERFERED,)) == []
