"""Prefect's history of an incident, mirrored into the vault at every gate. A witness, not the record.

Prefect lets any API user change or delete runs; the mirror keeps what it said at the time, so that a later difference
is a finding.
"""

import json

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun

from runbooks.domain.errors import UnreachableError
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.history import Page, Pages, endings_of_the_living
from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Json
from tasks.engine import engine, runs_of
from tasks.ledger import clock
from tasks.step import here, pen, run_id, step
from tasks.stores.base import SourceFacts

_PAGE = 200


def mirror_history(incident_id: str) -> None:
    """Seal what Prefect says now about every run of this incident, and record the count. Prefect down: say so.

    What was forced on the run that works here is written down too: the keeper may have looked too late to see it.
    """
    installation, writer = here(), pen()
    try:
        found = runs_of(incident_id)
        pages = [_page(run) for run in found]
    except UnreachableError as error:
        writer.write(
            EntryType.HISTORY_MIRRORED, f"mirrored/{incident_id}/{run_id()}/{clock()}", incident=incident_id,
            body={"runs": 0, "because": f"not mirrored: {error.problem}"},
        )  # fmt: skip
        return
    sealed = installation.vault.seal(
        incident=incident_id, evidence_class=EvidenceClass.H, source="prefect", media_type="application/json",
        items=pages, facts=SourceFacts(), now=clock,
    )  # fmt: skip
    writer.write(
        EntryType.HISTORY_MIRRORED, f"mirrored/{sealed.collection.id}", incident=incident_id,
        subject={"collection": installation.keep(sealed.collection)},
        body={"runs": len(pages), "because": "mirrored"},
    )  # fmt: skip
    mine = run_id()
    states: list[Page] = next(
        (json.loads(page)["states"] for run, page in zip(found, pages, strict=True) if str(run.id) == mine), []
    )
    restarts = installation.store.entries(incident_id, types=(EntryType.RESPONSE_RESTARTED,))
    for state in endings_of_the_living(restarts, str(mine), states):
        writer.write(
            EntryType.RUN_INTERFERED, f"interfered/{mine}/{state['id']}", incident=incident_id,
            body={
                "flow_run": mine, "engine_said": str(state["name"]),
                "because": f"the working run was forced to {state['name']}; its process goes on",
            },
        )  # fmt: skip


@step("mirror the history")
def mirror(incident_id: str) -> None:
    """The same as a step of its own, for the end of a response."""
    mirror_history(incident_id)


def pages_now(incident_id: str) -> Pages | None:
    """What Prefect says now about the runs of this incident, by run id; None when its database knows no run at all."""
    try:
        found = runs_of(incident_id)
        if not found:
            with engine() as client:
                if not client.read_flow_runs(limit=1):
                    return None
        return {str(run.id): json.loads(_page(run)) for run in found}
    except ValueError as error:  # Prefect's client, when no address is configured
        raise UnreachableError(
            "no Prefect server is configured here.", now="its history was not compared.", next_step="start `quell up`."
        ) from error


def _page(run: FlowRun) -> bytes:
    with engine() as client:
        states = client.request("GET", "/flow_run_states/", params={"flow_run_id": str(run.id)}).json()
        inputs = client.request(
            "POST", "/flow_runs/{id}/input/filter", path_params={"id": str(run.id)},
            json={"prefix": "", "limit": _PAGE},
        ).json()  # fmt: skip
        page: dict[str, Json] = {
            "flow_run": run.model_dump(mode="json", exclude={"parameters"}),
            "states": states,
            "inputs": [{"key": one["key"], "created": one.get("created")} for one in inputs],
            "task_runs": _task_runs(client, run),
        }
    return json.dumps(page, sort_keys=True).encode()


def _task_runs(client: SyncPrefectClient, run: FlowRun) -> list[Json]:
    found: list[Json] = []
    while True:
        some = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), limit=_PAGE, offset=len(found)
        )
        found += [one.model_dump(mode="json", exclude={"task_inputs"}) for one in some]
        if len(some) < _PAGE:
            return found
