"""A toy checkout with three flows, brought up with a real Prefect server, and what anybody may ask that server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.doors.engine_server import EngineCalls
from flows.doors.up import UpStatus, start_in_background

LIMIT = 4
TOY = """
import os, time
from pathlib import Path
from prefect import flow, get_run_logger, task
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

class Answer(RunInput):
    decision: str

def note(path, word):
    with Path(path).open("a") as file:
        file.write(f"{word} {time.time()} {os.getpid()}\\n")

@task
def one(): return 1

@flow
def quick(path: str):
    note(path, "begin")
    get_run_logger().info("the flow itself says: " + Path(path).name)
    one()
    time.sleep(1.0 if "burst" in path else 0.2)
    note(path, "end")

@flow
def gate(path: str):
    note(path, "before")
    note(path, "after-" + suspend_flow_run(wait_for_input=Answer, key="gate").decision)

@flow
def started(start: dict):
    note(NOTES + "/" + start["incident"], "begin")

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
  - {name: started, entrypoint: toy_room.toy.started, work_pool: {name: quell}}
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


def checkout(base: Path) -> Place:
    """The toy checkout in this folder; nothing is up yet."""
    room = base / "checkout" / "toy_room"
    room.mkdir(parents=True)
    (room / "__init__.py").touch()
    (room / "toy.py").write_text(TOY.replace("NOTES", repr(str(base / "notes"))))
    (base / "checkout" / "prefect.yaml").write_text(PREFECT_YAML)
    (base / "notes").mkdir()
    return Place(base / "home", base / "checkout", base / "notes", None)  # type: ignore[arg-type]


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
