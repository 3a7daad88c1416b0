"""Attacks through Prefect's own doors, with its credential: parameters, inputs, deployments, pools. Runs: on_runs.py."""

import json
from typing import Any

import pytest

from flows.doors.drill import command
from flows.doors.engine_server import EngineUnreachable
from runbooks.domain.ledger import EntryType
from tests.attacks.ground import Ground, until
from tests.attacks.table import attack


@attack(
    "Change the run's parameters to another incident, and wake it",
    "no effect; on record; both wait again",
    EntryType.RUN_INTERFERED,
    lane="waiting",
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


@attack(
    "Write the form's answer as stored input, and force the run on",
    "no effect; refused on record",
    EntryType.DECISION_REFUSED,
    lane="runs",
)
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
    EntryType.RUN_WOKEN,
    lane="states",
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
            woken = [e for e in g.entries(incident, EntryType.RUN_WOKEN) if e.index >= since]
            assert woken, f"{name}: the wake is on record"
            assert not any("was accepted" in str(e.body["because"]) for e in woken), name
        assert not g.entries(incident, EntryType.DECISION_RECORDED), name
        seen.append(f"{name}: {'woke, nothing changed' if said == 'ACCEPT' else 'not taken'}")
    assert g.gate(incident)
    return "; ".join(seen)


def _refused_run(g: Ground, run: str) -> str:
    found = until(lambda: g.installation.store.find(f"run-refused/{run}"), "the worker refuses it", 40)
    return str(found.body["because"])


@attack("Start a deployment of one's own on quell's worker", "refused, on record", EntryType.RUN_REFUSED, lane="states")
def own_deployment(g: Ground) -> str:
    ours = g.api.call("GET", "/deployments/name/prompt-injection/prompt_injection")
    flow = g.api.call("POST", "/flows/", {"name": "evil"})["id"]
    made = g.api.call("POST", "/deployments/", {
        "name": "evil", "flow_id": flow, "work_pool_name": ours["work_pool_name"], "entrypoint": "os.system",
        "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "touch pwned"}}],
    })["id"]  # fmt: skip
    run = g.api.call("POST", f"/deployments/{made}/create_flow_run", {})["id"]
    return _refused_run(g, run)


@attack("Start one of ours with job variables", "refused, on record", EntryType.RUN_REFUSED, lane="states")
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


@attack(
    "Pause the work pool and its queues, allow them no run",
    "opened again, on record; a response begins",
    EntryType.RUN_INTERFERED,
    lane="runs",
)
def paused_pool(g: Ground) -> str:
    since = g.installation.store.size()
    nothing = {"is_paused": True, "concurrency_limit": 0}
    for queue in g.api.call("POST", "/work_pools/quell/queues/filter", {}):
        g.api.call("PATCH", f"/work_queues/{queue['id']}", nothing)
    g.api.call("PATCH", "/work_pools/quell", nothing)
    assert g.declare()
    held = [e for e in g.entries(None, EntryType.RUN_INTERFERED) if e.index >= since and e.incident is None]
    return "; ".join(sorted({str(entry.body["because"]) for entry in held}))


@attack(
    "Let a stranger's waiting run carry the incident's tag",
    "the bell reaches the right run too",
    EntryType.REQUEST_DENIED,
    lane="states",
)
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


@attack(
    "Write an answer for a form that does not exist yet",
    "refused on record when the form comes",
    EntryType.DECISION_REFUSED,
    lane="states",
)
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
