"""From a signed webhook to the response: at once where policy says so, once whatever Prefect does, inert whatever it says."""

from __future__ import annotations

import json
import os
import signal

import pytest

from flows.doors import practice
from flows.doors.door.address import door_url
from flows.doors.drill import opened_by
from flows.doors.engine_server import EngineUnreachable
from flows.doors.processes import alive
from flows.doors.sender import deliver, send, signal_body
from flows.doors.up import attach
from flows.doors.worker_line import socket_of
from runbooks.domain.evidence import Collection, EvidenceClass, Manifest
from runbooks.domain.incident import Archetype
from runbooks.domain.ledger import EntryType as E
from tasks.evidence import sealed_items
from tasks.intake.outbox import waiting_responses
from tests.bench_worker import stock_worker
from tests.flows.ground import Ground, attacked
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]
STORM = tuple(f"storm-{number}" for number in range(6))
MARKERS = {
    "__prefect_kind": "jinja", "template": "{{ 1/0 }}", "value": "{{ flow_run.id }}", "$ref": "prefect.blocks.secret",
}  # fmt: skip
HOSTILE = "{{ 1/0 }} {% for x in y %} ${env:HOME} \u202e <script>boom()</script> __prefect_kind"


def post(ground: Ground, system: str, label: str, **more: object) -> str:
    """One signal, signed and sent as any in-house detector would; returns the receipt."""
    data = {"system": system, "labels": [label], "text": HOSTILE, **more}
    url = f"{door_url(ground.home)}/signals/{practice.MONITOR}"
    answer = send(url, practice.monitor_secret(ground.home), "tool_use.untrusted", data)
    return str(json.loads(answer)["receipt"])


def test_a_signed_webhook_starts_what_policy_allows_and_nobody_is_asked(worlds: Ground) -> None:
    ground, side = worlds, worlds.sides["two"]  # whose earlier attacks were all of this kind: each is tried again
    attacked(side, Archetype.AGENTIC_MISALIGNMENT)
    until(socket_of(ground.home).exists, what="the worker listens")
    incident = opened_by(ground.installation, post(ground, "two", "mass-tool-use"))
    for act in ("refund-tool", "agent-client"):
        ground.wait(incident, E.PROBES_JUDGED, action=act, status="effective")
    assert ground.entries(incident, E.DECISION_RECORDED) == []
    assert not side.flag_is_on()
    (run,) = ground.runs(incident)
    first = ground.calls.call("GET", f"/flow_run_states/?flow_run_id={run['id']}")[0]
    assert first["message"].startswith("handed to the worker"), "it never waited in the queue"
    assert ground.ending(incident) == "recovered"
    ground.sound(incident)
    until(lambda: _drawn(ground, run["id"]) >= {"open the incident", "contain", "close the incident"}, what="its tasks")
    assert {"open the incident", "contain"} <= _mirrored(ground, incident), "the witness saw what earlier processes did"


def _mirrored(ground: Ground, incident: str) -> set[str]:
    """Names of the tasks in the last mirror of Prefect's history of this incident."""
    vault = ground.installation.vault
    mirrored = ground.entries(incident, E.HISTORY_MIRRORED)[-1].subject["collection"]
    pages = [json.loads(page) for _, page in vault.items(Collection.from_bytes(vault.get(mirrored)))]
    return {one["name"].rpartition("-")[0] for page in pages for one in page["task_runs"]}


def _drawn(ground: Ground, run: str) -> set[str]:
    """Names of the tasks that Prefect shows on the page of this run as completed: what waited was said in the end."""
    wanted = {"task_runs": {"flow_run_id": {"any_": [run]}, "state": {"type": {"any_": ["COMPLETED"]}}}, "limit": 200}
    return {one["name"].rpartition("-")[0] for one in ground.calls.call("POST", "/task_runs/filter", wanted)}


def test_markers_and_templates_in_every_field_are_inert_and_kept_as_they_came(ground: Ground) -> None:
    data: dict[str, object] = dict.fromkeys(
        ("text", "entity", "alert", "severity", "environment", "archetype", "occurred_at"), HOSTILE
    )
    data |= {
        "system": "hostile",
        "labels": ["tool-call-from-untrusted-text", HOSTILE],
        "title": MARKERS,
        "data": MARKERS,
    }
    body = signal_body(HOSTILE, data | MARKERS)
    answer = deliver(
        f"{door_url(ground.home)}/signals/{practice.MONITOR}", practice.monitor_secret(ground.home), body,
        message_id="{{ 1/0 }} {% boom %} __prefect_kind",
    )  # fmt: skip
    receipt = str(json.loads(answer)["receipt"])
    incident = opened_by(ground.installation, receipt)
    ground.suspended(incident)
    (run,) = ground.runs(incident)
    known = {"incident": incident, "system": "see the incident", "what_happened": "see the incident"}
    assert {key: run["parameters"]["start"][key] for key in known} == known
    assert set(run["parameters"]) == {"start"}
    seen = [run, ground.calls.call("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}}),
            ground.calls.call("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}),
            [entry.as_json() for entry in ground.entries(incident)]]  # fmt: skip
    for word in ("{{ 1/0", "boom", "__prefect_kind", "prefect.blocks.secret"):
        assert word not in json.dumps(seen), f"a sender's words reached the engine or the ledger: {word}"
    sealed = ground.entries(incident, E.EVIDENCE_SEALED)[0].subject["manifest"]
    manifest = Manifest.from_bytes(ground.installation.vault.get(sealed))
    kept = [item for item in sealed_items(ground.installation, manifest, EvidenceClass.J) if b'"data"' in item]
    assert kept == [body]


def test_prefect_killed_and_back_during_a_storm_is_one_run_per_incident(ground: Ground) -> None:
    status = attach(ground.home)
    assert status is not None
    server = status.children["server"]
    pid, mark = int(server["pid"]), str(server["started"])
    receipts = [post(ground, STORM[0], "tool-call-from-untrusted-text")]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid, mark), 20, what="Prefect is dead")
    for system in STORM[1:]:
        receipts += [post(ground, system, "tool-call-from-untrusted-text", alert=f"{system}-{n}") for n in range(3)]
    opened = [opened_by(ground.installation, receipt) for receipt in (receipts[0], *receipts[1::3])]
    assert len(set(opened)) == len(STORM), "every incident stands while Prefect is away"
    for incident in opened:
        ground.wait(incident, E.APPROVAL_REQUESTED)
    assert [one for one in waiting_responses(ground.installation) if one.incident in opened] == []
    until(lambda: _answers(ground), 60, what="Prefect answers")
    for incident in opened:
        assert len(ground.runs(incident)) == 1, ground.told(incident)()
        assert ground.entries(incident, E.RUN_SUPERSEDED) == []
        assert len(ground.entries(incident, E.INCIDENT_OPENED)) == 1


def _answers(ground: Ground) -> bool:
    try:
        ground.calls.call("GET", "/health")
    except EngineUnreachable:
        return False
    return True


def test_prefects_own_process_worker_runs_the_same_deployments(ground: Ground) -> None:
    with stock_worker(ground.home, "prompt_injection"):
        incident = opened_by(ground.installation, post(ground, "stock", "tool-call-from-untrusted-text"))
        ground.wait(incident, E.APPROVAL_REQUESTED)
        assert ground.ending(incident) == "contained"
        assert ground.entries(incident, E.RUN_INTERFERED, E.RUN_REFUSED) == [], "ours left it alone"
        first = ground.runs(incident)[0]  # a stock worker is slow to wake a run: the keeper may start a second one
        assert first["work_pool_name"] == "stock"
    ground.sound(incident)
