"""Why a flow run must not start here: whoever can write to the Prefect API can create any deployment and any run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.doors.listing import POOL, Listed


@dataclass(frozen=True)
class Examined:
    """Why a run must not start here, or '' and what to start."""

    objection: str
    module: str = ""
    attribute: str = ""
    gone: bool = False
    """Its deployment is there no more."""


def refusal(
    flow_run: FlowRun,
    deployment: DeploymentResponse | None,
    flow: Flow | None,
    listed: tuple[Listed, ...],
    flow_names: Mapping[str, str],
) -> str:
    """Why this run must not start here, or ''. Whoever can write to the Prefect API can create any deployment."""
    if deployment is None or flow is None:
        return "it belongs to no deployment; this worker starts only what its prefect.yaml lists"
    return next(_objections(flow_run, deployment, flow, listed, flow_names), "")


def _objections(
    flow_run: FlowRun,
    deployment: DeploymentResponse,
    flow: Flow,
    listed: tuple[Listed, ...],
    flow_names: Mapping[str, str],
) -> Iterator[str]:
    entrypoint, name, pool = deployment.entrypoint or "", deployment.name, deployment.work_pool_name
    match = [one for one in listed if (one.name, one.entrypoint) == (name, entrypoint)]
    here = flow_names.get(entrypoint)
    if not match:
        yield f"deployment {name!r} with entry point {entrypoint!r} is not listed in this checkout's prefect.yaml"
    elif pool != match[0].pool:
        yield f"deployment {name!r} is listed for pool {match[0].pool!r}, not {pool!r}"
    elif here is None:
        yield f"the module of {entrypoint!r} does not import here; see the worker's log"
    if deployment.flow_id != flow_run.flow_id or flow.name != here:
        yield f"flow {flow.name!r} is not what {entrypoint!r} is here ({here!r})"
    if flow_run.job_variables or deployment.job_variables:
        yield "it brings job variables; this worker takes none"
    if deployment.pull_steps or deployment.storage_document_id:
        yield "it brings pull steps or storage; this worker runs only the code of this checkout"


@dataclass
class Examiner:
    """Examines runs, and remembers the deployments to which there was no objection.

    A run of one that is known can begin before the server was asked again; who does that asks soon after.
    """

    listed: tuple[Listed, ...]
    flow_names: Mapping[str, str]
    """Entry point to the flow's own name, of what imports here."""
    _known: dict[UUID, tuple[DeploymentResponse, Flow]] = field(default_factory=dict)
    _asked_at: dict[UUID, float] = field(default_factory=dict)
    """When each of them was asked about last, time.monotonic."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def at_once(self, flow_run: FlowRun) -> Examined | None:
        """By what is known; None when its deployment is not."""
        known = self._known.get(flow_run.deployment_id) if flow_run.deployment_id else None
        return self._judged(flow_run, *known) if known else None

    async def examine(self, client: PrefectClient, flow_run: FlowRun) -> Examined:
        """From what the server says now."""
        if flow_run.deployment_id is None:
            return Examined(refusal(flow_run, None, None, self.listed, {}))
        asked_at = monotonic()
        try:
            deployment, flow = await asyncio.gather(
                client.read_deployment(flow_run.deployment_id), client.read_flow(flow_run.flow_id)
            )
        except ObjectNotFound:
            self.forget(flow_run)
            return Examined(refusal(flow_run, None, None, self.listed, {}), gone=True)
        self._known.pop(deployment.id, None)
        if not self._judged(FlowRun(flow_id=flow.id), deployment, flow).objection:
            self._known[deployment.id] = deployment, flow
            self._asked_at[deployment.id] = asked_at
        return self._judged(flow_run, deployment, flow)

    async def examine_since(self, began: float, client: PrefectClient, flow_run: FlowRun) -> Examined:
        """The same; what the server said of this deployment after `began` (time.monotonic) need not be asked for twice."""
        async with self._asking:
            if flow_run.deployment_id and self._asked_at.get(flow_run.deployment_id, 0.0) > began:
                known = self.at_once(flow_run)
                if known is not None:
                    return known
            return await self.examine(client, flow_run)

    def forget(self, flow_run: FlowRun) -> None:
        """Examine its deployment before the next start."""
        if flow_run.deployment_id:
            self._known.pop(flow_run.deployment_id, None)

    def _judged(self, flow_run: FlowRun, deployment: DeploymentResponse, flow: Flow) -> Examined:
        module, _, attribute = (deployment.entrypoint or "").rpartition(".")
        return Examined(refusal(flow_run, deployment, flow, self.listed, self.flow_names), module, attribute)

    async def learn(self, client: PrefectClient) -> list[tuple[str, str, str]]:
        """Examine all that is listed before anybody is in a hurry; kind, key and JSON of what stands around such runs."""
        for one in self.listed:
            try:
                deployment = await client.read_deployment_by_name(f"{self.flow_names.get(one.entrypoint)}/{one.name}")
                await self.examine(client, FlowRun(flow_id=deployment.flow_id, deployment_id=deployment.id))
            except ObjectNotFound:
                continue  # it may come later
        pool = await client.read_work_pool(POOL)
        around = [("work-pool", str(pool.name), pool.model_dump_json())]
        queues = await client.read_work_queues(work_pool_name=POOL)
        around += [("work-queue", str(queue.id), queue.model_dump_json()) for queue in queues]
        for deployment, flow in self._known.values():
            around.append(("deployment", str(deployment.id), deployment.model_dump_json()))
            around.append(("flow", str(flow.id), flow.model_dump_json()))
        return around
