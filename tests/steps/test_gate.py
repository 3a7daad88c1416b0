"""Between reading the decisions and going to sleep somebody may decide: then the run looks again instead of sleeping."""

import pytest

import tasks.gate
from runbooks.domain.approval import Purpose
from runbooks.domain.ledger import EntryType
from tasks.gate import record_suspension, view_gate
from tests.steps.desk import Desk
from tests.steps.glass import written


@pytest.fixture
def asleep(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """No engine: pages and the mirror of its history go nowhere."""
    for name in ("leave_page", "mirror_history"):
        monkeypatch.setattr(tasks.gate, name, lambda *_: None)
    return desk


def test_nobody_decided_so_it_waits(asleep: Desk) -> None:
    incident = asleep.declare()
    asleep.respond(incident)
    view = view_gate.fn(incident, Purpose.CONTAIN)
    assert view.open[0] in record_suspension.fn(incident, "gate-0", view)
    assert [one["requests"] for one in written(asleep, incident, EntryType.RUN_SUSPENDED)] == [list(view.open)]


def test_somebody_decided_while_the_page_was_made_so_it_looks_again(asleep: Desk) -> None:
    incident = asleep.declare()
    asleep.respond(incident)
    view = view_gate.fn(incident, Purpose.CONTAIN)
    asleep.approve(view.open[0], "ana")
    assert record_suspension.fn(incident, "gate-0", view) == ""
    assert not written(asleep, incident, EntryType.RUN_SUSPENDED)
    assert record_suspension.fn(incident, "gate-0", view_gate.fn(incident, Purpose.CONTAIN)) != ""
