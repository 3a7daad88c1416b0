"""What a worker says of a run when the run's own process cannot: refused, crashed, cancelled, or left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container
from functools import partial
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed, Failed

from flows.doors.nursery import NurseryDoor
from flows.doors.run_processes import gone, how, runs_of_pool
from flows.doors.standby import CANCEL_SIGNAL

CANCEL_GRACE_SECONDS = 20.0  # then TERM, and a while later KILL
LIVE_STATES = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
_log = logging.getLogger("quell.worker")

OnRefused = Callable[[UUID, str], None]


class Endings:
    """Of the runs of one worker."""

    def __init__(self, nursery: NurseryDoor, on_refused: OnRefused) -> None:
        self._nursery = nursery
        self._on_refused = on_refused
        self._cancelling: set[UUID] = set()

    async def conclude(self, client: PrefectClient, flow_run: FlowRun, identity: str, code: int) -> None:
        """A child has ended: say what Prefect cannot know. A run that somebody restarted meanwhile is left alone."""
        now = await client.read_flow_run(flow_run.id)
        if now.state is None or now.state.type not in LIVE_STATES:
            return
        if now.infrastructure_pid not in (identity, flow_run.infrastructure_pid):
            return  # another attempt, in another process, owns this run by now
        if now.state.type is StateType.CANCELLING or flow_run.id in self._cancelling:
            await self._cancelled(client, flow_run.id)
        elif code != 0:
            await self.crashed(client, flow_run.id, f"The flow run's process ended with {how(code)}.")
        elif now.infrastructure_pid == identity:
            await self.crashed(client, flow_run.id, "The flow run's process ended without reporting an outcome.")

    async def refuse(self, client: PrefectClient, flow_run: FlowRun, reason: str) -> None:
        """It is not one of ours: Failed, and told."""
        message = f"Refused: {reason}."
        _log.error("Flow run %s %s", flow_run.id, message)
        await client.set_flow_run_state(flow_run.id, Failed(name="Refused", message=message), force=True)
        try:
            self._on_refused(flow_run.id, reason)
        except Exception:  # noqa: BLE001  the refusal itself stands
            _log.exception("Could not record the refusal of flow run %s.", flow_run.id)

    async def crashed(self, client: PrefectClient, flow_run_id: UUID, message: str) -> None:
        """Said once, and at once."""
        _log.error("Flow run %s crashed: %s", flow_run_id, message)
        await client.set_flow_run_state(flow_run_id, Crashed(message=message))

    async def _cancelled(self, client: PrefectClient, flow_run_id: UUID) -> None:
        await client.set_flow_run_state(flow_run_id, Cancelled(message="Cancelled by quell's worker."), force=True)

    async def cancel_requested(
        self, client: PrefectClient, claimed: Container[UUID], later: Callable[[], None]
    ) -> None:
        """As the worker's. `later` is called when one has to be left for the next look, for it is just being started."""
        for flow_run in await runs_of_pool(client, StateType.CANCELLING):
            child = self._nursery.by_run(flow_run.id)
            if flow_run.id in self._cancelling:
                continue
            if child is None and flow_run.id in claimed:
                later()
            elif child is not None:
                self._cancelling.add(flow_run.id)
                task = asyncio.create_task(self._nursery.end(child, CANCEL_SIGNAL, CANCEL_GRACE_SECONDS))
                task.add_done_callback(partial(self._no_longer_cancelling, flow_run.id))
            elif gone(flow_run):
                await self._cancelled(client, flow_run.id)

    def _no_longer_cancelling(self, flow_run_id: UUID, _: asyncio.Task[None]) -> None:
        self._cancelling.discard(flow_run_id)

    async def settle_orphans(self, client: PrefectClient, claimed: Container[UUID]) -> None:
        """Runs whose process on this machine has gone while nobody could say so: a killed worker, a long loss of touch."""
        for flow_run in await runs_of_pool(client, StateType.RUNNING, StateType.PENDING):
            if flow_run.id not in claimed and gone(flow_run):
                await self.crashed(client, flow_run.id, "The flow run's process had gone, with its worker.")
