"""The far side on paper holds nobody up: a process that sleeps in the middle of its write keeps no reader waiting."""

import fcntl

import pytest

from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of, requests_of, settle, verdict_on
from tasks.containment import contain
from tasks.ledger import flow_actor
from tests.steps.desk import Desk
from tests.steps.glass import status, written

TOOL = "refund-tool"


@pytest.fixture
def granted(desk: Desk) -> str:
    """People consented; whoever waits for another writer gives up soon."""
    desk.change("systems.toml", "[systems.helper.connections.side.settings]\n",
                "[systems.helper.connections.side.settings]\ndeadline_seconds = 1\n")  # fmt: skip
    incident = desk.declare()
    desk.respond(incident)
    place = desk.installation
    for request in requests_of(place, incident):
        for person in ("ana", "cleo"):
            desk.approve(request.id, person)
        settle(place.pen(flow_actor("test")), request, verdict_on(place, request))
    return incident


def test_readers_do_not_wait_and_a_writer_gives_up_in_time(desk: Desk, granted: str) -> None:
    place = desk.installation
    act = plan_of(place, granted).action(TOOL)
    connector = place.connector(act.system, act.connector, place.active())
    with (desk.home / ".world.json.lock").open("a") as sleeper:
        fcntl.flock(sleeper, fcntl.LOCK_EX)
        assert connector.observe(act)["status"] == "on"
        assert contain.fn(granted, TOOL) == "failed"
        assert not written(desk, granted, EntryType.EFFECT_APPLIED)
    assert contain.fn(granted, TOOL) == "effective"
    assert (status(desk), len(desk.world["effects"])) == ("off", 1)
