"""quell's own Prefect worker: starts flow runs from a warm nursery, and only runs that this checkout lists.

A normal worker of a normal work pool (`BaseWorker` is Prefect's extension point); the same deployments run on a stock
process worker too. It wakes on the server's event stream, with a poll every two seconds as the safety net.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio.abc
import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import Flow, FlowRun, StateType, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import InfrastructureNotFound, PrefectException
from prefect.states import Cancelled, Crashed, Failed, Scheduled
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult
from pydantic import PrivateAttr

from flows.doors.listing import CLOSED_TEMPLATE, POOL, Listed
from flows.doors.nursery import NurseryDoor, Run
from flows.doors.processes import alive
from flows.doors.standby import CANCEL_SIGNAL

CANCEL_GRACE_SECONDS = 20.0  # then TERM, and a while later KILL
LIVE_STATES = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
CONNECTION_ERRORS = (httpx.HTTPError, PrefectException, OSError, TimeoutError)

OnRefused = Callable[[UUID, str], None]


class QuellConfiguration(BaseJobConfiguration):
    """No knobs: job variables are refused. It only remembers what the run claims to be."""

    _deployment: DeploymentResponse | None = PrivateAttr(default=None)
    _flow: Flow | None = PrivateAttr(default=None)

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Prefect calls this before `run`, with what it has just read from the server."""
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)
        self._deployment, self._flow = deployment, flow


class QuellResult(BaseWorkerResult):
    """Always 0 for Prefect's base class: this worker reports crashes itself, once and at once."""


def refusal(
    flow_run: FlowRun, deployment: DeploymentResponse | None, flow: Flow | None,
    listed: tuple[Listed, ...], flow_names: dict[str, str],
) -> str:  # fmt: skip
    """Why this run must not start here, or ''. Whoever can write to the Prefect API can create any deployment."""
    if deployment is None or flow is None:
        return "it belongs to no deployment; this worker starts only what its prefect.yaml lists"
    entrypoint = deployment.entrypoint or ""
    match = [one for one in listed if (one.name, one.entrypoint) == (deployment.name, entrypoint)]
    if not match:
        return f"deployment {deployment.name!r} with entry point {entrypoint!r} is not listed in this checkout's prefect.yaml"
    if deployment.work_pool_name != match[0].pool:
        return f"deployment {deployment.name!r} is listed for pool {match[0].pool!r}, not {deployment.work_pool_name!r}"
    if deployment.flow_id != flow_run.flow_id or flow.name != flow_names.get(entrypoint):
        return f"flow {flow.name!r} is not what {entrypoint!r} is here ({flow_names.get(entrypoint)!r})"
    if flow_run.job_variables or deployment.job_variables:
        return "it brings job variables; this worker takes none"
    if deployment.pull_steps or deployment.storage_document_id:
        return "it brings pull steps or storage; this worker runs only the code of this checkout"
    return ""


class QuellWorker(BaseWorker[QuellConfiguration, BaseVariables, QuellResult]):
    """See the module. `listed` is read once: a changed prefect.yaml needs a restart, as changed code does."""

    type = "quell"
    job_configuration = QuellConfiguration
    _description = "Starts quell's listed runbooks from a warm process; refuses everything else."

    def __init__(
        self, *, listed: tuple[Listed, ...], nursery: NurseryDoor, on_refused: OnRefused, limit: int, name: str | None
    ) -> None:
        super().__init__(
            work_pool_name=POOL, name=name, limit=limit, prefetch_seconds=0.0, base_job_template=CLOSED_TEMPLATE
        )
        self._listed = listed
        self._nursery = nursery
        self._on_refused = on_refused
        self.wake = asyncio.Event()
        self._cancelling: set[UUID] = set()
        self.draining = False

    async def run(
        self,
        flow_run: FlowRun,
        configuration: QuellConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> QuellResult:
        """Start one run in a fresh child and wait for its end. Called by the base class after it set Pending."""
        deployment = configuration._deployment  # noqa: SLF001  both classes are ours
        reason = refusal(flow_run, deployment, configuration._flow, self._listed, self._nursery.flow_names)  # noqa: SLF001
        if reason or deployment is None or self.draining:
            if reason:
                await self._refuse(flow_run, reason)
            else:
                await self.client.set_flow_run_state(flow_run.id, Scheduled(), force=True)  # for the next worker
            if task_status is not None:
                task_status.started("refused")
            return QuellResult(identifier="refused", status_code=0)
        module, _, attribute = str(deployment.entrypoint).rpartition(".")
        child = await self._nursery.start(Run(flow_run.id, module, attribute, self._environment_of(flow_run)))
        identity = f"{socket.gethostname()}:{child.pid}:{child.mark}"
        if task_status is not None:
            task_status.started(identity)  # the base class stores it as the run's infrastructure_pid
        code = await child.ended
        try:
            await self._conclude(flow_run, identity, code)
        except CONNECTION_ERRORS as error:
            self._logger.warning(
                "Could not settle flow run %s: %s. The next start of a worker will.", flow_run.id, error
            )
        asyncio.get_running_loop().call_soon(self.wake.set)  # our slot is free by then
        return QuellResult(identifier=identity, status_code=0)

    def _environment_of(self, flow_run: FlowRun) -> dict[str, str]:
        return {
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            "PREFECT__FLOW_ID": str(flow_run.flow_id),
            "PREFECT__DEPLOYMENT_ID": str(flow_run.deployment_id or ""),
            "PREFECT__WORKER_ID": str(self.backend_id or ""),
            "PREFECT__WORKER_NAME": self.name,
        }

    async def _conclude(self, flow_run: FlowRun, identity: str, code: int) -> None:
        """A child has ended: say what Prefect cannot know. A run that somebody restarted meanwhile is left alone."""
        now = await self.client.read_flow_run(flow_run.id)
        if now.state is None or now.state.type not in LIVE_STATES:
            return
        if now.infrastructure_pid not in (identity, flow_run.infrastructure_pid):
            return  # another attempt, in another process, owns this run by now
        if now.state.type is StateType.CANCELLING or flow_run.id in self._cancelling:
            await self._cancelled(flow_run.id)
        elif code != 0:
            await self._crashed(flow_run, identity, f"The flow run's process ended with {_how(code)}.")
        elif now.infrastructure_pid == identity:
            await self._crashed(flow_run, identity, "The flow run's process ended without reporting an outcome.")

    async def _refuse(self, flow_run: FlowRun, reason: str) -> None:
        message = f"Refused: {reason}."
        self._logger.error("Flow run %s %s", flow_run.id, message)
        await self.client.set_flow_run_state(flow_run.id, Failed(name="Refused", message=message), force=True)
        try:
            self._on_refused(flow_run.id, reason)
        except Exception:
            self._logger.exception("Could not record the refusal of flow run %s.", flow_run.id)

    async def _crashed(self, flow_run: FlowRun, identity: str, message: str) -> None:
        self._logger.error("Flow run %s crashed (%s): %s", flow_run.id, identity, message)
        await self.client.set_flow_run_state(flow_run.id, Crashed(message=message))

    async def _cancelled(self, flow_run_id: UUID) -> None:
        await self.client.set_flow_run_state(flow_run_id, Cancelled(message="Cancelled by quell's worker."), force=True)

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: QuellConfiguration, grace_seconds: int = 30
    ) -> None:
        """Prefect's base class asks this for a cancelled run that had not begun yet."""
        child = self._nursery.by_pid(_pid_of(infrastructure_pid))
        if child is None:
            raise InfrastructureNotFound(f"No process {infrastructure_pid} of this worker.")
        await self._nursery.end(child, CANCEL_SIGNAL, min(float(grace_seconds), CANCEL_GRACE_SECONDS))

    async def cancel_requested(self) -> None:
        """Stop the children whose runs are to be cancelled; close cancellations and crashes that nobody else will."""
        for flow_run in await self._runs_of_pool(StateType.CANCELLING):
            child = self._nursery.by_run(flow_run.id)
            if flow_run.id in self._cancelling:
                continue
            if child is not None:
                self._cancelling.add(flow_run.id)
                task = asyncio.create_task(self._nursery.end(child, CANCEL_SIGNAL, CANCEL_GRACE_SECONDS))
                task.add_done_callback(lambda _, run_id=flow_run.id: self._cancelling.discard(run_id))
            elif _gone(flow_run.infrastructure_pid):
                await self._cancelled(flow_run.id)

    async def settle_orphans(self) -> None:
        """Runs of an earlier worker on this machine that was killed with its children: they are not running."""
        for flow_run in await self._runs_of_pool(StateType.RUNNING, StateType.PENDING):
            if self._nursery.by_run(flow_run.id) is None and _gone(flow_run.infrastructure_pid):
                await self._crashed(flow_run, "orphan", "The flow run's process had gone, with its worker.")

    async def _runs_of_pool(self, *types: StateType) -> list[FlowRun]:
        return await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        )


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _pid_of(infrastructure_pid: str) -> int:
    parts = infrastructure_pid.split(":")
    return int(parts[1]) if len(parts) == 3 and parts[0] == socket.gethostname() and parts[1].isdigit() else 0


def _gone(infrastructure_pid: str | None) -> bool:
    """Whether this names a process of this machine that is certainly no more. Unknown forms and hosts: not certain."""
    pid = _pid_of(infrastructure_pid or "")
    return bool(pid) and not alive(pid, (infrastructure_pid or "").rpartition(":")[2])
