"""What a run leaves unsaid on the way to its first line, and that what matters of it is said afterwards."""

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.schemas.objects import CsrfToken, FlowRun, State, StateType
from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus, StateAcceptDetails
from prefect.context import AsyncClientContext, FlowRunContext
from prefect.events.schemas.events import Event, Resource
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from prefect.states import Failed, Running, Suspended

from flows.doors import first_words
from flows.doors.child_clients import as_known
from flows.doors.first_words import KnownRun, be_patient, know_token, use_token
from tasks.giving_way import hold_back, speak

DEPLOYMENT = uuid4()


class Server:
    """Prefect's client, as far as a run uses it before its first line."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        self.asked.append("read")
        return FlowRun(id=flow_run_id, flow_id=uuid4(), name="as the server has it")

    async def update_flow_run(self, flow_run_id: UUID, **told: Any) -> None:
        del flow_run_id
        self.asked.append(told)

    async def set_flow_run_state(self, flow_run_id: UUID, state: State, **how: Any) -> OrchestrationResult[Any]:
        del flow_run_id, how
        self.asked.append(state.type)
        return OrchestrationResult(state=state, status=SetStateStatus.ACCEPT, details=StateAcceptDetails())


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    yield
    speak()
    know_token("")


def _run(state: StateType) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), name="handed", flow_version="old", state=State(type=state))


def _known(server: Server, run: FlowRun) -> Server:
    KnownRun(server, run, DEPLOYMENT)  # type: ignore[arg-type]
    return server


async def _begins(server: Any, run: FlowRun) -> FlowRun:
    """As Prefect's engine does it."""
    await server.update_flow_run(flow_run_id=run.id, flow_version="new", empirical_policy=run.empirical_policy)
    said = await server.set_flow_run_state(run.id, Running(), force=False)
    run.state = said.state
    found: FlowRun = await server.read_flow_run(run.id)
    return found


def test_one_that_was_created_for_this_process_asks_nothing() -> None:
    server, run = Server(), _run(StateType.RUNNING)

    async def whole() -> FlowRun:
        found = await _begins(_known(server, run), run)
        assert server.asked == []
        return found

    found = asyncio.run(whole())
    assert (found.id, found.name, found.deployment_id) == (run.id, "handed", DEPLOYMENT)


def test_one_from_the_queue_asks_whether_it_may_be_running() -> None:
    server, run = Server(), _run(StateType.PENDING)
    found = asyncio.run(_begins(_known(server, run), run))
    assert [one for one in server.asked if not isinstance(one, dict)] == [StateType.RUNNING]
    assert found.name == "handed"


def test_the_second_time_the_server_is_asked() -> None:
    server, run = Server(), _run(StateType.RUNNING)

    async def whole() -> None:
        await _begins(_known(server, run), run)
        assert (await server.read_flow_run(run.id)).name == "as the server has it"
        await server.set_flow_run_state(run.id, Suspended())
        await server.set_flow_run_state(run.id, Running())

    asyncio.run(whole())
    assert [one for one in server.asked if not isinstance(one, dict)] == ["read", StateType.PAUSED, StateType.RUNNING]


def test_another_state_or_another_run_is_no_affair_of_ours() -> None:
    server, run = Server(), _run(StateType.RUNNING)
    asyncio.run(_known(server, run).set_flow_run_state(run.id, Failed()))
    asyncio.run(_known(server, run).set_flow_run_state(uuid4(), Running()))
    assert asyncio.run(_known(server, run).read_flow_run(uuid4())).name == "as the server has it"
    asyncio.run(_known(server, run).update_flow_run(run.id, name="a name"))
    assert server.asked == [StateType.FAILED, StateType.RUNNING, "read", {"name": "a name"}]


def test_the_version_is_told_later_and_no_policy_with_it() -> None:
    """The server keeps the pauses of a run in its policy; what a run knew at its start must not undo them."""
    server, run = Server(), _run(StateType.RUNNING)

    async def whole() -> None:
        hold_back()
        await _begins(_known(server, run), run)
        await asyncio.sleep(3 * first_words.GLANCE_SECONDS)
        assert server.asked == []
        speak()
        await asyncio.sleep(3 * first_words.GLANCE_SECONDS)

    asyncio.run(whole())
    assert server.asked == [{"flow_version": "new"}]


class _Client:
    class _Line:
        csrf_token: Any = None
        csrf_token_expiration: object = None
        csrf_client_id: UUID = UUID(int=0)

        def _add_csrf_headers(self, request: object) -> None: ...

    def __init__(self) -> None:
        self._client = self._Line()


def test_a_token_is_used_by_whoever_has_none() -> None:
    client, other = _Client(), _Client()
    use_token(client)
    assert not client._client.csrf_token, "none was handed to this process"
    told = CsrfToken.model_validate({"token": "t", "client": str(uuid4()), "expiration": "2026-01-01T00:00:00Z"})
    know_token(told.model_dump_json())
    other._client.csrf_token = "its own"
    for one in (client, other, object()):
        use_token(one)
    assert (client._client.csrf_token, str(client._client.csrf_client_id)) == ("t", told.client)
    assert client._client.csrf_token_expiration == told.expiration
    assert other._client.csrf_token == "its own"


@pytest.mark.parametrize("over", [False, True])
def test_who_asks_for_the_next_token_makes_nobody_elses_invalid(*, over: bool) -> None:
    """The server keeps one token for each identity; Prefect's client would ask for the next one under the shared one."""
    asked: list[tuple[bool, bool]] = []
    told = CsrfToken.model_validate({"token": "t", "client": str(uuid4()), "expiration": "2999-01-01T00:00:00Z"})

    class Line(_Client._Line):
        def _add_csrf_headers(self, request: object) -> None:
            del request
            asked.append((self.csrf_client_id == UUID(told.client), self.csrf_token == "t"))

    client = _Client()
    client._client = line = Line()
    know_token(told.model_dump_json())
    use_token(client)
    request: Any = None
    line._add_csrf_headers(request)
    if over:
        line.csrf_token_expiration = datetime(2026, 1, 1, tzinfo=UTC)
    else:
        line.csrf_token = None  # as after an answer that it is invalid
    line._add_csrf_headers(request)
    assert asked == [(True, True), (False, over)]


class _Api:
    """Prefect's server, as an HTTP client sees it: every request is noted, and each state is accepted."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path.rpartition('/')[2]}")
        if not request.url.path.endswith("set_state"):
            return httpx.Response(200, json={})
        state = json.loads(request.content)["state"] | {"id": str(uuid4()), "timestamp": "2026-01-01T00:00:00Z"}
        return httpx.Response(201, json={"state": state, "status": "ACCEPT", "details": {"type": "accept_details"}})


@pytest.mark.parametrize(
    ("state", "before"), [(StateType.RUNNING, []), (StateType.PENDING, ["POST set_state"])], ids=["handed", "queued"]
)
def test_prefects_own_engine_comes_to_the_first_line_with_so_many_questions(
    state: StateType, before: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whichever order this release asks, and with whatever arguments."""
    api, run, seen = _Api(), _run(state), list[Any]()
    deployment = run.deployment_id

    @flow(name="toy", persist_result=False)
    async def toy() -> str:
        context = FlowRunContext.get()
        assert context is not None
        seen.append((list(api.asked), context.flow_run))
        return "done"

    async def whole() -> None:
        async with AsyncClientContext(httpx_settings={"transport": httpx.MockTransport(api)}):
            started: Any = run_flow(toy, flow_run=run)
            await as_known(started, run, DEPLOYMENT)

    monkeypatch.setattr(EventsWorker, "instance", lambda: SimpleNamespace(send=lambda _: None))
    hold_back()
    nobody = socket.socket()  # keeps a port on which nobody listens
    nobody.bind(("127.0.0.1", 0))
    settings = {
        PREFECT_API_URL: f"http://127.0.0.1:{nobody.getsockname()[1]}/api", PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
        PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False, PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
    }  # fmt: skip
    with nobody, temporary_settings(settings):
        asyncio.run(whole())
    assert deployment is None
    [(asked, found)] = seen
    assert asked == before
    assert (found.id, found.name, found.deployment_id) == (run.id, "handed", DEPLOYMENT)
    assert api.asked[len(before) :].count("POST set_state") == 1, "its end is told to the server"


def test_events_and_log_lines_wait_until_nothing_is_urgent(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []

    async def emitted(self: object, event: Event) -> None:
        del self
        told.append(event.event)

    async def logged(self: object, items: list[dict[str, Any]]) -> None:
        del self
        told.extend(item["message"] for item in items)

    monkeypatch.setattr(EventsWorker, "_handle", emitted)
    monkeypatch.setattr(APILogWorker, "_handle_batch", logged)
    be_patient()

    async def whole() -> None:
        hold_back()
        event = Event(event="task.begun", resource=Resource({"prefect.resource.id": "x"}))
        events, lines = object.__new__(EventsWorker), object.__new__(APILogWorker)
        lines._client = None  # type: ignore[assignment]
        waiting = asyncio.gather(events._handle(event), lines._handle_batch([{"message": "a line"}]))
        await asyncio.sleep(3 * first_words.GLANCE_SECONDS)
        assert told == []
        speak()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(whole())
    assert sorted(map(str, told)) == ["a line", "task.begun"]
