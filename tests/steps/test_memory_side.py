"""The far side on paper holds nobody up: a process that sleeps in the middle of its write keeps no reader waiting."""

import fcntl

import pytest

from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of
from tasks.containment import contain
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
    desk.consent(incident)
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
