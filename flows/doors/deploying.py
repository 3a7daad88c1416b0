"""The pool and the deployments of `quell up`: Prefect's own command deploys what prefect.yaml lists."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.doors.engine_server import EngineCalls
from flows.doors.listing import CLOSED_TEMPLATE, POOL
from flows.doors.processes import Child, start_child, stop_children

DEPLOY_TIMEOUT_SECONDS = 180.0


class DeployError(RuntimeError):
    """What was to be deployed was not; the message says what was found and where to look."""


def ensure_pool(calls: EngineCalls, queues: Mapping[str, int]) -> None:
    """The pool with a template that takes no job variables, and its queues in our order. Safe to repeat."""
    pool = calls.call("GET", f"/work_pools/{POOL}", missing=None)
    wanted = {"type": "quell", "base_job_template": CLOSED_TEMPLATE}
    if pool is None:
        calls.call("POST", "/work_pools/", {"name": POOL, "description": "quell's runbooks", **wanted})
    elif pool["type"] != "quell":
        raise DeployError(
            f"Expected work pool {POOL!r} to be of type 'quell', found {pool['type']!r}. Delete or rename it."
        )
    elif pool["base_job_template"] != CLOSED_TEMPLATE:
        calls.call("PATCH", f"/work_pools/{POOL}", {"base_job_template": CLOSED_TEMPLATE})
    for name, priority in queues.items():
        queue = calls.call("GET", f"/work_pools/{POOL}/queues/{name}", missing=None)
        if queue is None:
            queue = calls.call("POST", f"/work_pools/{POOL}/queues", {"name": name, "priority": priority})
        if queue["priority"] != priority:
            calls.call("PATCH", f"/work_pools/{POOL}/queues/{name}", {"priority": priority})


def begin_deploying(prefect_file: Path, home: Path, environment: Mapping[str, str]) -> Child:
    """Prefect's own command: it alone knows every field of prefect.yaml (schedules, triggers, limits). An upsert."""
    argv = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(prefect_file)]
    return start_child("deploy", argv, env=environment, log=home / "logs" / "deploy.log", cwd=prefect_file.parent)


def end_deploying(deploying: Child, stop: Sequence[int]) -> None:
    """Wait until it is done; DeployError when it failed."""
    deadline = time.monotonic() + DEPLOY_TIMEOUT_SECONDS
    while deploying.running() and not stop and time.monotonic() < deadline:
        time.sleep(0.05)
    if deploying.running():
        stop_children([deploying], grace_seconds=2.0)
    if deploying.popen.returncode != 0 and not stop:
        raise DeployError(f"`prefect deploy` ended with {deploying.popen.returncode}; see {deploying.log}.")
