"""Somebody with the engine's credential forces states, deletes runs, starts twins.

Nothing happens without a grant, the response goes on, and the attempt is on record.
"""

from __future__ import annotations

import pytest

from runbooks.domain.ledger import EntryType
from tests.flows.ground import Ground
from tests.flows.papers import effects_on_paper
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]

WAITING = ("COMPLETED", "CANCELLED", "SCHEDULED", "RUNNING", "DELETED")
WORKING = ("COMPLETED", "CANCELLED", "SCHEDULED", "DELETED")


def interfere(ground: Ground, run: str, how: str) -> None:
    if how == "DELETED":
        ground.calls.call("DELETE", f"/flow_runs/{run}")
    else:
        assert ground.force(run, how) == "ACCEPT"


def test_forcing_a_waiting_run_gives_nothing(ground: Ground) -> None:
    incident = ground.open("waiting")
    for how in WAITING:
        run = ground.suspended(incident)
        seen = ground.installation.store.size()
        interfere(ground, run, how)
        ground.wait_since(incident, seen, EntryType.RESPONSE_RESTARTED, EntryType.RUN_WOKEN)
        assert not ground.entries(incident, EntryType.EFFECT_CLAIMED, EntryType.EFFECT_SENDING), how
    assert effects_on_paper(ground.home, "waiting") == []
    interfered = [str(e.body["because"]) for e in ground.entries(incident, EntryType.RUN_INTERFERED)]
    for how in ("Completed", "Cancelled", "deleted"):
        assert any(how in because for because in interfered), (how, interfered)
    assert ground.ending(incident) == "contained"
    assert effects_on_paper(ground.home, "waiting") == ["tool-0 off"]
    ground.sound(incident)


def test_forcing_a_running_run_gives_nothing(ground: Ground) -> None:
    incident = ground.open("running")
    for how in WORKING:
        until(lambda: ground.worker_of(incident), what="a run works", tell=ground.told(incident))
        _, run = ground.worker_of(incident) or (0, "")
        if run:
            interfere(ground, run, how)
        run = ground.suspended(incident)
        assert not ground.entries(incident, EntryType.EFFECT_CLAIMED, EntryType.EFFECT_SENDING), how
        seen = ground.installation.store.size()
        ground.ring(incident)
        ground.wait_since(incident, seen, EntryType.RUN_STARTED)
    assert effects_on_paper(ground.home, "running") == []
    assert ground.ending(incident) == "contained"
    assert effects_on_paper(ground.home, "running") == ["tool-0 off"]
    ground.sound(incident)


def test_two_runs_of_one_incident_at_once(ground: Ground) -> None:
    incident = ground.open("twins")
    for twin in ("1", "2"):
        ground.respond(incident, ground.installation.incident(incident).archetype, f"twin-{twin}")
    assert ground.ending(incident) == "contained"
    ground.wait(incident, EntryType.RUN_SUPERSEDED)
    assert effects_on_paper(ground.home, "twins") == ["tool-0 off"]
    assert len(ground.entries(incident, EntryType.APPROVAL_REQUESTED)) == 1
    ground.sound(incident)
