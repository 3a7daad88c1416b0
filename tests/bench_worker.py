"""Prefect's own process worker in the place of ours, for one deployment: the same entry point, moved to another pool."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.doors.engine_server import EngineCalls, engine_environment
from flows.doors.listing import POOL, ROOT
from flows.doors.processes import start_child, stop_children
from tests.flows.people import until

STOCK = "stock"


@contextmanager
def stock_worker(home: Path, stem: str) -> Iterator[None]:
    """While inside, runs of this deployment are started by a stock worker; then it is moved back."""
    calls = EngineCalls(home)
    if calls.call("GET", f"/work_pools/{STOCK}", missing=None) is None:
        calls.call("POST", "/work_pools/", {"name": STOCK, "type": "process"})
    found = calls.call("GET", f"/deployments/name/{stem.replace('_', '-')}/{stem}")
    argv = [sys.executable, "-m", "prefect", "worker", "start", "--pool", STOCK, "--type", "process"]
    environment = engine_environment(home) | {"PYTHONPATH": str(ROOT)}
    calls.call("PATCH", f"/deployments/{found['id']}", {"work_pool_name": STOCK})
    worker = start_child(STOCK, argv, env=environment, log=home / "logs" / "stock.log", cwd=ROOT)
    try:
        until(lambda: calls.call("POST", f"/work_pools/{STOCK}/workers/filter", {}), what="the stock worker")
        yield
    finally:
        stop_children([worker], grace_seconds=30)
        back = {"work_pool_name": POOL, "work_queue_name": found["work_queue_name"]}
        calls.call("PATCH", f"/deployments/{found['id']}", back)
