"""Somebody with the engine's credential forces states, deletes runs, starts twins.

Nothing happens without a grant, the response goes on, and the attempt is on record.

This file stands last of those that share one installation: Prefect's recorder of task runs stops for minutes over the
events of a run that was deleted, and other tests hold Prefect's history against quell's.
"""

from __future__ import annotations

from itertools import zip_longest

import pytest

from runbooks.domain.ledger import EntryType
from tests.flows.ground import Ground
from tests.flows.killer import stopped
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


def at_work(ground: Ground, incident: str) -> str:
    """The run that works on this incident now; one that already waits again is woken, so that it works."""
    if holder := ground.worker_of(incident):
        return holder[1]
    ground.ring(incident)
    return ""


def test_forcing_states_gives_nothing(ground: Ground) -> None:
    """One response is always forced while it waits, the other always while it works; side by side, to save minutes."""
    waiting, working = ground.open("waiting"), ground.open("running")
    for while_waiting, while_working in zip_longest(WAITING, WORKING):
        run = ground.suspended(waiting)
        seen = ground.installation.store.size()
        interfere(ground, run, while_waiting)
        if while_working:
            run = until(lambda: at_work(ground, working), 120, what="a run works", tell=ground.told(working))
            interfere(ground, run, while_working)
        ground.wait_since(waiting, seen, EntryType.RESPONSE_RESTARTED, EntryType.RUN_WOKEN)
        ground.suspended(working)
        for incident in (waiting, working):
            assert not ground.entries(incident, EntryType.EFFECT_CLAIMED, EntryType.EFFECT_SENDING)
        ground.ring(working)
    for name in ("waiting", "running"):
        assert effects_on_paper(ground.home, name) == []
    noted = [str(e.body["because"]) for e in ground.entries(waiting, EntryType.RUN_INTERFERED)]
    for how in ("Completed", "Cancelled", "deleted"):
        assert any(how in because for because in noted), (how, noted)
    assert ground.entries(working, EntryType.RUN_INTERFERED)
    for incident, name in ((waiting, "waiting"), (working, "running")):
        assert ground.ending(incident, also=[waiting, working]) == "contained"
        assert effects_on_paper(ground.home, name) == ["tool-0 off"]
        ground.sound(incident)


def test_two_runs_of_one_incident_at_once(ground: Ground) -> None:
    incident = ground.open("twins")
    until(lambda: at_work(ground, incident), 120, what="a run works", tell=ground.told(incident))
    held = ground.worker_of(incident)
    assert held is not None, "it works for seconds"
    with stopped(ground.home, held[0]):  # either a twin gives way to it, or it finds itself replaced by one
        for twin in ("1", "2"):
            ground.respond(incident, ground.installation.incident(incident).archetype, f"twin-{twin}")
        until(
            lambda: ground.has(incident, EntryType.RUN_SUPERSEDED)
            or len(ground.entries(incident, EntryType.RUN_STARTED)) > 1,
            what="a twin is there", tell=ground.told(incident),
        )  # fmt: skip
    ground.wait(incident, EntryType.RUN_SUPERSEDED)
    assert ground.ending(incident) == "contained"
    assert effects_on_paper(ground.home, "twins") == ["tool-0 off"]
    assert len(ground.entries(incident, EntryType.APPROVAL_REQUESTED)) == 1
    ground.sound(incident)
