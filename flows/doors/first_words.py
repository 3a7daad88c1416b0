"""What a run would ask or tell Prefect on the way to its first line, as far as somebody knows it already.

1. Prefect protects its API with tokens against forged requests; each client asks for one of its own before it may write.
   The worker has one for all runs that it starts (`token_of`). A client whose token is over asks for the next one under
   an identity of its own: the server keeps one for each, and a new one would make everybody else's invalid.
2. Prefect's engine writes down the flow's version before it begins; that can wait until nobody is in a hurry.
3. It asks whether the run may be Running, where it was created so for this very process, and reads it again once it is;
   what was handed over, and the accepted state, say the same.
4. Task events and log lines wait in their queues until the first acts are done (`tasks/giving_way.py`).

A release of Prefect that does any of this otherwise asks and tells as it always did.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import CsrfToken, FlowRun, State
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus, StateAcceptDetails
from prefect.events.schemas.events import Event
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException, PrefectHTTPStatusError
from prefect.logging.handlers import APILogWorker

from tasks.giving_way import holds_back

GLANCE_SECONDS = 0.02
TOKEN_SECONDS = 1200.0
"""How long a token is given to new runs; Prefect's live for an hour, from when they were made."""


async def token_of(client: PrefectClient) -> str:
    """A token for the clients of runs, JSON; empty where the server wants none."""
    who = uuid4()
    try:
        told = await client.request("GET", "/csrf-token", params={"client": str(who)})
    except PrefectHTTPStatusError:
        return ""  # it has no such protection; or none to give now, and each client asks by itself
    return str(CsrfToken.model_validate(told.json()).model_dump_json())


class _Token:
    """Of this process, once somebody handed it one."""

    told: CsrfToken | None = None


def know_token(token: str) -> None:
    """What the worker asked for; clients of this process write with it from now on (`use_token`)."""
    _Token.told = CsrfToken.model_validate_json(token) if token else None


def use_token(client: object) -> None:
    """Let this client of Prefect write with the known token; one that has its own keeps it."""
    line: Any = getattr(client, "_client", None)
    known = _Token.told
    if known is None or line is None or getattr(line, "csrf_token", True):
        return
    line.csrf_token, line.csrf_token_expiration, line.csrf_client_id = known.token, known.expiration, UUID(known.client)
    asked = line._add_csrf_headers  # noqa: SLF001

    def add(request: httpx.Request) -> object:
        over = line.csrf_token_expiration and datetime.now(UTC) > line.csrf_token_expiration
        if not line.csrf_token or over:
            line.csrf_client_id = uuid4()
        return asked(request)  # of an asynchronous client: what is awaited

    line._add_csrf_headers = add  # noqa: SLF001


class KnownRun:
    """Answers the engine's first questions about one run; all later ones go to the server. See the module, 2 and 3."""

    def __init__(self, client: PrefectClient, flow_run: FlowRun, deployment_id: UUID | None) -> None:
        self._run, self._deployment_id = flow_run, deployment_id
        self._read, self._update, self._set = client.read_flow_run, client.update_flow_run, client.set_flow_run_state
        self._client = client
        client.read_flow_run = self.read  # type: ignore[method-assign]
        client.update_flow_run = self.update  # type: ignore[method-assign,assignment]
        client.set_flow_run_state = self.set_state  # type: ignore[method-assign,assignment]

    async def read(self, flow_run_id: UUID) -> FlowRun:
        """The run as it was handed over, in the state that the server accepted."""
        self._client.read_flow_run = self._read  # type: ignore[method-assign]
        if flow_run_id != self._run.id or self._run.state is None or not self._run.state.is_running():
            return await self._read(flow_run_id)
        return self._run.model_copy(update={"deployment_id": self._deployment_id})

    async def set_state(self, flow_run_id: UUID, state: State, **how: Any) -> OrchestrationResult[Any]:
        """Running, when the server was told so as it created the run for us."""
        self._client.set_flow_run_state = self._set  # type: ignore[method-assign]
        now = self._run.state
        if flow_run_id != self._run.id or not state.is_running() or now is None or not now.is_running():
            return await self._set(flow_run_id, state, **how)
        return OrchestrationResult(state=now, status=SetStateStatus.ACCEPT, details=StateAcceptDetails())

    async def update(self, flow_run_id: UUID, **told: Any) -> object:
        """Later, and only what the server does not know: its rules for pauses change while the run goes on."""
        self._client.update_flow_run = self._update  # type: ignore[method-assign]
        if set(told) != {"flow_version", "empirical_policy"}:
            return await self._update(flow_run_id, **told)
        if told["flow_version"] != self._run.flow_version:
            self._telling = asyncio.create_task(self._tell_version(flow_run_id, told["flow_version"]))
        return None

    async def _tell_version(self, flow_run_id: UUID, version: str) -> None:
        await _turn()
        with contextlib.suppress(httpx.HTTPError, PrefectException):  # a word on the run's page, no more
            await self._update(flow_run_id, flow_version=version)


def be_patient() -> None:
    """In the process of a run, before it begins: its events and log lines wait for their turn.

    By the methods that hand them over: a client of another class than Prefect's own is given no event at all.
    """
    handled, logged = EventsWorker._handle, APILogWorker._handle_batch  # noqa: SLF001

    async def handle_later(self: EventsWorker, event: Event) -> None:
        await _turn()
        await handled(self, event)

    async def log_later(self: APILogWorker, items: list[dict[str, Any]]) -> None:
        await _turn()
        use_token(self._client)
        await logged(self, items)

    EventsWorker._handle = handle_later  # type: ignore[method-assign] # noqa: SLF001
    APILogWorker._handle_batch = log_later  # type: ignore[method-assign] # noqa: SLF001


async def _turn() -> None:
    while holds_back():  # noqa: ASYNC110  ends in another thread, or by the clock
        await asyncio.sleep(GLANCE_SECONDS)
