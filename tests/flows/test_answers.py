"""Answers in the very instant in which somebody is asked, before the run has gone to sleep: none is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flows.doors.commands._bell import ring_bell
from flows.doors.processes import alive
from flows.doors.worker_line import socket_of
from runbooks.domain.ledger import EntryType
from tasks.starting import WOKEN
from tests.flows.ground import Ground
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]
TRIES = 5


def test_an_answer_in_the_instant_of_the_question_is_not_lost(ground: Ground) -> None:
    """Whoever answers so early may ring in vain, since no run waits yet."""
    incidents = [ground.open("early") for _ in range(TRIES)]

    def answer_at_once(incident: str) -> bool:
        (request,) = until(lambda: ground.open_requests(incident), 120, what=f"{incident} asks")
        ground.decide(request, "ben")
        early = not ground.entries(incident, EntryType.RUN_SUSPENDED)
        ground.ring(incident)
        return early

    with ThreadPoolExecutor(TRIES) as people:
        early = list(people.map(answer_at_once, incidents))
    assert any(early), "at least one was answered before the run had written that it waits"
    for incident in incidents:
        assert ground.ending(incident, helped=False) == "contained"
        assert len(ground.entries(incident, EntryType.DECISION_RECORDED)) == 1
        ground.sound(incident)


def test_who_consents_wakes_it_by_one_change_of_its_state(ground: Ground) -> None:
    """And once, however many ring."""
    until(socket_of(ground.home).exists, what="the worker listens")
    incident = ground.open("early")
    (request,) = until(lambda: ground.open_requests(incident), 120, what="somebody is asked")
    until(lambda: _sleeps(ground, incident), 60, what="it sleeps, and its process has said its last words")
    ground.decide(request, "ben")
    with ThreadPoolExecutor(3) as bells:
        rung = [woken for woken, _ in bells.map(lambda _: ring_bell(ground.installation, incident), range(3))]
    assert any(rung)
    assert ground.ending(incident, helped=False) == "contained"
    until(lambda: _states(ground, incident)[-1]["type"] == "COMPLETED", 60, what="the run ends")
    asleep, awake, ended = _states(ground, incident)[-3:]
    assert [asleep["type"], awake["type"], ended["type"]] == ["PAUSED", "RUNNING", "COMPLETED"]
    assert awake["message"] == WOKEN
    assert (
        len(ground.entries(incident, EntryType.EFFECT_CLAIMED))
        == len(ground.entries(incident, EntryType.EFFECT_APPLIED))
        == 1
    )
    ground.sound(incident)


def _sleeps(ground: Ground, incident: str) -> bool:
    (run,) = ground.runs(incident)
    _, pid, mark = (str(run["infrastructure_pid"] or "") + "::").split(":")[:3]
    return run["state"]["type"] == "PAUSED" and pid.isdigit() and not alive(int(pid), mark)


def _states(ground: Ground, incident: str) -> list[dict[str, Any]]:
    (run,) = ground.runs(incident)
    found: list[dict[str, Any]] = ground.calls.call("GET", f"/flow_run_states/?flow_run_id={run['id']}")
    return found
