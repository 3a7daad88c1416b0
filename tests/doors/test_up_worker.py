"""`up` and the worker against a real Prefect server, with a toy checkout: one server for all tests here."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from flows.doors.engine_server import engine_credential, engine_environment
from flows.doors.listing import ROOT
from flows.doors.processes import alive
from flows.doors.up import attach
from tests.doors.toy import LIMIT, Place, until

LISTENER = """
import asyncio
from types import SimpleNamespace
from flows.doors.worker_loops import _listen

async def main():
    worker = SimpleNamespace(hears=False, cancellations=False, wake=asyncio.Event())
    listening = asyncio.create_task(_listen(worker))
    async with asyncio.timeout(60):
        await worker.wake.wait()
        print("hears", worker.hears, flush=True)
        worker.cancellations = False
        for word in ("scheduled", "cancelling"):
            worker.wake.clear()
            while not worker.wake.is_set() or (word == "cancelling") > worker.cancellations:
                await asyncio.sleep(0.01)
            print(word, flush=True)

asyncio.run(main())
"""
pytestmark = [pytest.mark.engine, pytest.mark.slow]


def test_up_tells_no_secret_and_lets_nobody_in_without_one(place: Place) -> None:
    status = attach(place.home)
    assert status is not None
    assert set(status.children) == {"server", "worker"}
    secret = engine_credential(place.home)
    assert secret.partition(":")[2] not in (place.home / "up.json").read_text()
    assert stat.S_IMODE((place.home / "secrets" / "prefect-auth").stat().st_mode) == 0o600
    for log in (place.home / "logs").iterdir():
        assert secret.partition(":")[2] not in log.read_text()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{status.api_url}/work_pools/quell", timeout=5)  # noqa: S310
    assert refused.value.code == 401
    refused.value.close()


def test_a_second_up_in_the_same_home_says_so(place: Place) -> None:
    argv = [sys.executable, "-m", "flows.doors.up", str(place.home), str(place.checkout / "prefect.yaml"), "{}"]
    second = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "already up" in second.stdout


def test_a_gate_suspends_and_goes_on_in_a_fresh_process(place: Place) -> None:
    run_id = place.create("gate", "gate")
    place.reaches(run_id, "Suspended")
    answer = {"run_input": {"decision": "yes"}}  # repeated: Prefect shows Suspended a moment before it takes answers
    until(lambda: place.calls.call("POST", f"/flow_runs/{run_id}/resume", answer)["status"] == "ACCEPT", 5)
    place.reaches(run_id, "Completed")
    assert place.words("gate") == ["before", "before", "after-yes"]
    assert "CRASHED" not in place.history(run_id)


def test_the_event_stream_wakes_the_worker_when_a_run_is_scheduled(place: Place) -> None:
    """The listener alone, without a poll beside it."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTENER], cwd=ROOT, env=engine_environment(place.home), stdout=subprocess.PIPE, text=True
    ) as listener:  # fmt: skip
        assert listener.stdout is not None
        assert listener.stdout.readline() == "hears True\n"
        run_id = place.create("slow", "heard")
        assert listener.stdout.readline() == "scheduled\n"
        assert place.child("heard")
        place.calls.call("POST", f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
        assert listener.stdout.readline() == "cancelling\n"
    assert listener.returncode == 0
    place.reaches(run_id, "Cancelled")


def test_a_killed_child_is_reported_once_and_the_next_attempt_lives(place: Place) -> None:
    run_id = place.create("slow", "killed")
    os.kill(place.child("killed"), signal.SIGKILL)
    assert "SIGKILL" in place.reaches(run_id, "Crashed", 10)["message"]
    again = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    place.calls.call("POST", f"/flow_runs/{run_id}/set_state", again)  # at once: the stock worker fails here
    until(lambda: len(place.words("killed")) == 2)
    time.sleep(3)
    assert place.state(run_id)["type"] == "RUNNING"
    assert place.history(run_id).count("CRASHED") == 1
    place.calls.call("POST", f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    place.reaches(run_id, "Cancelled")


def test_a_cancelled_run_cleans_up_and_was_never_crashed(place: Place) -> None:
    run_id = place.create("slow", "cancelled")
    pid = place.child("cancelled")
    place.calls.call("POST", f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    place.reaches(run_id, "Cancelled", 10)
    assert place.words("cancelled")[-1] == "cleaned"
    assert "CRASHED" not in place.history(run_id)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_what_the_checkout_does_not_list_is_refused(place: Place) -> None:
    calls = place.calls
    flow_id = calls.call("GET", "/deployments/name/quick/prod")["flow_id"]
    foreign = {"flow_id": flow_id, "work_pool_name": "quell", "entrypoint": "os.system", "name": "foreign"}
    deployment = calls.call("POST", "/deployments/", foreign)["id"]
    note = {"parameters": {"path": str(place.notes / "foreign")}}
    run_id = calls.call("POST", f"/deployments/{deployment}/create_flow_run", note)["id"]
    assert "not listed" in place.reaches(run_id, "Refused")["message"]
    assert any(line[0] == run_id for line in place.lines("refusals"))
    calls.call("DELETE", f"/deployments/{deployment}")
    assert not place.words("foreign")


def test_job_variables_are_refused_even_when_somebody_opened_the_pool(place: Place) -> None:
    calls = place.calls
    closed = calls.call("GET", "/work_pools/quell")["base_job_template"]
    variables = {"type": "object", "properties": {"env": {"type": "object", "default": {}}}}
    opened = {"job_configuration": {"env": "{{ env }}"}, "variables": variables}
    calls.call("PATCH", "/work_pools/quell", {"base_job_template": opened})
    run_id = place.create("quick", "variables", job_variables={"env": {"PYTHONSTARTUP": "evil.py"}})
    assert "job variables" in place.reaches(run_id, "Refused")["message"]
    calls.call("PATCH", "/work_pools/quell", {"base_job_template": closed})
    assert not place.words("variables")


def test_a_deployment_that_was_known_and_then_changed_is_refused_beside_the_start(place: Place) -> None:
    calls = place.calls
    closed = calls.call("GET", "/work_pools/quell")["base_job_template"]
    variables = {"type": "object", "properties": {"env": {"type": "object", "default": {}}}}
    opened = {"job_configuration": {"env": "{{ env }}"}, "variables": variables}
    calls.call("PATCH", "/work_pools/quell", {"base_job_template": opened})
    listed = calls.call("GET", "/deployments/name/slow/prod")["id"]
    place.create("slow", "learnt")
    child = place.child("learnt")
    os.kill(child, signal.SIGKILL)
    calls.call("PATCH", f"/deployments/{listed}", {"job_variables": {"env": {"PYTHONSTARTUP": "evil.py"}}})
    run_id = place.create("slow", "changed")
    assert "job variables" in place.reaches(run_id, "Refused")["message"]
    until(lambda: not (words := place.words("changed")) or not Path(f"/proc/{words[0].removeprefix('pid-')}").exists())
    again = place.create("slow", "changed-again")
    assert "job variables" in place.reaches(again, "Refused")["message"]
    assert place.words("changed-again") == [], "what has had an objection is no longer known"
    calls.call("PATCH", f"/deployments/{listed}", {"job_variables": {}})
    calls.call("PATCH", "/work_pools/quell", {"base_job_template": closed})


def test_a_burst_keeps_to_the_limit(place: Place) -> None:
    runs = [place.create("quick", f"burst-{number}") for number in range(10)]
    for run_id in runs:
        place.reaches(run_id, "Completed", 60)
    steps, processes = [], set()
    for number in range(10):
        begin, end = place.lines(f"burst-{number}")
        assert begin[2] == end[2], "one process from its beginning to its end"
        processes.add(begin[2])
        steps += [(float(begin[1]), 1), (float(end[1]), -1)]
    level = most = 0
    for _, step in sorted(steps):
        level += step
        most = max(most, level)
    assert 1 < most <= LIMIT
    assert len(processes) == 10, "each run has a process of its own"


def test_what_a_run_logs_is_read_in_prefect(place: Place) -> None:
    run_id = place.create("quick", "logging")
    place.reaches(run_id, "Completed")
    mine = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}

    def said() -> set[str]:
        return {str(line["message"]) for line in place.calls.call("POST", "/logs/filter", mine)}

    until(lambda: said() >= {"the flow itself says: logging", "Finished in state Completed()"})


def test_a_stopping_worker_leaves_a_crashed_run_and_comes_back(place: Place) -> None:
    run_id = place.create("slow", "drained")
    place.child("drained")
    before = attach(place.home)
    assert before is not None
    os.kill(int(before.children["worker"]["pid"]), signal.SIGTERM)
    place.reaches(run_id, "Crashed", 20)
    assert place.words("drained")[-1] == "cleaned"
    assert place.history(run_id).count("CRASHED") == 1
    until(lambda: (now := attach(place.home)) and now.children["worker"] != before.children["worker"])


def test_a_killed_worker_takes_its_children_along_and_the_next_one_says_so(place: Place) -> None:
    run_id = place.create("slow", "orphan")
    child = place.child("orphan")
    until(lambda: place.calls.call("GET", f"/flow_runs/{run_id}")["infrastructure_pid"])
    status = attach(place.home)
    assert status is not None
    os.kill(int(status.children["worker"]["pid"]), signal.SIGKILL)
    until(lambda: not Path(f"/proc/{child}").exists(), 5)
    assert "gone" in place.reaches(run_id, "Crashed", 40)["message"]


def _ended(child: dict[str, int | str]) -> bool:
    return not alive(int(child["pid"]), str(child["started"]))


def test_after_kill_9_of_up_everything_is_gone_and_a_new_up_works_at_once(place: Place) -> None:
    status = attach(place.home)
    assert status is not None
    os.kill(status.pid, signal.SIGKILL)
    for child in status.children.values():
        until(partial(_ended, child), 5)
    assert attach(place.home) is None
    assert json.loads((place.home / "up.json").read_text())["pid"] == status.pid  # stale, and known to be
    again = place.up()
    assert again.api_url == status.api_url  # links in old messages stay good
    run_id = place.create("quick", "again")
    place.reaches(run_id, "Completed")
