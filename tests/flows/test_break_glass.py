"""One person alone, with Prefect up and with Prefect down, given back by a keeper that finds no Prefect; and a denial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flows.doors import practice
from flows.doors.processes import start_mark, stop_process
from flows.doors.up import stop
from runbooks.domain.approval import Answer
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import milliseconds_between
from runbooks.domain.ledger import EntryType
from runbooks.domain.replay import Outcome, Replay
from tasks.proofs import listed_fingerprints
from tests.flows.ground import Ground, attacked, attacked_again
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]
QUELL = [sys.executable, "-m", "flows.doors.cli"]


def smash(ground: Ground, incident: str) -> dict[str, Any]:
    """What ana types, and what she reads."""
    words = ["--action", "refund-tool", "--as", "ana", "--key", str(practice.key_file(ground.home, "ana"))]
    words += ["--minutes", "1", "--reason", "nobody answers", "--json"]
    ran = subprocess.run(
        [*QUELL, "break-glass", incident, *words],
        check=False, capture_output=True, text=True, timeout=120, env=os.environ | {"QUELL_HOME": str(ground.home)},
    )  # fmt: skip
    assert ran.returncode == 0, ran
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@contextmanager
def keeper_alone(ground: Ground) -> Iterator[None]:
    """`quell keep`, and nothing else."""
    log = (ground.home / "logs" / "keeper-alone.log").open("ab")
    process = subprocess.Popen(
        [*QUELL, "keep"], stdout=log, stderr=log, env=os.environ | {"QUELL_HOME": str(ground.home)}
    )
    try:
        yield
    finally:
        stop_process(process.pid, start_mark(process.pid), grace_seconds=20)
        process.wait(20)
        log.close()


def judged_again(ground: Ground, incident: str) -> list[str]:
    """What replay finds to differ."""
    place = ground.installation
    house = place.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
    steps = Replay(ground.entries(incident), house, place.vault.get, listed_fingerprints).steps()
    return [f"{one.type}: {one.differences}" for one in steps if one.outcome is Outcome.DIFFERS]


def test_one_acts_alone_whether_prefect_is_up_or_down(worlds: Ground) -> None:
    ground = worlds
    up, down = ground.sides["one"], ground.sides["two"]
    attacked(up, Archetype.PROMPT_INJECTION)
    first = ground.open("one")
    run = ground.suspended(first)
    before = [side.counts() for side in (up, down)]
    assert smash(ground, first)["status"] == "effective"
    assert not up.flag_is_on()
    assert up.world.canary("issue_refund")["status"] == 403
    assert ground.suspended(first) == run, "the response waits for people as before"

    stop(ground.home)
    try:
        second = ground.open("two", run=False)
        assert smash(ground, second)["status"] == "effective"
        assert not down.flag_is_on()
        order = [entry.type for entry in ground.entries(second)]
        assert order.index(EntryType.EVIDENCE_SEALED) < order.index(EntryType.EFFECT_SENDING), "sealed first"
        with keeper_alone(ground):
            for incident in (first, second):
                ground.wait(incident, EntryType.BREAK_GLASS_ENDED, 120, outcome="undone")
    finally:
        ground.up()
    assert up.flag_is_on()
    assert down.flag_is_on()
    for side, counted in zip((up, down), before, strict=True):
        assert side.since(counted)["flag file written"] == 2, "off and on, once each"

    assert ground.ending(first) == "recovered", "an ordinary consent works after it"
    assert up.since(before[0])["flag file written"] == 4, "off once more, with consent, and on after the trials"
    assert up.flag_is_on()
    assert attacked_again(up, Archetype.PROMPT_INJECTION) == 0
    opened = ground.entries(first, EntryType.BREAK_GLASS_OPENED)[0]
    due = str(ground.wait(first, EntryType.REVIEW_SCHEDULED).body["due"])
    assert milliseconds_between(opened.at, due) <= 24 * 3_600_000, "the review comes soon after a break-glass"
    for incident in (first, second):
        ground.sound(incident)
        assert judged_again(ground, incident) == []


def test_after_a_denial_the_runbook_s_other_act_is_asked_for_and_done(worlds: Ground) -> None:
    ground, side = worlds, worlds.sides["one"]
    before = side.counts()
    incident = ground.open("one")
    ground.suspended(incident)
    asked = {request.step: request for request in ground.open_requests(incident)}
    assert set(asked) == {"refund-tool", "system-prompt"}
    ground.decide(asked["refund-tool"], "ben", Answer.DENY)
    ground.ring(incident)
    proposed = ground.wait(incident, EntryType.ALTERNATIVE_PROPOSED)
    assert (proposed.body["instead_of"], proposed.body["proposed"]) == ("refund-tool", ["agent-client (wider)"])

    def instead() -> list[Any]:
        return [request for request in ground.open_requests(incident) if request.step == "agent-client"]

    (request,) = until(instead, what="the wider act is asked for")
    ground.suspended(incident)
    assert ground.entries(incident, EntryType.RUN_SUSPENDED)[-1].body["requests"] == [
        asked["system-prompt"].id,
        request.id,
    ]
    assert side.since(before)["client version"] == 0, "nothing was done that nobody consented to"
    assert ground.ending(incident) == "partial", "what was refused is never rounded up"
    assert ground.has(incident, EntryType.PROBES_JUDGED, action="agent-client", status="effective")
    assert side.since(before)["flag file written"] == 0, "the tool stayed on, as people wanted"
    assert side.since(before)["client version"] == 1
    assert judged_again(ground, incident) == []
    ground.sound(incident)
