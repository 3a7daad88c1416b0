"""`quell drill` as a person types it: what it prints, what it leaves to look at while it is kept, and that nothing of it survives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flows.doors.drill_report import told
from flows.doors.engine_server import EngineCalls
from flows.doors.listing import ROOT
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation, open_installation
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]

DRILL_SECONDS, STOP_SECONDS, REVIEW_SECONDS = 400, 120, 90
KEYS = {
    "incident", "archetype", "severity", "drill", "ending", "attack", "evidence", "approvals", "actions", "recovery", "review",
    "times", "timeline", "links", "bundle", "vault", "ledger", "ok",
}  # fmt: skip


def processes_of(home: Path) -> set[int]:
    """Every process on this machine that was started with or for this home."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home).encode() in said:
            found.add(int(folder.name))
    return found


@dataclass
class Kept:
    """A drill that came to its end and waits, with everything still up."""

    process: subprocess.Popen[str]
    home: Path
    """Its own, fresh one below `parent`."""
    parent: Path
    said: list[str]
    printed: list[str] = field(default_factory=list)

    @property
    def installation(self) -> Installation:
        return open_installation(self.home)

    @property
    def calls(self) -> EngineCalls:
        return EngineCalls(self.home)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    parent = tmp_path_factory.mktemp("drill")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.doors.cli", "drill", "prompt_injection", "--json", "--keep"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment | {"QUELL_HOME": str(parent)},
    )  # fmt: skip
    said: list[str] = []
    assert process.stderr is not None
    listening = threading.Thread(target=said.extend, args=(process.stderr,))
    listening.start()
    try:
        until(
            lambda: process.poll() is not None or any("left running" in line for line in said), DRILL_SECONDS,
            what="the drill's end", tell=lambda: "".join(said),
        )  # fmt: skip
        assert process.poll() is None, "".join(said)
        (home,) = (line.partition("export QUELL_HOME=")[2].strip() for line in said if "left running" in line)
        yield Kept(process, Path(home), parent, said)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        listening.join()
        process.stderr.close()
        if process.stdout is not None:
            process.stdout.close()


def test_the_review_is_a_run_of_its_own_that_drafts_when_it_begins(kept: Kept) -> None:
    (scheduled,) = kept.installation.store.entries(types=(EntryType.REVIEW_SCHEDULED,))
    incident = str(scheduled.incident)
    run = kept.calls.call("GET", f"/flow_runs/{scheduled.body['flow_run']}")
    assert (run["state"]["type"], run["parent_task_run_id"]) == ("SCHEDULED", None), "it is nobody's subflow"
    assert run["state"]["state_details"]["scheduled_time"][:16] == str(scheduled.body["due"])[:16]
    assert set(run["tags"]) >= {f"incident:{incident}", "review", "drill"}
    deployment = kept.calls.call("GET", f"/deployments/{run['deployment_id']}")
    assert (deployment["name"], run["parameters"]) == ("post_incident_review", {"incident": incident})

    now = {"state": {"type": "SCHEDULED", "message": "run now"}, "force": True}
    kept.calls.call("POST", f"/flow_runs/{run['id']}/set_state", now)
    until(
        lambda: kept.calls.call("GET", f"/flow_runs/{run['id']}")["state"]["type"] == "COMPLETED", REVIEW_SECONDS,
        what="the review is drafted", tell=lambda: str(kept.calls.call("GET", f"/flow_runs/{run['id']}")["state"]),
    )  # fmt: skip
    assert len(kept.installation.store.entries(incident, types=(EntryType.REVIEW_DRAFTED,))) == 1
    (page,) = pages_of(kept, str(run["id"]))
    assert page["key"] == f"review-{incident.lower()}"
    for words in ("### Action items", "### Timeline", "### Open questions"):
        assert words in page["data"]


def test_one_page_of_the_response_links_the_review(kept: Kept) -> None:
    (scheduled,) = kept.installation.store.entries(types=(EntryType.REVIEW_SCHEDULED,))
    incident = str(scheduled.incident)
    (started, *_) = kept.installation.store.entries(incident, types=(EntryType.RUN_STARTED,))
    (page,) = (one for one in pages_of(kept, str(started.flow_run_id)) if one["key"] == f"links-{incident.lower()}")
    for run in (started.flow_run_id, scheduled.body["flow_run"]):
        assert f"/v2/runs/flow-run/{run})" in page["data"]


def pages_of(kept: Kept, run: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kept.calls.call(
        "POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}, "limit": 200}
    )
    return found


def test_the_result_is_whole_and_nothing_survives(kept: Kept) -> None:
    assert len(processes_of(kept.parent)) > 5, "all of it is seen while it is up"
    kept.process.send_signal(signal.SIGTERM)
    assert kept.process.stdout is not None
    printed = kept.process.stdout.read()
    assert kept.process.wait(STOP_SECONDS) == 0
    assert processes_of(kept.parent) == set()
    assert any("stopped everything that this drill started" in line for line in kept.said)

    result = json.loads(printed)
    assert result.keys() >= KEYS
    assert (result["ok"], result["ending"], result["archetype"]) == (True, "recovered", "prompt_injection")
    assert result["attack"]["before"]["refunds"] > result["attack"]["after"]["refunds"] == 0
    assert result["evidence"].keys() >= {"classes", "items", "bytes", "manifest_digest", "gaps"}
    assert {act["status"] for act in result["actions"]} <= {"effective", "undone"}
    for act in result["actions"]:
        assert act["requested_at"] < act["applied_at"] <= act["effective_at"]
    assert result["recovery"].keys() >= {"trials", "hits", "bar", "upper_bound", "verdict"}
    assert result["recovery"]["verdict"] == "passed"
    assert {"to_detect", "to_seal", "to_approve", "to_all_effective", "to_recovery_judged"} <= result["times"].keys()
    assert result["review"]["scheduled_for"] > result["timeline"][-1]["at"]
    for there in (result["vault"], result["bundle"]["report"], result["review"]["invitation"]):
        assert Path(there).exists(), there

    text = told(result, kept.home)
    for line in result["timeline"]:
        assert f"{line['at'][11:19]}  " in text
    for words in (
        "DRILL PASSED",
        "incident opened",
        "given back",
        result["bundle"]["report"],
        f"show {result['incident']}",
    ):
        assert words in text
    command = text.partition(f"QUELL_HOME={kept.home} ")[2].split()[0]
    assert (ROOT / command).exists(), "it is called as it can be called here"
