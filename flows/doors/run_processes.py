"""Which process runs a flow run, as its worker wrote it down (`host:pid:start mark`), and how it ended."""

from __future__ import annotations

import signal
import socket
from datetime import UTC, datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType

from flows.doors.listing import POOL
from flows.doors.processes import alive

ORPHAN_AGE_SECONDS, NAMELESS_AGE_SECONDS = 10.0, 300.0


def how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def pid_of(infrastructure_pid: str) -> int:
    parts = infrastructure_pid.split(":")
    return int(parts[1]) if len(parts) == 3 and parts[0] == socket.gethostname() and parts[1].isdigit() else 0


def gone(flow_run: FlowRun) -> bool:
    """Whether the run names a process of this machine that is certainly no more. Unknown forms and hosts: not certain.

    Nor is a young state: a new attempt shows the process of the one before until its worker has written its own. One that
    is said to run for minutes, and of which no worker wrote down any process, has none: its worker was killed before.
    """
    named = flow_run.infrastructure_pid or ""
    if flow_run.state is None:
        return False
    age = datetime.now(UTC) - flow_run.state.timestamp
    if not named:
        return flow_run.state.is_running() and age.total_seconds() > NAMELESS_AGE_SECONDS
    if not pid_of(named):
        return False
    return age.total_seconds() > ORPHAN_AGE_SECONDS and not alive(pid_of(named), named.rpartition(":")[2])


async def runs_of_pool(client: PrefectClient, *types: StateType) -> list[FlowRun]:
    """The runs of our pool in one of these states."""
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
    )
