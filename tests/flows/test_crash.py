"""`kill -9` anywhere: the response goes on from where it was, no effect happens twice, the record has no hole.

What happened twice is counted outside quell: writes of the flag file as the kernel saw them, label moves and revocations
on the wire, the version of the client's record in the authorization server's own database.
"""

from __future__ import annotations

import os
import random
import signal

import pytest

from runbooks.domain.incident import Archetype
from runbooks.domain.ledger import EntryType as E
from tasks.incident import incident_of_run
from tests.flows.ground import Ground, attacked, attacked_again
from tests.flows.killer import Boundary, Killer, kill_at_random, slowest, stopped
from tests.flows.papers import effects_on_paper
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]

RESTART_SECONDS = 60
KILLED_SECONDS = 420
EARLY = [
    Boundary(kind) for kind in (E.RUN_STARTED, E.COLLECTION_SEALED, E.EVIDENCE_SEALED, E.AFFECTED_LISTED, E.PLAN_MADE)
]
ASKED = [
    Boundary(kind)
    for kind in (E.APPROVAL_REQUESTED, E.HISTORY_MIRRORED, E.RUN_SUSPENDED, E.RUN_WOKEN, E.REQUEST_GRANTED)
]
ACTED = [
    Boundary(kind, undo=False) for kind in (E.EFFECT_CLAIMED, E.BEFORE_CAPTURED, E.EFFECT_SENDING, E.EFFECT_APPLIED)
]
PROVEN = [Boundary(kind) for kind in (E.PROBES_JUDGED, E.CONTAINMENT_JUDGED, E.TRIALS_MADE, E.RECOVERY_JUDGED)]
RETURNED = [
    Boundary(kind, undo=True) for kind in (E.EFFECT_CLAIMED, E.BEFORE_CAPTURED, E.EFFECT_SENDING, E.EFFECT_UNDONE)
]
LATE = [Boundary(E.REVIEW_SCHEDULED), Boundary(E.INCIDENT_CLOSED)]


def test_killed_at_every_boundary(worlds: Ground) -> None:
    """Two responses side by side; between them every boundary, most of them in both."""
    ground, one, two = worlds, worlds.sides["one"], worlds.sides["two"]
    attacked(one, Archetype.PROMPT_INJECTION)
    attacked(two, Archetype.AGENTIC_MISALIGNMENT)
    before = {side: side.counts() for side in (one, two)}
    injected = ground.open("one", run=False)
    astray = ground.open("two", Archetype.AGENTIC_MISALIGNMENT, run=False)
    with (
        Killer(ground, injected, EARLY[::2] + ASKED + ACTED[::2] + PROVEN[::2] + RETURNED[1::2] + LATE[:1]) as first,
        Killer(ground, astray, EARLY[1::2] + ACTED + PROVEN[1::2] + RETURNED[::2] + LATE[1:]) as second,
    ):
        ground.respond(injected, Archetype.PROMPT_INJECTION)
        ground.respond(astray, Archetype.AGENTIC_MISALIGNMENT)
        for incident in (injected, astray):  # whoever answers sooner spares it a boundary
            ground.wait(incident, E.RUN_SUSPENDED)
        assert ground.ending(injected, KILLED_SECONDS, also=[astray]) == "recovered"
        assert ground.ending(astray, KILLED_SECONDS) == "recovered"
    assert first.left == []
    assert second.left in ([], LATE[1:])  # a run that has closed its incident may be gone before anybody can kill it
    assert first.struck >= 12
    assert second.struck >= 7
    assert slowest(first.kills + second.kills) < RESTART_SECONDS

    assert attacked_again(one, Archetype.PROMPT_INJECTION) == attacked_again(two, Archetype.AGENTIC_MISALIGNMENT) == 0
    changed = one.since(before[one])
    assert (changed["flag file written"], changed["label moved"], changed["client version"]) == (2, 1, 0)
    changed = two.since(before[two])
    assert (changed["flag file written"], changed["label moved"], changed["client version"]) == (2, 1, 2)
    assert changed["token revoked"] in (1, 2), "revoking a revoked token is nothing (RFC 7009), so it may be sent again"
    for incident in (injected, astray):
        ground.sound(incident)
        assert len(ground.entries(incident, E.EVIDENCE_SEALED, E.INCIDENT_CLOSED, E.REVIEW_SCHEDULED)) == 3


def test_what_was_sent_through_the_form_is_not_lost(ground: Ground) -> None:
    """The process dies as soon as the incident stands and it is the one that responds."""
    start = {"system": "opened", "what_happened": "odd refunds", "drill": True}
    run = ground.start("prompt_injection", start)
    incident = incident_of_run(ground.installation, run)
    pid, responding = until(lambda: ground.worker_of(incident), what="the run has a process")
    assert responding == run
    os.kill(pid, signal.SIGKILL)
    assert ground.ending(incident) == "contained"
    assert len(ground.entries(incident, E.INCIDENT_OPENED)) == 1
    assert effects_on_paper(ground.home, "opened") == ["tool-0 off"]
    ground.sound(incident)


def test_killed_at_random(worlds: Ground) -> None:
    ground, side = worlds, worlds.sides["one"]
    attacked(side, Archetype.PROMPT_INJECTION)
    before = side.counts()
    luck = random.Random(20)  # noqa: S311 - the same luck each time
    incident = ground.open("one")
    kills = kill_at_random(ground, incident, 5, lambda: luck.uniform(0.0, 2.5))
    assert ground.ending(incident, KILLED_SECONDS) == "recovered", [kill.index for kill in kills]
    changed = side.since(before)
    assert (changed["flag file written"], changed["label moved"]) == (2, 1)
    ground.sound(incident)


def test_a_process_that_slept_finds_itself_replaced(ground: Ground) -> None:
    """Stopped, not dead: its lease runs out, another run takes over; when it wakes it does nothing more."""
    incident = ground.open("stopped", run=False)
    run = ground.respond(incident, Archetype.PROMPT_INJECTION)
    ground.wait(incident, E.RUN_STARTED)
    held = until(lambda: ground.worker_of(incident) or ground.has(incident, E.RUN_SUSPENDED))
    assert held is not True, "it was too quick to be stopped"
    with stopped(ground.home, held[0]):
        ground.wait(incident, E.RESPONSE_RESTARTED)
        assert ground.ending(incident) == "contained"
    ground.wait(incident, E.RUN_SUPERSEDED)
    closed = ground.wait(incident, E.INCIDENT_CLOSED).index
    late = [e.type for e in ground.entries(incident) if e.index > closed and e.flow_run_id == run]
    assert set(late) <= {E.RUN_SUPERSEDED}, late
    assert effects_on_paper(ground.home, "stopped") == ["tool-0 off"]
    ground.sound(incident)


def test_everything_killed_in_the_middle(worlds: Ground) -> None:
    """Server, worker, keeper, nursery and run, all at once, right after something was sent; then `up` again."""
    ground, side = worlds, worlds.sides["one"]
    attacked(side, Archetype.PROMPT_INJECTION)
    before = side.counts()
    incident = ground.open("one")
    waiting = ground.open("swept")

    def something_is_sent() -> bool:
        ground.help(incident)
        return ground.has(incident, E.EFFECT_SENDING)

    until(something_is_sent, 120, what="something is sent")
    ground.kill_everything()
    ground.up()
    assert ground.ending(incident) == "recovered"
    assert ground.ending(waiting) == "contained"
    assert attacked_again(side, Archetype.PROMPT_INJECTION) == 0
    changed = side.since(before)
    assert (changed["flag file written"], changed["label moved"]) == (2, 1)
    assert effects_on_paper(ground.home, "swept") == ["tool-0 off"]
    ground.sound(incident)
    ground.sound(waiting)
