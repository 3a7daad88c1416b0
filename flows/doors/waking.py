"""A response that waits for people begins again at once: the worker wakes it, and has it, in one change of its state.

Through Prefect's own way (resume, wait in the queue, be taken by a worker, ask to be let in) the engine changes the state
three times, which takes longer than the act that people consented to. That way stands: for answers through Prefect's form,
for other workers' runs, and for whatever fails here.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Running

from flows.doors.examining import Examiner
from flows.doors.listing import POOL
from tasks.starting import WOKEN


async def woken(client: PrefectClient, flow_run_id: UUID, examiner: Examiner) -> FlowRun | None:
    """The run, as Running; None, and nothing is changed, when it did not wait when we looked, or may not start here.

    Between the look and the change somebody may end it by Prefect's own means. Then it begins all the same: an incident
    that is open is responded to (law 2), and a state forced in Prefect stops nothing.
    """
    try:
        flow_run = await client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return None
    examined = examiner.at_once(flow_run)
    waits = flow_run.state is not None and flow_run.state.is_paused() and flow_run.work_pool_name == POOL
    if not waits or examined is None or examined.objection:
        return None
    answer: OrchestrationResult[Any] = await client.set_flow_run_state(flow_run_id, Running(message=WOKEN))
    state = answer.state
    if answer.status is not SetStateStatus.ACCEPT or state is None:
        return None
    return flow_run.model_copy(
        update={"state": state, "state_id": state.id, "state_type": state.type, "state_name": state.name}
    )
