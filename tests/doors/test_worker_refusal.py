"""What the worker and prefect.yaml refuse, and how processes are recognised; no server needed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.doors.examining import Examiner, refusal
from flows.doors.listing import Listed, ListingError, queue_priorities, read_listing
from flows.doors.processes import alive, start_child, start_mark, stop_children

FLOW = Flow(id=uuid4(), name="toy", labels={})
LISTED = (Listed("prod", "room.toy.toy", "quell", "urgent"),)
NAMES = {"room.toy.toy": "toy"}


def _refusal(flow_run: dict[str, Any] | None = None, *, flow: Flow = FLOW, **deployment: Any) -> str:
    run = FlowRun(flow_id=FLOW.id, **(flow_run or {}))
    claimed = {"name": "prod", "flow_id": FLOW.id, "entrypoint": "room.toy.toy", "work_pool_name": "quell"} | deployment
    return refusal(run, DeploymentResponse(**claimed), flow, LISTED, NAMES)


def test_a_listed_deployment_is_taken() -> None:
    assert not _refusal()


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ({"name": "staging"}, "not listed"),
        ({"entrypoint": "room.toy.other"}, "not listed"),
        ({"entrypoint": "room/toy.py:toy"}, "not listed"),
        ({"entrypoint": None}, "not listed"),
        ({"work_pool_name": "other"}, "listed for pool"),
        ({"flow_id": uuid4()}, "is not what"),
        ({"flow": Flow(name="other", labels={})}, "is not what"),
        ({"job_variables": {"env": {"A": "b"}}}, "job variables"),
        ({"flow_run": {"job_variables": {"command": "true"}}}, "job variables"),
        ({"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "true"}}]}, "pull steps"),
        ({"storage_document_id": uuid4()}, "storage"),
    ],
)
def test_everything_else_is_refused(claim: dict[str, Any], why: str) -> None:
    assert why in _refusal(**claim)


def test_a_run_without_deployment_is_refused() -> None:
    assert "no deployment" in refusal(FlowRun(flow_id=FLOW.id), None, None, LISTED, NAMES)


class _Server:
    """What Prefect's client is asked while a run is examined."""

    def __init__(self, **deployment: Any) -> None:
        claimed = {"name": "prod", "flow_id": FLOW.id, "entrypoint": "room.toy.toy", "work_pool_name": "quell"}
        self.deployment = DeploymentResponse(**(claimed | deployment))
        self.there = True

    async def read_deployment(self, deployment_id: object) -> DeploymentResponse:
        if not self.there:
            raise ObjectNotFound(Exception(str(deployment_id)))
        return self.deployment

    async def read_flow(self, flow_id: object) -> Flow:
        assert flow_id == FLOW.id
        return FLOW


def test_only_what_was_examined_without_an_objection_may_begin_at_once() -> None:
    examiner, server = Examiner(LISTED, NAMES), _Server()
    run = FlowRun(flow_id=FLOW.id, deployment_id=server.deployment.id)
    with_variables = run.model_copy(update={"job_variables": {"command": "true"}})

    def examine(flow_run: FlowRun) -> str:
        return asyncio.run(examiner.examine(server, flow_run)).objection  # type: ignore[arg-type]

    assert examiner.at_once(run) is None, "nothing is known yet"
    assert "job variables" in examine(with_variables), "the run's own fault"
    known = examiner.at_once(run)
    assert known is not None
    assert (known.objection, known.module, known.attribute) == ("", "room.toy", "toy")
    bad = examiner.at_once(with_variables)
    assert bad is not None
    assert "job variables" in bad.objection, "known or not, the run itself is examined"
    server.deployment = server.deployment.model_copy(update={"pull_steps": [{"x": {}}]})
    assert "pull steps" in examine(run)
    assert examiner.at_once(run) is None, "the deployment is no longer known"
    server.deployment = server.deployment.model_copy(update={"pull_steps": None})
    assert examine(run) == ""
    server.there = False
    assert "no deployment" in examine(run)
    assert examiner.at_once(run) is None
    server.there = True
    assert examine(run) == ""
    examiner.forget(run)
    assert examiner.at_once(run) is None


def test_in_a_burst_a_deployment_is_asked_about_once_and_each_run_is_judged() -> None:
    server, asked = _Server(), list[object]()
    read = server.read_deployment

    async def counted(deployment_id: object) -> DeploymentResponse:
        asked.append(deployment_id)
        return await read(deployment_id)

    server.read_deployment = counted  # type: ignore[method-assign]

    async def whole() -> None:
        examiner = Examiner(LISTED, NAMES)
        run = FlowRun(flow_id=FLOW.id, deployment_id=server.deployment.id)
        bad = run.model_copy(update={"job_variables": {"command": "true"}})
        began = time.monotonic()
        all_of_them = [examiner.examine_since(began, server, one) for one in (run, run, bad, run)]  # type: ignore[arg-type]
        found = await asyncio.gather(*all_of_them)
        assert len(asked) == 1
        assert [bool(one.objection) for one in found] == [False, False, True, False]
        server.deployment = server.deployment.model_copy(update={"pull_steps": [{"x": {}}]})
        later = await examiner.examine_since(time.monotonic(), server, run)  # type: ignore[arg-type]
        assert "pull steps" in later.objection, "what was known before it began is not enough"
        again = await examiner.examine_since(began, server, run)  # type: ignore[arg-type]
        assert "pull steps" in again.objection, "one that is known no more is asked about, whenever the run began"

    asyncio.run(whole())


@pytest.mark.parametrize(
    "text",
    [
        "deployments: [{name: a, entrypoint: 'flows/x.py:x'}]",
        "deployments: [{name: a, entrypoint: x}]",
        "deployments: [{name: a, entrypoint: m.x, work_pool: {name: quell, job_variables: {env: {A: b}}}}]",
        "deployments: [{name: a, entrypoint: m.x, pull: [{s: {}}]}]",
        "deployments: [{name: a, entrypoint: m.x}, {name: a, entrypoint: m.x}]",
        "pull: [{prefect.deployments.steps.git_clone: {}}]\ndeployments: []",
        "[1]",
        "a: [",
    ],
)
def test_an_unsafe_prefect_yaml_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    with pytest.raises(ListingError, match=r"prefect\.yaml"):
        read_listing(file)


def test_urgent_is_served_first(tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(
        "deployments: [{name: a, entrypoint: m.x, work_pool: {work_queue_name: later}}, {name: a, entrypoint: m.y}]"
    )
    listed = read_listing(file)
    assert [(one.module, one.attribute, one.queue) for one in listed] == [("m", "x", "later"), ("m", "y", "default")]
    assert queue_priorities(listed) == {"urgent": 1, "default": 2, "later": 3}


def test_a_process_is_known_by_number_and_start(tmp_path: Path) -> None:
    assert alive(os.getpid(), start_mark(os.getpid()))
    assert not alive(os.getpid(), "another start")
    sleeper = start_child("sleeper", ["sleep", "60"], env=os.environ, log=tmp_path / "log", cwd=tmp_path)
    assert alive(sleeper.pid, sleeper.started)
    stop_children([sleeper], grace_seconds=5)
    assert not alive(sleeper.pid, sleeper.started)


def test_a_child_that_ignores_term_is_killed(tmp_path: Path) -> None:
    deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    child = start_child("deaf", [sys.executable, "-c", deaf], env=os.environ, log=tmp_path / "log", cwd=tmp_path)
    while b"deaf" not in (tmp_path / "log").read_bytes():
        time.sleep(0.01)
    stop_children([child], grace_seconds=0.2)
    assert child.popen.returncode == -9


def test_a_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    parent = (
        "import os,sys,time; from pathlib import Path; from flows.doors.processes import start_child;"
        "c=start_child('c',['sleep','60'],env=os.environ,log=Path(sys.argv[1]),cwd=Path('.'));"
        "print(c.pid,c.started,flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent, str(tmp_path / "log")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid, started = process.stdout.readline().decode().split()
        assert alive(int(pid), started)
        process.kill()
    deadline = time.monotonic() + 5
    while alive(int(pid), started) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(int(pid), started)
