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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flows.doors.engine_server import EngineCalls, engine_credential
from flows.doors.listing import ROOT
from flows.doors.processes import alive
from flows.doors.up import UpStatus, attach, start_in_background, stop

pytestmark = [pytest.mark.engine, pytest.mark.slow]

LIMIT = 4
TOY = """
import os, time
from pathlib import Path
from prefect import flow, task
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

class Answer(RunInput):
    decision: str

def note(path, word):
    with Path(path).open("a") as file:
        file.write(f"{word} {time.time()}\\n")

@task
def one(): return 1

@flow
def quick(path: str):
    note(path, "begin")
    one()
    time.sleep(0.2)
    note(path, "end")

@flow
def gate(path: str):
    note(path, "before")
    note(path, "after-" + suspend_flow_run(wait_for_input=Answer, key="gate").decision)

@flow
def slow(path: str):
    note(path, f"pid-{os.getpid()}")
    try:
        for _ in range(1200):
            time.sleep(0.05)
    finally:
        note(path, "cleaned")
"""
PREFECT_YAML = """
pull: []
deployments:
  - {name: prod, entrypoint: toy_room.toy.quick, work_pool: {name: quell}}
  - {name: prod, entrypoint: toy_room.toy.gate, work_pool: {name: quell, work_queue_name: urgent}}
  - {name: prod, entrypoint: toy_room.toy.slow, work_pool: {name: quell}}
"""
WORKER = """
import sys
from pathlib import Path
from flows.doors.worker import run_worker
home, prefect_file, refusals = map(Path, sys.argv[1:4])
def refused(run_id, reason):
    with refusals.open("a") as file:
        file.write(f"{run_id} {reason}\\n")
sys.exit(run_worker(home, limit=LIMIT, standby=2, on_refused=refused, prefect_file=prefect_file, grace_seconds=0.5))
""".replace("LIMIT", str(LIMIT))


def until(found: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.03)
    pytest.fail(f"not within {seconds} s")


@dataclass
class Place:
    home: Path
    checkout: Path
    notes: Path
    calls: EngineCalls

    @property
    def commands(self) -> dict[str, list[str]]:
        refusals = self.notes / "refusals"
        words = [sys.executable, "-c", WORKER, self.home, self.checkout / "prefect.yaml", refusals]
        return {"worker": [str(word) for word in words]}

    def up(self) -> UpStatus:
        return start_in_background(self.home, 180, commands=self.commands, prefect_file=self.checkout / "prefect.yaml")

    def create(self, flow: str, note: str, **more: Any) -> str:
        deployment = self.calls.call("GET", f"/deployments/name/{flow}/prod")["id"]
        body = {"parameters": {"path": str(self.notes / note)}, **more}
        run_id: str = self.calls.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"]
        return run_id

    def state(self, run_id: str) -> dict[str, Any]:
        state: dict[str, Any] = self.calls.call("GET", f"/flow_runs/{run_id}")["state"]
        return state

    def reaches(self, run_id: str, name: str, seconds: float = 30.0) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            state = self.state(run_id)
            return state if state["name"] == name else None

        state: dict[str, Any] = until(there, seconds)
        return state

    def history(self, run_id: str) -> list[str]:
        return [state["type"] for state in self.calls.call("GET", f"/flow_run_states/?flow_run_id={run_id}")]

    def lines(self, note: str) -> list[list[str]]:
        path = self.notes / note
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def words(self, note: str) -> list[str]:
        return [line[0] for line in self.lines(note)]

    def child(self, note: str) -> int:
        """Process number of the slow flow that wrote this note, once it runs."""
        return int(until(lambda: self.words(note))[0].removeprefix("pid-"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("up")
    room = base / "checkout" / "toy_room"
    room.mkdir(parents=True)
    (room / "__init__.py").touch()
    (room / "toy.py").write_text(TOY)
    (base / "checkout" / "prefect.yaml").write_text(PREFECT_YAML)
    (base / "notes").mkdir()
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        patch.delenv(name)
    place = Place(base / "home", base / "checkout", base / "notes", None)  # type: ignore[arg-type]
    place.up()
    place.calls = EngineCalls(place.home)
    yield place
    stop(place.home)
    assert attach(place.home) is None
    patch.undo()


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
    place.reaches(place.create("quick", "known"), "Completed")  # from now on the worker knows it
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


def test_a_burst_keeps_to_the_limit(place: Place) -> None:
    runs = [place.create("quick", f"burst-{number}") for number in range(10)]
    for run_id in runs:
        place.reaches(run_id, "Completed", 60)
    steps = []
    for number in range(10):
        begin, end = place.lines(f"burst-{number}")
        steps += [(float(begin[1]), 1), (float(end[1]), -1)]
    level = most = 0
    for _, step in sorted(steps):
        level += step
        most = max(most, level)
    assert 1 < most <= LIMIT


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
