"""Whole responses that end well, judged by what the far sides' own books say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from runbooks.domain.incident import Archetype
from runbooks.domain.ledger import EntryType
from tests.flows.ground import Ground, attacked, attacked_again
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]


def is_recorded(ground: Ground, incident: str) -> bool:
    """Prefect records task runs in order and later than they happen; runs that tests deleted hold it up for minutes."""
    mine = {"flow_runs": {"id": {"any_": [run["id"] for run in ground.runs(incident)]}}, "limit": 200}
    found = ground.calls.call("POST", "/task_runs/filter", mine)
    return any(one["name"].startswith("close the incident") and one["state_type"] == "COMPLETED" for one in found)


def replayed_by_command_and_from_the_ui(ground: Ground, incident: str) -> None:
    """Nothing is found in an honest response, with Prefect's own history beside it; the page on the run says the same."""
    until(
        lambda: all(run["state"]["type"] == "COMPLETED" for run in ground.runs(incident)), what="its run is completed"
    )
    until(lambda: is_recorded(ground, incident), 240, what="Prefect has recorded its last step")
    ran = subprocess.run(
        [sys.executable, "-m", "flows.doors.cli", "replay", incident, "--json"],
        check=False, capture_output=True, text=True, timeout=120, env=os.environ | {"QUELL_HOME": str(ground.home)},
    )  # fmt: skip
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["findings"]) == (0, []), "Prefect was asked, and agrees"
    assert found["checked"]["mirrors of Prefect"] > 1
    deployment = ground.calls.call("GET", "/deployments/name/replay/replay")["id"]
    body = {"parameters": {"incident": incident}}
    run = ground.calls.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"]
    until(lambda: ground.calls.call("GET", f"/flow_runs/{run}")["state"]["type"] == "COMPLETED", what="the replay ends")
    left = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    pages = ground.calls.call("POST", "/artifacts/filter", left)
    assert [page["key"] for page in pages] == [f"replay-{incident.lower()}"]
    assert pages[0]["data"].startswith(f"# Replay of {incident}: the record holds")


def test_prompt_injection_recovers(worlds: Ground) -> None:
    ground = worlds
    side = ground.sides["one"]
    attacked(side, Archetype.PROMPT_INJECTION)
    before = side.counts()
    incident = ground.open("one")
    assert ground.ending(incident) == "recovered"
    assert attacked_again(side, Archetype.PROMPT_INJECTION) == 0
    assert side.flag_is_on(), "the tool came back"
    assert side.prompt_version() == 1, "the fix stays"
    changed = side.since(before)
    assert changed["flag file written"] == 2, "off and on, once each"
    assert changed["label moved"] == 1
    assert changed["client version"] == 0
    assert ground.has(incident, EntryType.REVIEW_SCHEDULED)
    ground.sound(incident)
    replayed_by_command_and_from_the_ui(ground, incident)
    pages = ground.pages(incident)
    assert {key.rpartition("-inc-")[0] for key, _ in pages} >= {
        "brief",
        "evidence",
        "approval",
        "containment",
        "recovery",
        "links",
    }
    assert set(pages.values()) == {1}, "woken again and again, it still leaves one page of each kind"


def test_agentic_misalignment_acts_at_once_and_recovers(worlds: Ground) -> None:
    ground = worlds
    side = ground.sides["two"]
    attacked(side, Archetype.AGENTIC_MISALIGNMENT)
    before = side.counts()
    incident = ground.open("two", Archetype.AGENTIC_MISALIGNMENT)
    for act in ("refund-tool", "agent-client"):
        ground.wait(incident, EntryType.PROBES_JUDGED, action=act, status="effective")
    assert not side.flag_is_on()
    ground.suspended(incident)
    assert not ground.has(incident, EntryType.DECISION_RECORDED), "nobody was waited for"
    assert not ground.has(incident, EntryType.EFFECT_SENDING, action="agent-token"), "revocation waits for people"
    assert "token revoked" not in side.since(before) or side.since(before)["token revoked"] == 0
    assert ground.ending(incident) == "recovered"
    assert attacked_again(side, Archetype.AGENTIC_MISALIGNMENT) == 0
    changed = side.since(before)
    assert changed["flag file written"] == 2
    assert changed["client version"] == 2, "blocked and unblocked, once each"
    assert changed["label moved"] == 1
    assert changed["token revoked"] == 1
    ground.sound(incident)


def test_a_fix_that_does_not_hold_gives_nothing_back(worlds: Ground) -> None:
    """One that fails one time in five (prompt version 3), and one that changes nothing (version 2, in use already)."""
    ground, half, none = worlds, worlds.sides["half"], worlds.sides["none"]
    attacked(half, Archetype.PROMPT_INJECTION)
    attacked(none, Archetype.AGENTIC_MISALIGNMENT)
    injected = ground.open("half")
    astray = ground.open("none", Archetype.AGENTIC_MISALIGNMENT)

    assert ground.ending(injected, also=[astray]) == "contained"
    assert half.prompt_version() == 3
    assert ground.has(injected, EntryType.RECOVERY_JUDGED, passed=False)
    assert not ground.entries(injected, EntryType.EFFECT_UNDONE)
    assert not half.flag_is_on(), "the tool stays off"

    assert ground.ending(astray) == "contained"
    assert ground.has(astray, EntryType.RECOVERY_JUDGED, passed=False)
    undone = [entry.body["action"] for entry in ground.entries(astray, EntryType.EFFECT_UNDONE)]
    assert undone == ["agent-client"], "only what the trials needed was lifted"
    assert ground.has(astray, EntryType.PROBES_JUDGED, action="agent-client-again", status="effective")
    assert not none.flag_is_on(), "the tool stays off"
    assert none.world.canary("lookup_order")["status"] == 401, "the client is blocked again"
    for incident in (injected, astray):
        ground.sound(incident)
