"""Starting runs while much else happens, and while what starts them, or takes them, is lost; against a real Prefect server."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from flows.doors.engine_server import EngineCalls, EngineUnreachable, engine_environment
from flows.doors.listing import ROOT
from tasks.starting import HANDED, TAKEN_WITHIN_SECONDS
from tests.doors.toy import Place, until

pytestmark = [pytest.mark.engine, pytest.mark.slow]

WRITERS, ROUNDS = 12, 10
SQLITE_PATIENCE_SECONDS = 60
"""What who waits for the writer waits, at most."""
STARTER = """
import json, os, sys, time
from tasks.starting import Starter

class Line:
    def __init__(self, answer): self.answer = answer
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def give(self, flow_run):
        if self.answer == "dies": os._exit(9)
        print("given", flush=True)
        return json.loads(self.answer)

answer = sys.argv[1]
starter = Starter(place=lambda pool: Line(answer), began=lambda run: os.environ.get("BEGAN") == "yes")
for word in sys.argv[2:]:
    if word == "settle":
        starter.settle()
    elif word == "wait":
        time.sleep(float(os.environ["WITHIN"]) + 0.5)
    elif word.startswith("INC-"):
        print(starter("started", word, False), flush=True)
    else:
        exec(word)
"""


PAGE = """
import sys
from tasks.engine import leave_page
first = True
for word in sys.argv[1:]:
    if word == "delete":
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
        with get_client(sync_client=True) as client:
            for one in client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["page-x"]))):
                client.delete_artifact(one.id)
    else:
        print(leave_page("page-x", word, "headline", None, first=first), flush=True)
        first = False
"""


def _starter(place: Place, *words: str) -> list[str]:
    """Let a process of its own start runs; what it printed. `answer, then words in order`."""
    environment = engine_environment(place.home) | {"WITHIN": str(TAKEN_WITHIN_SECONDS)}
    argv = [sys.executable, "-c", STARTER, *words]
    ended = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (0, 9), ended.stderr
    return ended.stdout.split()


def _runs(place: Place, incident: str) -> list[dict[str, Any]]:
    tagged = {"flow_runs": {"tags": {"all_": [f"incident:{incident}"]}}}
    found: list[dict[str, Any]] = place.calls.call("POST", "/flow_runs/filter", tagged)
    return found


def _states(place: Place, run: dict[str, Any]) -> list[str]:
    return [str(one["message"]) for one in place.calls.call("GET", f"/flow_run_states/?flow_run_id={run['id']}")]


def test_many_who_write_at_once_wait_their_turn_and_nobody_is_sent_away(place: Place) -> None:
    deployment = place.calls.call("GET", "/deployments/name/quick/prod")["id"]
    refused: list[str] = []

    def write(number: int) -> None:
        calls = EngineCalls(place.home, busy_retries=0)
        for turn in range(ROUNDS):
            body = {"state": {"type": "PENDING"}, "parameters": {"path": ""}, "idempotency_key": f"{number}/{turn}"}
            try:
                run = calls.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"]
                cancelled = {"state": {"type": "CANCELLED"}, "force": True}
                calls.call("POST", f"/flow_runs/{run}/set_state", cancelled)
            except EngineUnreachable as error:
                refused.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == []


def test_a_queue_is_paused_and_opened_again_without_waiting_for_itself(place: Place) -> None:
    """Prefect reads on a second session while it writes there: no word of that one may wait for the writer."""
    queue = place.calls.call("GET", "/work_pools/quell/queues/urgent")["id"]
    began = time.monotonic()
    for paused in (True, False):
        place.calls.call("PATCH", f"/work_queues/{queue}", {"is_paused": paused})
        place.calls.call("PATCH", "/work_pools/quell/queues/urgent", {"is_paused": paused})
        assert place.calls.call("GET", f"/work_queues/{queue}")["is_paused"] is paused
    assert time.monotonic() - began < SQLITE_PATIENCE_SECONDS / 2


def test_a_page_is_replaced_and_one_that_somebody_deleted_is_left_again(place: Place) -> None:
    environment = engine_environment(place.home)
    argv = [sys.executable, "-c", PAGE, "one", "one", "two", "delete", "three"]
    ended = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["True", "False", "True", "True"], ended.stderr
    found = place.calls.call("POST", "/artifacts/filter", {"artifacts": {"key": {"any_": ["page-x"]}}})
    assert [one["data"] for one in found] == ["three"]


def test_a_run_that_nobody_took_goes_into_the_queue_once_it_is_late(place: Place) -> None:
    _, first = _starter(place, "null", "INC-LATE", "settle")
    run = _runs(place, "INC-LATE")[0]
    assert (run["id"], run["state"]["type"]) == (first, "RUNNING"), "it is not late yet"
    assert run["state"]["message"].startswith(HANDED)
    assert _starter(place, "null", "INC-LATE", "wait", "settle") == [first], "asked again: not handed over twice"
    place.reaches(first, "Completed")
    assert place.words("INC-LATE") == ["begin"]
    assert any("no worker took it" in message for message in _states(place, run))


def test_a_run_that_began_though_nobody_said_so_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker's answer was late; that the engine does not know its process yet means nothing."""
    monkeypatch.setenv("BEGAN", "yes")
    _starter(place, "null", "INC-BEGAN", "wait", "settle")
    run = _runs(place, "INC-BEGAN")[0]
    assert (run["state"]["type"], len(_states(place, run))) == ("RUNNING", 1)


def test_killed_between_creating_and_handing_over_the_next_one_settles_it(place: Place) -> None:
    assert _starter(place, "dies", "INC-KILLED") == []
    run = _runs(place, "INC-KILLED")[0]
    assert run["state"]["type"] == "RUNNING"
    assert _starter(place, "true", "INC-KILLED", "wait", "settle") == [run["id"]]
    place.reaches(run["id"], "Completed")
    assert len(_runs(place, "INC-KILLED")) == 1
    assert place.words("INC-KILLED") == ["begin"]


def test_a_run_that_was_refused_waits_in_the_queue_at_once(place: Place) -> None:
    given, run = _starter(place, "false", "INC-REFUSED")
    assert given == "given"
    place.reaches(run, "Completed")
    assert place.words("INC-REFUSED") == ["begin"]


def test_a_deployment_that_was_moved_meanwhile_is_left_to_the_worker_of_its_new_pool(place: Place) -> None:
    calls = place.calls
    template = calls.call("GET", "/work_pools/quell")["base_job_template"]
    calls.call("POST", "/work_pools/", {"name": "elsewhere", "type": "quell", "base_job_template": template})
    deployment = calls.call("GET", "/deployments/name/started/started")["id"]
    move = (
        "import urllib.request; from flows.doors.engine_server import EngineCalls; from pathlib import Path;"
        f"EngineCalls(Path(os.environ['QUELL_HOME'])).call('PATCH', '/deployments/{deployment}',"
        " {'work_pool_name': 'elsewhere', 'work_queue_name': 'default'})"
    )
    said = _starter(place, "true", "INC-HERE", move, "INC-MOVED")
    assert said.count("given") == 1, "what is not of our pool is not handed to our worker"
    moved = _runs(place, "INC-MOVED")[0]
    assert (moved["work_pool_name"], moved["state"]["type"]) == ("elsewhere", "SCHEDULED")
    calls.call("PATCH", f"/deployments/{deployment}", {"work_pool_name": "quell", "work_queue_name": "default"})
    calls.call("DELETE", "/work_pools/elsewhere")
    until(lambda: not calls.call("GET", "/work_pools/elsewhere", missing=None))
