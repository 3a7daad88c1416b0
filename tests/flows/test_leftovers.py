"""What a closed incident left waiting is ended; what still has a reason to wait is not. Without a server."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Paused, Running, Suspended

from flows.doors import leftovers
from flows.doors.leftovers import PER_ROUND, Leftovers
from runbooks.domain.ledger import EntryType
from runbooks.domain.limits import Limits
from tasks.installation import Installation
from tasks.ledger import flow_actor
from tasks.settings import Settings


@dataclass
class Engine:
    """The runs that there are, and how often it was asked."""

    runs: list[FlowRun] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def add(self, state: State, *incidents: str) -> UUID:
        tags = [f"incident:{one}" for one in incidents]
        self.runs.append(FlowRun(id=uuid4(), flow_id=uuid4(), name="run", state=state, tags=tags))
        return self.runs[-1].id

    def runs_of(self, incident: str) -> list[FlowRun]:
        self.asked.append(incident)
        return [run for run in self.runs if f"incident:{incident}" in run.tags]

    def set_aside(self, run: UUID, why: str) -> None:
        assert "closed" in why
        self.runs = [one for one in self.runs if one.id != run]

    @property
    def left(self) -> set[UUID]:
        return {run.id for run in self.runs}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    found = Engine()
    monkeypatch.setattr(leftovers, "runs_of", found.runs_of)
    monkeypatch.setattr(leftovers, "set_aside", found.set_aside)
    return found


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    return Installation(Settings(home=tmp_path, config=tmp_path, limits=Limits()))


def close(place: Installation, *incidents: str) -> None:
    pen = place.pen(flow_actor("test"))
    for one in incidents:
        pen.write(EntryType.INCIDENT_CLOSED, f"closed/{one}", incident=one, body={"ending": "contained"})


def test_only_what_waits_for_a_closed_incident_is_ended(place: Installation, engine: Engine) -> None:
    close(place, "INC-AAAA")
    states: tuple[State, ...] = (Suspended(), Paused())
    for state in states:
        engine.add(state, "INC-AAAA")
    kept = {
        engine.add(Completed(), "INC-AAAA"), engine.add(Running(), "INC-AAAA"),
        engine.add(Suspended(), "INC-BBBB"), engine.add(Suspended(), "INC-AAAA", "INC-BBBB"),
    }  # fmt: skip
    Leftovers(place).tidy()
    assert engine.left == kept


def test_it_asks_until_nothing_is_left_and_then_no_more(place: Installation, engine: Engine) -> None:
    close(place, "INC-AAAA")
    engine.add(Running(), "INC-AAAA")
    duty = Leftovers(place)
    duty.tidy()
    engine.runs[0].state = Suspended()
    duty.tidy()
    assert engine.left == set()
    duty.tidy()
    duty.tidy()
    assert engine.asked == ["INC-AAAA"] * 3


def test_many_closed_incidents_are_a_few_questions_a_round(place: Installation, engine: Engine) -> None:
    names = [f"INC-{number:04d}" for number in range(3 * PER_ROUND)]
    close(place, *names)
    duty = Leftovers(place)
    for _ in range(4):
        duty.tidy()
    assert engine.asked == list(reversed(names)), "newest first, each once"
