"""What quell asks of Prefect: start a run, ring a waiting one, see which runs an incident has. It authorises nothing.

Runs of an incident carry the tag `incident:INC-…`. Prefect may be down: callers that only ring treat that as "not now".
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Protocol, Self
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL
from prefect.states import Cancelled, Pending, Scheduled

from runbooks.domain.errors import BookError, UnreachableError
from runbooks.domain.identifiers import INCIDENT_TAG, incident_tag
from runbooks.domain.incident import Archetype


def deployment_name(stem: str) -> str:
    """Prefect's full name of a deployment: the flow as people read it, and the stem, `prompt-injection/prompt_injection`."""
    return f"{stem.replace('_', '-')}/{stem}"


_KNOWN_ALREADY = {"system": "see the incident", "what_happened": "see the incident"}
"""The form insists on these two; for an incident that is open they are in the record."""


def run_name(incident_id: str, generation: int = 0) -> str:
    """What the list of runs calls a response."""
    return f"{incident_id}, restart {generation}" if generation else incident_id


START_PATIENCE_SECONDS = 10
"""How long one try to start a response waits for Prefect's answer. The next one asks for the same run."""
_BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CRASHED]


@contextmanager
def engine() -> Iterator[SyncPrefectClient]:
    """A client of the configured Prefect API; every failure to reach it becomes an UnreachableError."""
    _demand_address()
    line = _line.get()
    with _told():
        if line is not None:
            yield line.client()
            return
        with get_client(sync_client=True) as client:
            yield client


class _Line:
    """A client that is made when it is first needed, and made anew for another server."""

    def __init__(self) -> None:
        self._client: SyncPrefectClient | None = None
        self._address = ("", "")

    def client(self) -> SyncPrefectClient:
        address = str(PREFECT_API_URL.value()), str(PREFECT_API_AUTH_STRING.value())
        if self._client is None or self._address != address:
            self.close()
            self._client, self._address = get_client(sync_client=True).__enter__(), address
        return self._client

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.__exit__(None, None, None)


_line: ContextVar[_Line | None] = ContextVar("line", default=None)


@contextmanager
def one_line() -> Iterator[None]:
    """All calls inside share one connection and one CSRF token: a client of its own costs each of them 80 ms."""
    if _line.get() is not None:
        yield
        return
    line = _Line()
    token = _line.set(line)
    try:
        yield
    finally:
        _line.reset(token)
        line.close()


def _demand_address() -> None:
    if not PREFECT_API_URL.value():
        raise UnreachableError(
            "Prefect was never started here.", now="waiting incidents keep waiting.", next_step="start `quell up`."
        )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound) as error:
        raise UnreachableError(
            f"the Prefect API did not do what was asked: {type(error).__name__}: {str(error)[:200]}.",
            now="the record is unchanged by this; waiting incidents keep waiting.",
            next_step="start `quell up`, or set PREFECT_API_URL to a server that runs.",
        ) from error


def start_response_run(flow: str, incident_id: str, generation: int, *, drill: bool) -> UUID:
    """Start (or find, if it was started already) the run of this generation of the response."""
    with engine() as client:
        deployment = client.read_deployment_by_name(deployment_name(flow))
        return _create(client, deployment.id, incident_id, generation, drill=drill).id


def _create(
    client: SyncPrefectClient, deployment: UUID, incident_id: str, generation: int, *, drill: bool,
    state: State | None = None,
) -> FlowRun:  # fmt: skip
    """Identifiers only: Prefect reads markers and templates in parameters, and nobody's text gets there."""
    return client.create_flow_run_from_deployment(
        deployment, parameters={"start": {"incident": incident_id, **_KNOWN_ALREADY}}, state=state,
        tags=[incident_tag(incident_id), *(["drill"] if drill else [])],
        idempotency_key=f"{incident_id}/{generation}", name=run_name(incident_id, generation),
    )  # fmt: skip


class Place(Protocol):
    """A place that a worker keeps free for one run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def give(self, flow_run: str) -> bool:
        """Hand over a run, as JSON; whether the worker took it."""


class Starter:
    """Starts first responses over one connection that stays open: one request each instead of five.

    The deployment of a flow is read once; one that was replaced meanwhile is read again. It repeats nothing by itself.
    """

    def __init__(
        self, look: Callable[[], object] = lambda: None, place: Callable[[], Place | None] = lambda: None
    ) -> None:
        """`look` is called before each connection: where is Prefect now? `place`: is there a worker with room here?"""
        self._look = look
        self._place = place
        self._client: SyncPrefectClient | None = None
        self._deployments: dict[str, UUID] = {}

    def __call__(self, flow: str, incident_id: str, drill: bool) -> str:
        """The id of the run; UnreachableError when nobody knows whether it was started: ask again.

        BookError when Prefect answers and will not start this one, so that the others need not wait for it.
        """
        try:
            with _told():
                return self._start(flow, incident_id, drill=drill)
        except UnreachableError as error:
            self.close()
            self._deployments.clear()
            if _refused(error.__cause__):
                raise BookError(
                    f"Prefect will not start {flow}: {error.problem}", now=error.now,
                    next_step="`quell up` writes its deployments anew; the response is asked for again by itself.",
                ) from error  # fmt: skip
            raise

    def _start(self, flow: str, incident_id: str, *, drill: bool) -> str:
        if self._client is None:
            self._look()
            _demand_address()
            self._client = get_client(sync_client=True, httpx_settings={"timeout": START_PATIENCE_SECONDS}).__enter__()
        if flow not in self._deployments:
            self._deployments[flow] = self._client.read_deployment_by_name(deployment_name(flow)).id
        deployment, place = self._deployments[flow], self._place()
        if place is None:
            return str(_create(self._client, deployment, incident_id, 0, drill=drill).id)
        with place:
            mark = f"handed to the worker of this machine ({secrets.token_hex(6)})"
            run = _create(self._client, deployment, incident_id, 0, drill=drill, state=Pending(message=mark))
            new = run.state is not None and run.state.message == mark  # else it is there from an earlier try
            if new and not place.give(run.model_dump_json(exclude_unset=True)):
                self._client.set_flow_run_state(run.id, Scheduled(message="no worker took it at once"), force=True)
        return str(run.id)

    def close(self) -> None:
        """Let the connection go."""
        client, self._client = self._client, None
        if client is not None:
            client.__exit__(None, None, None)


def _refused(cause: BaseException | None) -> bool:
    """Whether Prefect understood and said no; a wrong credential or a limit concerns everybody and may pass."""
    if isinstance(cause, PrefectHTTPStatusError) and not isinstance(cause, ObjectNotFound):
        return cause.response.status_code in (400, 404, 422)
    return isinstance(cause, ObjectNotFound)


def start_review_run(incident_id: str, due: datetime, drill: bool) -> str:
    """Schedule the review as a run of its own; the same incident gives the same run."""
    tags = [incident_tag(incident_id), "review", *(["drill"] if drill else [])]
    with engine() as client:
        deployment = client.read_deployment_by_name(deployment_name("post_incident_review"))
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters={"incident": incident_id}, tags=tags, state=Scheduled(scheduled_time=due),
            idempotency_key=f"review/{incident_id}", name=f"review-{incident_id.lower()}",
        )  # fmt: skip
        return str(run.id)


def runs_of(incident_id: str) -> list[FlowRun]:
    """Every run of the response to this incident, newest first; reviews are not among them."""
    with engine() as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[incident_tag(incident_id)])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200,
        )  # fmt: skip
    return [run for run in found if "review" not in run.tags]


def paused_of(flow_run_ids: list[str]) -> frozenset[str]:
    """Those of these runs that wait now, asked for at once."""
    with engine() as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                id=FlowRunFilterId(any_=[UUID(one) for one in flow_run_ids]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])),
            ),
            limit=200,
        )
    return frozenset(str(run.id) for run in found)


def starts_without_incident() -> list[FlowRun]:
    """Runs that people started from the form, that began or crashed, and that no incident is written on; newest first."""
    with engine() as client:
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[archetype.shown for archetype in Archetype])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN))
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=50,
        )  # fmt: skip
    return [
        run for run in found
        if not any(tag.startswith(INCIDENT_TAG) for tag in run.tags)
        and not dict(run.parameters.get("start") or {}).get("incident")
    ]  # fmt: skip


def start_again(flow_run_id: UUID) -> None:
    """Let the same run begin once more, with what it was started with."""
    with engine() as client:
        client.set_flow_run_state(flow_run_id, Scheduled(message="its process died before it had begun"), force=True)


def has_form(flow_run_id: UUID | str, key: str) -> bool:
    """Whether the waiting run still has the form that people answer (law 2: one without is restarted)."""
    with engine() as client:
        answer = client.request("POST", "/flow_runs/{id}/input/filter", path_params={"id": str(flow_run_id)},
                                json={"prefix": f"suspended-{key}-", "limit": 50})  # fmt: skip
        return any(str(one["key"]).endswith("-schema") for one in answer.json())


def form_answer(flow_run_id: str, key: str) -> dict[str, str] | None:
    """What somebody answered in this form; None when nobody did, or the run is gone and its answers with it."""
    with engine() as client:
        found = client.request("POST", "/flow_runs/{id}/input/filter", path_params={"id": flow_run_id},
                               json={"prefix": f"suspended-{key}-", "limit": 50}).json()  # fmt: skip
    for one in found:
        if str(one["key"]) == f"suspended-{key}-response":
            value = json.loads(one["value"])
            return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else None
    return None


def ring(incident_id: str) -> bool:
    """Wake the waiting run of an incident so that it looks at the record; returns whether one was woken."""
    with one_line():
        woken = [_woken(run) for run in runs_of(incident_id)]  # every one: a stranger's run may carry the tag too
    return any(woken)


def _woken(run: FlowRun) -> bool:
    if run.state is None or not run.state.is_paused():
        return False
    with engine() as client:
        return client.resume_flow_run(run.id, run_input={}).status.value == "ACCEPT"


def set_aside(flow_run_id: UUID, why: str) -> None:
    """Mark a run that has no process, or that another replaced, as cancelled, so that the list of runs is honest."""
    with engine() as client:
        client.set_flow_run_state(flow_run_id, Cancelled(message=why), force=True)


def clear_the_way(pool: str) -> list[str]:
    """Let this pool and its queues hand out runs again; returns what held them up, in words.

    Whoever can write to the engine's API can pause them, and then nothing would ever start.
    """
    held = []
    with engine() as client:
        there = client.request("GET", "/work_pools/{name}", path_params={"name": pool}).json()
        if _hands_out_nothing(there):
            client.request("PATCH", "/work_pools/{name}", path_params={"name": pool}, json=_OPEN)
            held.append(f"the work pool {pool} was paused, or allowed no run")
        queues = client.request(
            "POST", "/work_pools/{work_pool_name}/queues/filter", path_params={"work_pool_name": pool}, json={}
        ).json()
        for queue in filter(_hands_out_nothing, queues):
            client.request("PATCH", "/work_queues/{id}", path_params={"id": queue["id"]}, json=_OPEN)
            held.append(f"a queue of the work pool {pool} was paused, or allowed no run")
    return held


_OPEN = {"is_paused": False, "concurrency_limit": None}


def _hands_out_nothing(there: dict[str, object]) -> bool:
    return bool(there["is_paused"]) or there["concurrency_limit"] == 0


def tag_run(flow_run_id: str, incident_id: str, *, drill: bool) -> None:
    """Put the incident's tag and name on a run that a person started from the form."""
    with engine() as client:
        run = client.read_flow_run(UUID(flow_run_id))
        tags = {*run.tags, incident_tag(incident_id), *(["drill"] if drill else [])}
        if tags != set(run.tags):
            client.update_flow_run(UUID(flow_run_id), tags=sorted(tags), name=run_name(incident_id))


def leave_page(key: str, text: str, headline: str, flow_run_id: str | None) -> bool:
    """Markdown on the run's page; whether it is news. One page of a kind for a run, always the newest.

    A page is a view, so it is replaced: a run that begins from the top again must not pile up copies, old ones among
    them, in an order that nobody can tell.
    """
    with engine() as client:
        mine = ArtifactFilter(
            key=ArtifactFilterKey(any_=[key]),
            flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]) if flow_run_id else None,
        )
        found = client.read_artifacts(artifact_filter=mine, limit=1)
        if not found:
            create_markdown_artifact(text, key=key, description=headline)
        elif found[0].data != text or found[0].description != headline:
            client.update_artifact(found[0].id, ArtifactUpdate(data=text, description=headline))
        else:
            return False
    return True


def state_name(state: State | None) -> str:
    """A run's state in one word."""
    return str(state.name) if state is not None and state.name else "none"
