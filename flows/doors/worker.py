"""`quell work`: quell's own Prefect worker. Imports Prefect only after the environment says which server to use.

The worker itself is in `warm_worker.py`, its loops in `worker_loops.py`, its children in `nursery.py` and `standby.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from uuid import UUID

from flows.doors.engine_server import engine_environment, wait_healthy
from flows.doors.listing import ROOT, import_path


def _log_refusal(flow_run_id: UUID, reason: str) -> None:
    logging.getLogger("quell.worker").error("Refused flow run %s: %s", flow_run_id, reason)


def run_worker(
    home: Path,
    *,
    limit: int = 10,
    standby: int = 2,
    on_refused: Callable[[UUID, str], None] = _log_refusal,
    prefect_file: Path | None = None,
    grace_seconds: float = 10.0,
    name: str | None = None,
) -> int:
    """Serve the pool `quell` until SIGTERM: at most `limit` runs at once, `standby` children kept ready.

    On SIGTERM running children may go on for `grace_seconds`, then get TERM and report their own crash. Suspended runs
    have no child and notice nothing. `on_refused(flow_run_id, reason)` is called, in the worker's event loop, after a run was refused and set to Failed.
    """
    prefect_file = (prefect_file or ROOT / "prefect.yaml").resolve()
    environment = engine_environment(home) | {"PYTHONPATH": import_path(prefect_file)}
    os.environ.update(environment)
    if "prefect" in sys.modules:
        import_module("prefect.context").refresh_global_settings_context()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    wait_healthy(home)
    result: int = asyncio.run(
        import_module("flows.doors.worker_loops").work(
            checkout=prefect_file.parent,
            prefect_file=prefect_file,
            log=home / "logs" / "runs.log",
            environment=environment,
            limit=limit,
            standby=standby,
            on_refused=on_refused,
            grace_seconds=grace_seconds,
            name=name or f"quell {socket.gethostname()} {os.getpid()}",
        )
    )
    return result
