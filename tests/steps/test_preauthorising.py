"""What begins without people: only for a signed, fresh signal of a source that policy names, and only so often."""

import threading

import pytest

from runbooks.domain.incident import Archetype, Origin, Report
from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of
from tasks.incident import open_incident
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, clock, door_actor, flow_actor
from tasks.planning import plan_now
from tests.steps.desk import Desk
from tests.steps.intake_ground import a_configuration

MONITOR = Origin(source="monitor", fresh=True, delivery="DLV-" + "0" * 26)


@pytest.fixture
def place(desk: Desk) -> Installation:
    found = desk.installation
    found.activate(a_configuration(found), INSTALLATION, {"proof": "a test's own configuration"})
    return found


def planned(place: Installation, name: str, origin: Origin | None = MONITOR) -> tuple[str, ...]:
    """What the plan of a new incident lets begin; the same name is the same incident."""
    report = Report(system="helper", what_happened="it runs", reporter="source monitor", reporter_proven=True,
                    lead="ana", noticed_at=clock())  # fmt: skip
    incident = open_incident(
        place, report, Archetype.AGENTIC_MISALIGNMENT, drill=True, opener=door_actor("test"), material=name.encode(),
        origin=origin and origin.model_copy(update={"received_at": clock()}),
    )  # fmt: skip
    plan_now(place, place.pen(flow_actor("test")), incident.id)
    return plan_of(place, incident.id).preauthorised


def test_a_signed_fresh_signal_of_a_named_source_begins(place: Installation) -> None:
    assert planned(place, "one") == ("refund-tool",)


@pytest.mark.parametrize(
    "origin",
    [None, MONITOR.model_copy(update={"fresh": False}), MONITOR.model_copy(update={"source": "customers"})],
    ids=["a person's report", "not fresh", "another source"],
)
def test_everything_else_waits_for_people(place: Installation, origin: Origin | None) -> None:
    assert planned(place, "one", origin) == ()


def test_the_cap_holds_also_when_plans_are_made_at_once(place: Installation) -> None:
    found: list[tuple[str, ...]] = []
    threads = [threading.Thread(target=lambda n=n: found.append(planned(place, str(n)))) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(), (), (), ("refund-tool",), ("refund-tool",)]
    refused = [entry.body["refused"] for entry in place.store.entries(types=(EntryType.PLAN_MADE,))]
    assert sum("used for as many incidents" in " ".join(lines) for lines in refused) == 3


def test_planning_again_spends_nothing_more(place: Installation) -> None:
    for _ in range(4):
        assert planned(place, "one") == ("refund-tool",)
    assert planned(place, "two") == ("refund-tool",)
    assert planned(place, "three") == ()
