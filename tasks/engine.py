"""What quell asks of Prefect: start a run, ring a waiting one, see which runs an incident has. It authorises nothing.

Runs of an incident carry the tag `incident:INC-…`. Prefect may be down: callers that only ring treat that as "not now".
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
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
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL
from prefect.states import Cancelled

from runbooks.domain.errors import UnreachableError
from runbooks.domain.identifiers import INCIDENT_TAG, incident_tag
from runbooks.domain.incident import Archetype


def run_name(incident_id: str, generation: int = 0) -> str:
    """What the list of runs calls a response."""
    return f"{incident_id}, restart {generation}" if generation else incident_id


_BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CRASHED]


@contextmanager
def engine() -> Iterator[SyncPrefectClient]:
    """A client of the configured Prefect API; every failure to reach it becomes an UnreachableError."""
    demand_address()
    line = _line.get()
    with told():
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


def demand_address() -> None:
    if not PREFECT_API_URL.value():
        raise UnreachableError(
            "Prefect was never started here.", now="waiting incidents keep waiting.", next_step="start `quell up`."
        )


@contextmanager
def told() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound) as error:
        raise UnreachableError(
            f"the Prefect API did not do what was asked: {type(error).__name__}: {str(error)[:200]}.",
            now="the record is unchanged by this; waiting incidents keep waiting.",
            next_step="start `quell up`, or set PREFECT_API_URL to a server that runs.",
        ) from error


def runs_of(incident_id: str) -> list[FlowRun]:
    """Every run of the response to this incident, newest first; reviews are not among them."""
    with engine() as client:
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[incident_tag(incident_id)])),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200,
        )  # fmt: skip
    return [run for run in found if "review" not in run.tags]


def is_there(flow_run_id: str) -> bool:
    """Whether Prefect still knows this run, whatever its tags."""
    with engine() as client:
        try:
            client.read_flow_run(UUID(flow_run_id))
        except (ObjectNotFound, ValueError):  # or the record names it by what is no identifier
            return False
    return True


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


_new_page = cast(Callable[..., UUID], create_markdown_artifact)
"""As a synchronous step sees it."""
_left: dict[tuple[str, str | None], tuple[UUID, str, str]] = {}
"""Pages that this process left: by key and run, the artifact, its text and its headline."""


def leave_page(key: str, text: str, headline: str, flow_run_id: str | None, *, first: bool = False) -> bool:
    """Markdown on the run's page (None: a page of no run); whether it is news. One of a kind for a run, the newest.

    A page is a view, so it is replaced: a run that begins from the top again must not pile up copies, old ones among
    them, in an order that nobody can tell. `first`: no other process was there before that could have left one.
    """
    place = key, flow_run_id
    with engine() as client:
        there = _left.get(place) or (None if first else _page_there(client, key, flow_run_id))
        if there is not None and there[1:] == (text, headline):
            return False
        if there is not None and not _replaced(client, there[0], text, headline):
            there = None
        if there is not None:
            page = there[0]
        elif flow_run_id:
            page = _new_page(text, key=key, description=headline)
        else:
            page = client.create_artifact(ArtifactCreate(key=key, type="markdown", data=text, description=headline)).id
        _left[place] = page, text, headline
    return True


def _replaced(client: SyncPrefectClient, page: UUID, text: str, headline: str) -> bool:
    """False when somebody deleted it."""
    try:
        client.update_artifact(page, ArtifactUpdate(data=text, description=headline))
    except (ObjectNotFound, PrefectHTTPStatusError) as error:
        if isinstance(error, PrefectHTTPStatusError) and error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        return False
    return True


def _page_there(client: SyncPrefectClient, key: str, flow_run_id: str | None) -> tuple[UUID, str, str] | None:
    mine = ArtifactFilter(
        key=ArtifactFilterKey(any_=[key]),
        flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]) if flow_run_id else None,
    )
    found = client.read_artifacts(artifact_filter=mine, sort=ArtifactSort.CREATED_DESC, limit=1)
    return (found[0].id, str(found[0].data), str(found[0].description)) if found else None


def state_name(state: State | None) -> str:
    """A run's state in one word."""
    return str(state.name) if state is not None and state.name else "none"
