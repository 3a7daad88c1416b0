"""quell's own Prefect worker: starts flow runs from a warm nursery, and only runs that this checkout lists.

A normal worker of a normal work pool (`BaseWorker` is Prefect's extension point); the same deployments run on a stock
process worker too. It wakes on the server's event stream, with a poll every few seconds as the safety net.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
from prefect.exceptions import InfrastructureNotFound
from prefect.states import Pending
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from flows.doors.after_starts import CONNECTION_ERRORS, AfterStarts
from flows.doors.examining import Examined, Examiner
from flows.doors.first_words import token_of
from flows.doors.listing import CLOSED_TEMPLATE, POOL, Listed
from flows.doors.nursery import NurseryDoor, Run, RunChild
from flows.doors.run_endings import CANCEL_GRACE_SECONDS, Endings, OnRefused
from flows.doors.run_processes import pid_of
from flows.doors.standby import CANCEL_SIGNAL
from flows.doors.waking import woken

ENDING_SECONDS = 1.0
"""How long a bell waits for a process of the run to end."""
_log = logging.getLogger("quell.worker")


class QuellResult(BaseWorkerResult):
    """Always 0 for Prefect's base class: this worker reports crashes itself, once and at once."""


class QuellWorker(BaseWorker[BaseJobConfiguration, BaseVariables, QuellResult]):
    """See the module. `listed` is read once: a changed prefect.yaml needs a restart, as changed code does."""

    type = "quell"
    _description = "Starts quell's listed runbooks from a warm process; refuses everything else."

    def __init__(
        self, *, listed: tuple[Listed, ...], nursery: NurseryDoor, on_refused: OnRefused, limit: int, name: str | None
    ) -> None:
        super().__init__(
            work_pool_name=POOL, name=name, limit=limit, prefetch_seconds=0.0, base_job_template=CLOSED_TEMPLATE
        )
        self._room = limit
        self.claimed: dict[UUID, asyncio.Task[None]] = {}
        self._examiner = Examiner(listed, nursery.flow_names)
        self._nursery = nursery
        self._endings = Endings(nursery, on_refused)
        self.wake = asyncio.Event()
        self.hears = False
        """Whether the event stream is there."""
        self.cancellations = False
        """Whether somebody asked for one since we looked."""
        self._kept: set[UUID] = set()
        """Places that are kept free for runs that are being created (`handing.py`)."""
        self._waking: dict[UUID, asyncio.Future[bool]] = {}
        """Whether it was woken: everybody who rings meanwhile hears the same."""
        self.draining = False
        self._token = ""
        """With which the clients of runs write to the engine; each would ask for one of its own, in a hurry."""
        self._after = AfterStarts(self._examiner)

    async def learn(self) -> None:
        """What each run would otherwise wait for."""
        await self.renew_token()
        self._nursery.know(await self._examiner.learn(self.client))

    async def renew_token(self) -> None:
        """A token for the runs that start from now on."""
        self._token = await token_of(self.client)

    def look(self) -> None:
        """Ask the engine at once what is due."""
        self.wake.set()

    @property
    def _full(self) -> bool:
        return self.draining or len(self.claimed) + len(self._kept) >= self._room

    def keep_free(self) -> UUID | None:
        """A ticket for one place; None when there is no room."""
        if self._full:
            return None
        ticket = uuid4()
        self._kept.add(ticket)
        return ticket

    def free(self, ticket: UUID) -> None:
        """Give the place back, if it is still kept."""
        self._kept.discard(ticket)

    def take_handed(self, ticket: UUID, flow_run: FlowRun) -> bool:
        """Start a run of this pool that was created for us as Running; False when we are about to stop."""
        self.free(ticket)
        if not self.draining and flow_run.id not in self.claimed:
            self.claimed[flow_run.id] = asyncio.create_task(self._take(flow_run, ours=True))
        return flow_run.id in self.claimed

    async def begin_again(self, flow_run_id: UUID) -> bool:
        """Wake a run that waits for people, and take it; False when it does not wait, or cannot be taken here now."""
        if flow_run_id not in self._waking and (last := self.claimed.get(flow_run_id)) is not None:
            await asyncio.wait([last], timeout=ENDING_SECONDS)  # it may be just going to sleep
        if flow_run_id not in self._waking:
            if self._full or flow_run_id in self.claimed:
                return False
            self._waking[flow_run_id] = asyncio.get_running_loop().create_future()
            self.claimed[flow_run_id] = asyncio.create_task(self._wake(flow_run_id))
        return await asyncio.shield(self._waking[flow_run_id])

    async def _wake(self, flow_run_id: UUID) -> None:
        flow_run = None
        try:
            flow_run = await woken(self.client, flow_run_id, self._examiner)
        except CONNECTION_ERRORS as error:
            _log.warning("Flow run %s was not woken (%s: %s).", flow_run_id, type(error).__name__, error)
        finally:
            self._waking.pop(flow_run_id).set_result(flow_run is not None)
            if flow_run is None:
                del self.claimed[flow_run_id]
                self.wake.set()  # it may be due, and was not taken for our claim
        if flow_run is not None:
            await self._take(flow_run, ours=True)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Take what is due, as far as there is room. Replaces Prefect's own pipeline, which makes twice the calls."""
        due = await self.client.get_scheduled_flow_runs_for_work_pool(
            work_pool_name=POOL, scheduled_before=datetime.now(UTC)
        )
        taken = []
        for flow_run in (response.flow_run for response in due):
            if self._full:
                break
            if flow_run.id not in self.claimed:
                self.claimed[flow_run.id] = asyncio.create_task(self._take(flow_run))
                taken.append(flow_run)
        return taken

    async def _take(self, flow_run: FlowRun, *, ours: bool = False) -> None:
        """From Scheduled (or from Running, when it was handed to us) to the end of the child's process.

        What is known from before is not asked for again while somebody waits; it is examined anew once starts are over.
        """
        try:
            known = self._examiner.at_once(flow_run)
            examined = known or await self._examiner.examine(self.client, flow_run)
            if examined.objection:
                await self._endings.refuse(self.client, flow_run, examined.objection)
            elif (taken := flow_run if ours else await self._taken(flow_run)) is not None:
                await self._run(taken, examined, again=known is not None)
        except CONNECTION_ERRORS as error:
            _log.warning("Lost touch with flow run %s (%s: %s).", flow_run.id, type(error).__name__, error)
        except Exception:  # noqa: BLE001  whatever it was, this run must not stay Pending for ever
            _log.exception("Could not start flow run %s.", flow_run.id)
            await self._endings.crashed(
                self.client, flow_run.id, "quell's worker could not start this run; see its log."
            )
        finally:
            del self.claimed[flow_run.id]
            self.wake.set()

    async def _taken(self, flow_run: FlowRun) -> FlowRun | None:
        """The run as Pending, which takes it away from other workers; None when Prefect does not let us."""
        answer: OrchestrationResult[Any] = await self.client.set_flow_run_state(flow_run.id, Pending())
        if answer.status is not SetStateStatus.ACCEPT or answer.state is None:
            _log.info("Flow run %s not taken: Prefect answered %s.", flow_run.id, answer.status.value)
            return None
        state = answer.state
        return flow_run.model_copy(
            update={"state": state, "state_id": state.id, "state_type": state.type, "state_name": state.name}
        )

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,  # noqa: ARG002  there are no knobs
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> QuellResult:
        """Prefect's contract for workers; our own pipeline above examines first and does not come through here."""
        examined = await self._examiner.examine(self.client, flow_run)
        if task_status is not None:
            task_status.started("quell")
        if examined.objection:
            await self._endings.refuse(self.client, flow_run, examined.objection)
        else:
            await self._run(await self.client.read_flow_run(flow_run.id), examined)
        return QuellResult(identifier=str(flow_run.id), status_code=0)  # crashes are reported already, once

    async def _run(self, flow_run: FlowRun, examined: Examined, *, again: bool = False) -> None:
        """`again`: it was examined by what we knew; should that be no longer true, the child is ended."""
        told = flow_run.model_dump_json()
        run = Run(flow_run.id, told, examined.module, examined.attribute, self._environment_of(flow_run), self._token)
        began = self._after.begun()
        child = await self._nursery.start(run)
        identity = f"{socket.gethostname()}:{child.pid}:{child.mark}"
        beside = [asyncio.create_task(self._after.name(self.client, flow_run, child, identity))]
        if again:
            beside.append(asyncio.create_task(self._look_again(flow_run, child, began)))
        code = await child.ended
        await asyncio.gather(*beside, return_exceptions=True)
        await self._endings.conclude(self.client, flow_run, identity, code)

    async def _look_again(self, flow_run: FlowRun, child: RunChild, began: float) -> None:
        """What has gone meanwhile is no objection to a response at work; what has changed is."""
        objection = await self._after.examine(self.client, flow_run, child, began)
        if objection and not child.ended.done():
            await self._nursery.end(child, signal.SIGKILL, CANCEL_GRACE_SECONDS)
            await self._endings.refuse(self.client, flow_run, objection)

    def _environment_of(self, flow_run: FlowRun) -> dict[str, str]:
        return {
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            "PREFECT__FLOW_ID": str(flow_run.flow_id),
            "PREFECT__DEPLOYMENT_ID": str(flow_run.deployment_id or ""),
            "PREFECT__WORKER_ID": str(self.backend_id or ""),
            "PREFECT__WORKER_NAME": self.name,
        }

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: BaseJobConfiguration,  # noqa: ARG002
        grace_seconds: int = 30,
    ) -> None:
        """Prefect's base class asks this for a cancelled run that had not begun yet."""
        child = self._nursery.by_pid(pid_of(infrastructure_pid))
        if child is None:
            raise InfrastructureNotFound(f"No process {infrastructure_pid} of this worker.")
        await self._nursery.end(child, CANCEL_SIGNAL, min(float(grace_seconds), CANCEL_GRACE_SECONDS))

    async def cancel_requested(self) -> None:
        """Stop the children whose runs are to be cancelled; close cancellations and crashes that nobody else will."""
        await self._endings.cancel_requested(self.client, self.claimed, self._look_for_cancellations)

    def _look_for_cancellations(self) -> None:
        self.cancellations = True

    async def settle_orphans(self) -> None:
        """Runs whose process on this machine has gone while nobody could say so."""
        await self._endings.settle_orphans(self.client, self.claimed)

    def calm_in(self) -> float:
        """So many seconds longer what asks beside the starts had better wait: a start has the engine for itself."""
        return self._after.calm_in()
