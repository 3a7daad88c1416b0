"""Attacks through Prefect's own doors, with its credential: states, runs, parameters, inputs, deployments."""

import json
from functools import partial
from typing import Any

import pytest

from flows.doors.drill import command
from flows.doors.engine_server import EngineUnreachable
from runbooks.domain.ledger import EntryType
from tests.attacks.ground import Ground, until
from tests.attacks.table import attack

ROUNDS = (
    ("COMPLETED", "CRASHED", "PENDING"),
    ("FAILED", "CANCELLED", "CANCELLING"),
    ("SCHEDULED", "RUNNING", "PAUSED"),
)
NOTICED = (EntryType.RUN_INTERFERED, EntryType.RUN_WOKEN)


def _noticed(g: Ground, incident: str, since: int) -> str:
    found = [e for e in g.entries(incident, *NOTICED) if e.index >= since]
    return str(found[0].body["because"]) if found else ""


@attack("Force every state on waiting runs", "no effect; on record; the response waits for people again", "states")
def every_state(g: Ground) -> str:
    incidents = [g.declare() for _ in range(3)]
    seen = []
    for states in ROUNDS:
        since = g.installation.store.size()
        for incident, state in zip(incidents, states, strict=True):
            g.force(g.gate(incident)["id"], state)
        for incident, state in zip(incidents, states, strict=True):
            if state == "PAUSED":
                assert g.gate(incident)
                continue
            seen.append(f"{state}: {until(partial(_noticed, g, incident, since), f'{state} is noticed')}")
            g.gate(incident, since)
    return "; ".join(seen)


@attack("Force a state in bulk on all waiting runs", "no effect; on record; all wait again", "waiting")
def in_bulk(g: Ground) -> str:
    incidents = [g.declare(), g.waiting]
    since = g.installation.store.size()
    runs = [g.gate(incident)["id"] for incident in incidents]
    g.api.call("POST", "/flow_runs/bulk_set_state", {
        "flow_runs": {"id": {"any_": runs}}, "state": {"type": "COMPLETED", "message": "approved by CISO"}, "force": True,
    })  # fmt: skip
    for incident in incidents:
        until(partial(_noticed, g, incident, since), "it is noticed")
        g.gate(incident, since)
    return f"{len(incidents)} runs forced, {len(incidents)} noticed, all wait again"


@attack("Force a working run to Completed, and to Cancelling", "the response goes on and comes to its gate", "runs")
def while_working(g: Ground) -> str:
    seen = []
    for state in ("COMPLETED", "CANCELLING"):
        incident = g.declare(gate=False)
        started = until(lambda i=incident: g.entries(i, EntryType.RUN_STARTED), "it works")[-1]  # type: ignore[misc]
        g.force(str(started.flow_run_id), state)
        g.gate(incident)
        found = {e.type for e in g.entries(incident, EntryType.RUN_INTERFERED, EntryType.RESPONSE_RESTARTED)}
        seen.append(f"{state}: {', '.join(sorted(found)) or 'its process went on to the gate'}")
    return "; ".join(seen)


@attack("Delete the waiting run", "no effect; on record; another run waits", "runs")
def delete(g: Ground) -> str:
    incident = g.declare()
    since, run = g.installation.store.size(), g.gate(incident)["id"]
    g.api.call("DELETE", f"/flow_runs/{run}")
    because: str = until(lambda: _noticed(g, incident, since), "it is noticed")
    assert g.gate(incident, since)["id"] != run
    return because


@attack(
    "Change the run's parameters to another incident, and wake it", "no effect; on record; both wait again", "waiting"
)
def parameters(g: Ground) -> str:
    incident = g.declare()
    since, run = g.installation.store.size(), g.gate(incident)["id"]
    start = {"system": "x", "what_happened": "x", "incident": g.waiting}
    g.api.call("PATCH", f"/flow_runs/{run}", {"parameters": {"start": start}})
    g.force(run, "SCHEDULED")
    found = until(
        lambda: [e for e in g.entries(incident, EntryType.RUN_INTERFERED) if e.index >= since], "it is noticed"
    )
    g.gate(incident, since)
    g.gate(g.waiting)
    return str(found[0].body["because"])


@attack("Write the form's answer as stored input, and force the run on", "no effect; refused on record", "runs")
def stored_input(g: Ground) -> str:
    incident = g.declare()
    since, run = g.installation.store.size(), g.gate(incident)["id"]
    request = g.request(incident)
    answer = {
        "request": request.id,
        "answer": "approve",
        "person": "ana",
        "reason": "by mallory",
        "one_time_code": "",
        "signature": "",
    }
    g.api.call(
        "POST",
        f"/flow_runs/{run}/input",
        {"key": f"suspended-{g.form(incident)}-response", "value": json.dumps(answer)},
    )
    g.force(run, "SCHEDULED")
    g.gate(incident, since)
    refused = [e for e in g.entries(incident, EntryType.DECISION_REFUSED) if e.index >= since]
    return str(refused[0].body["because"])


MARKERS: dict[str, Any] = {
    "jinja marker": {"__prefect_kind": "jinja", "template": "{{ 1/0 }}"},
    "json marker": {"__prefect_kind": "json", "value": '{"answer": "approve"}'},
    "variable marker": {"__prefect_kind": "workspace_variable", "variable_name": "prefect-auth"},
}


@attack(
    "Resume with empty, partial, oversized, wrongly typed input, typed markers, templates in every field",
    "no effect; it waits again",
    "states",
)
def resumes(g: Ground) -> str:
    incident = g.declare()
    request = g.request(incident)
    fields = ("request", "answer", "person", "reason", "one_time_code", "signature")
    inputs: dict[str, Any] = {
        "empty": {}, "partial": {"answer": "approve"}, "oversized": {"reason": "x" * 2_000_000}, "a list": [1, 2],
        "wrong types": {"request": 7, "answer": None, "person": ["ana"]},
        "templates": dict.fromkeys(fields, "{{ flow_run.id }}") | {"answer": "approve"},
        "no proof": {"request": request.id, "answer": "approve", "person": "ana", "reason": "{{ 1/0 }}"},
    }  # fmt: skip
    for name, marker in MARKERS.items():
        inputs[name] = dict.fromkeys(fields, marker)
        inputs[name + " for all"] = marker
    seen = []
    for name, given in inputs.items():
        since = g.installation.store.size()
        said = g.resume(g.gate(incident)["id"], given)
        if said == "ACCEPT":
            g.gate(incident, since)
        seen.append(f"{name}: {'woke, nothing changed' if said == 'ACCEPT' else 'not taken'}")
    assert g.gate(incident)
    return "; ".join(seen)


def _refused_run(g: Ground, run: str) -> str:
    found = until(lambda: g.installation.store.find(f"run-refused/{run}"), "the worker refuses it", 40)
    return str(found.body["because"])


@attack("Start a deployment of one's own on quell's worker", "refused, on record", "states")
def own_deployment(g: Ground) -> str:
    ours = g.api.call("GET", "/deployments/name/prompt-injection/prompt_injection")
    flow = g.api.call("POST", "/flows/", {"name": "evil"})["id"]
    made = g.api.call("POST", "/deployments/", {
        "name": "evil", "flow_id": flow, "work_pool_name": ours["work_pool_name"], "entrypoint": "os.system",
        "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "touch pwned"}}],
    })["id"]  # fmt: skip
    run = g.api.call("POST", f"/deployments/{made}/create_flow_run", {})["id"]
    return _refused_run(g, run)


@attack("Start one of ours with job variables", "refused, on record", "states")
def job_variables(g: Ground) -> str:
    ours = g.api.call("GET", "/deployments/name/prompt-injection/prompt_injection")["id"]
    start = {"start": {"system": "x", "what_happened": "x", "incident": g.waiting}}
    body = {"parameters": start, "job_variables": {"command": "touch pwned", "env": {"PYTHONPATH": "elsewhere"}}}
    path = f"/deployments/{ours}/create_flow_run"
    with pytest.raises(EngineUnreachable, match="422"):
        g.api.call("POST", path, body)
    pool = g.api.call("GET", "/work_pools/quell")
    text = {"type": "string"}
    opened = {
        "job_configuration": {"command": "{{ command }}", "env": "{{ env }}"},
        "variables": {"type": "object", "properties": {"command": text, "env": {"type": "object"}}},
    }
    g.api.call("PATCH", "/work_pools/quell", {"base_job_template": opened})
    try:
        run = g.api.call("POST", path, body)["id"]
        return "the pool's closed template: 422; template opened by the attacker: " + _refused_run(g, run)
    finally:
        g.api.call("PATCH", "/work_pools/quell", {"base_job_template": pool["base_job_template"]})


@attack("Pause the work pool and its queues, allow them no run", "opened again, on record; a response begins", "runs")
def paused_pool(g: Ground) -> str:
    since = g.installation.store.size()
    nothing = {"is_paused": True, "concurrency_limit": 0}
    for queue in g.api.call("POST", "/work_pools/quell/queues/filter", {}):
        g.api.call("PATCH", f"/work_queues/{queue['id']}", nothing)
    g.api.call("PATCH", "/work_pools/quell", nothing)
    assert g.declare()
    held = [e for e in g.entries(None, EntryType.RUN_INTERFERED) if e.index >= since and e.incident is None]
    return "; ".join(sorted({str(entry.body["because"]) for entry in held}))


@attack("Let a stranger's waiting run carry the incident's tag", "the bell reaches the right run too", "states")
def borrowed_tag(g: Ground) -> str:
    incident = g.declare()
    since = g.installation.store.size()
    stranger = g.start({"incident": g.waiting, "system": "known", "what_happened": "known"})
    until(
        lambda: g.api.call("GET", f"/flow_runs/{stranger}")["state"]["type"] in ("PAUSED", "CANCELLED", "FAILED"),
        "it settles",
    )
    g.force(stranger, "PAUSED")
    g.api.call("PATCH", f"/flow_runs/{stranger}", {"tags": [f"incident:{incident}"]})
    request = g.request(incident)
    command("deny", request.id, "--as", "ana", "--key", str(g.key("ana")), "--reason", "attack")
    g.gate(incident, since)
    denied = g.entries(incident, EntryType.REQUEST_DENIED)
    return f"{denied[0].body['because']}; the response went on"


@attack("Write an answer for a form that does not exist yet", "refused on record when the form comes", "states")
def early_answer(g: Ground) -> str:
    incident = g.declare()
    since, run = g.installation.store.size(), g.gate(incident)["id"]
    answer = {
        "request": g.request(incident).id,
        "answer": "approve",
        "person": "ana",
        "reason": "x",
        "one_time_code": "",
        "signature": "",
    }
    for form in ("gate-1", "gate-2"):
        g.api.call(
            "POST", f"/flow_runs/{run}/input", {"key": f"suspended-{form}-response", "value": json.dumps(answer)}
        )
    for _ in range(2):
        seen = g.installation.store.size()
        g.resume(run, {})
        g.gate(incident, seen)
    refused = [e for e in g.entries(incident, EntryType.DECISION_REFUSED) if e.index >= since]
    assert not g.entries(incident, EntryType.DECISION_RECORDED)
    return f"{refused[0].body['because']}"


@attack("A second run of the same incident while the first works or waits", "one responds; no second effect", "runs")
def second_run(g: Ground) -> str:
    incident = g.declare()
    start = {"system": "x", "what_happened": "x", "incident": incident}
    asked = len(g.entries(incident, EntryType.APPROVAL_REQUESTED))
    runs = [g.start(start) for _ in range(2)]

    def settled() -> bool:
        states = [g.api.call("GET", f"/flow_runs/{run}")["state"]["type"] for run in runs]
        return all(state in ("PAUSED", "FAILED", "CRASHED", "CANCELLED") for state in states)

    until(settled, "both have settled")
    assert len(g.entries(incident, EntryType.APPROVAL_REQUESTED)) == asked
    superseded = len(g.entries(incident, EntryType.RUN_SUPERSEDED))
    return f"nobody was asked twice; {superseded} gave way, the rest wait on the same requests"
