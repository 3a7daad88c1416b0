"""What the worker asks and tells Prefect about a run that has begun, once nobody waits to begin.

A new run has the engine, which answers one after the other, for itself; in a burst until the last one has begun.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException

from flows.doors.examining import Examiner
from flows.doors.nursery import RunChild

QUIET_SECONDS, LONGEST_SECONDS = 1.0, 5.0
"""Without another start; and when that is enough: the keeper gives a nameless run ten seconds."""
NAMED_AGAIN_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
CONNECTION_ERRORS = (httpx.HTTPError, PrefectException, OSError, TimeoutError)

_log = logging.getLogger("quell.worker")


class AfterStarts:
    """Of one worker, which says when it starts a run (`begun`)."""

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner
        self._newest = 0.0

    def begun(self) -> float:
        """A run starts now (time.monotonic)."""
        self._newest = monotonic()
        return self._newest

    async def name(self, client: PrefectClient, flow_run: FlowRun, child: RunChild, identity: str) -> None:
        """Write down which process runs it: at a first attempt when starts are over.

        At a later one at once: the process of the one before is named there still, and may be just about to end.
        """
        if not flow_run.infrastructure_pid:
            await self._over(child)
        for pause in NAMED_AGAIN_SECONDS:
            try:
                await client.update_flow_run(flow_run.id, infrastructure_pid=identity)
            except CONNECTION_ERRORS as error:
                _log.warning("Flow run %s: its process is not named yet (%s).", flow_run.id, error)
                await asyncio.wait([child.ended], timeout=pause)
            else:
                return

    async def examine(self, client: PrefectClient, flow_run: FlowRun, child: RunChild, began: float) -> str:
        """Why a run that began by what was known must not go on, by what the server says now; or ''.

        A deployment that has gone meanwhile is no objection.
        """
        await self._over(child)
        try:
            examined = await self._examiner.examine_since(began, client, flow_run)
        except CONNECTION_ERRORS as error:
            self._examiner.forget(flow_run)
            _log.warning("Flow run %s was not examined again (%s); its deployment is unknown now.", flow_run.id, error)
            return ""
        return "" if examined.gone else examined.objection

    def calm_in(self) -> float:
        """Seconds until the last start is a moment ago; 0 when it is."""
        return max(0.0, self._newest + QUIET_SECONDS - monotonic())

    async def _over(self, child: RunChild) -> None:
        """Until nothing started for a moment, this child ended, or it took long enough."""
        until = monotonic() + LONGEST_SECONDS
        while monotonic() < until:
            ended, _ = await asyncio.wait([child.ended], timeout=QUIET_SECONDS)
            if ended or monotonic() - self._newest >= QUIET_SECONDS:
                return
