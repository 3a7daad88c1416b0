"""Starting runs: a response (the same one however often it is asked for), its restart, the review. It authorises nothing."""

import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Running, Scheduled

from runbooks.domain.errors import BookError, UnreachableError
from runbooks.domain.identifiers import incident_tag
from tasks.engine import demand_address, engine, run_name, told


def deployment_name(stem: str) -> str:
    """Prefect's full name of a deployment: the flow as people read it, and the stem, `prompt-injection/prompt_injection`."""
    return f"{stem.replace('_', '-')}/{stem}"


_KNOWN_ALREADY = {"system": "see the incident", "what_happened": "see the incident"}
"""The form insists on these two; for an incident that is open they are in the record."""


HANDED = "handed to the worker of this machine"
"""How the state of such a run begins; what follows tells one try from another.

It is created as Running: its process need not ask to be let in, which takes the engine as long as creating it does.
"""
WOKEN = "woken by an answer; taken by the worker of this machine"
"""The state of a run that waited for people, and begins again by one change (`flows/doors/waking.py`)."""
TAKEN_WITHIN_SECONDS = 20
"""A run that was handed over has begun by then, and its process is named; else the lease decides."""
START_PATIENCE_SECONDS = 10
"""How long one try to start a response waits for Prefect's answer. The next one asks for the same run."""


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

    def give(self, flow_run: str) -> bool | None:
        """Hand over a run, as JSON; whether the worker took it, or None when that is not known."""


class Starter:
    """Starts first responses over one client that stays: one request each instead of five.

    The deployment of a flow is read once; one that was replaced meanwhile is read again. It repeats nothing by itself.
    """

    def __init__(
        self, look: Callable[[], object] = lambda: None, place: Callable[[str], Place | None] = lambda _: None,
        began: Callable[[str], bool] = lambda _: False,
    ) -> None:  # fmt: skip
        """`look` is called before each connection: where is Prefect now? `place`: has this pool a worker with room here?

        `began`: whether the record holds that this run has begun.
        """
        self._look = look
        self._place = place
        self._began = began
        self._client: SyncPrefectClient | None = None
        self._deployments: dict[str, tuple[UUID, str]] = {}
        """By flow: the deployment, and its pool."""
        self._unsure: dict[UUID, float] = {}
        """Runs that were created as handed over, and whether a worker took them is not known yet; since when."""

    def __call__(self, flow: str, incident_id: str, drill: bool) -> str:
        """The id of the run; UnreachableError when nobody knows whether it was started: ask again.

        BookError when Prefect answers and will not start this one, so that the others need not wait for it.
        """
        try:
            with told():
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
            demand_address()
            self._client = get_client(sync_client=True, httpx_settings={"timeout": START_PATIENCE_SECONDS}).__enter__()
        if flow not in self._deployments:
            found = self._client.read_deployment_by_name(deployment_name(flow))
            self._deployments[flow] = found.id, str(found.work_pool_name)
        deployment, pool = self._deployments[flow]
        place = self._place(pool)
        if place is None:
            return str(_create(self._client, deployment, incident_id, 0, drill=drill).id)
        with place:
            mark = f"{HANDED} ({secrets.token_hex(6)})"
            run = _create(self._client, deployment, incident_id, 0, drill=drill, state=Running(message=mark))
            if run.state is None or run.state.message != mark:
                self._unsure[run.id] = time.monotonic()  # from an earlier try, whose answer was lost or who died
            elif run.work_pool_name != pool:  # somebody moved the deployment since it was read
                self._deployments.clear()
                _into_the_queue(self._client, run)
            elif (taken := place.give(run.model_dump_json())) is None:
                self._unsure[run.id] = time.monotonic()
            elif not taken:
                _into_the_queue(self._client, run)
        return str(run.id)

    def settle(self) -> None:
        """Put into the queue what was handed over some seconds ago and nobody took. Raises UnreachableError.

        Where this fails, or dies before it, the keeper restarts what does not begin.
        """
        late = time.monotonic() - TAKEN_WITHIN_SECONDS
        for run_id in [one for one, since in self._unsure.items() if since < late]:
            del self._unsure[run_id]  # once: what fails now, the keeper finds
            if self._began(str(run_id)):
                continue  # the engine need not know its process yet
            with engine() as client:
                run = client.read_flow_run(run_id)
                if _waits_for_nobody(run):
                    _into_the_queue(client, run)

    def close(self) -> None:
        """Let the connection go."""
        client, self._client = self._client, None
        if client is not None:
            client.__exit__(None, None, None)


def is_handed(state: State) -> bool:
    """Whether a run in this state was created as Running, for a worker that takes it, and said nothing else since."""
    return str(state.message).startswith(HANDED)


def is_woken(state: State) -> bool:
    """Whether a waiting run was set to Running for a process that is just being started, and said nothing else since."""
    return state.is_running() and state.message == WOKEN


def _waits_for_nobody(run: FlowRun) -> bool:
    state = run.state
    if state is None or run.infrastructure_pid:
        return False
    return state.is_running() and is_handed(state)


def _into_the_queue(client: SyncPrefectClient, run: FlowRun) -> None:
    client.set_flow_run_state(run.id, Scheduled(message="no worker took it at once"), force=True)


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


def start_again(flow_run_id: UUID) -> None:
    """Let the same run begin once more, with what it was started with."""
    with engine() as client:
        client.set_flow_run_state(flow_run_id, Scheduled(message="its process died before it had begun"), force=True)
