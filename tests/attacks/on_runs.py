"""Attacks on runs: states that somebody forces, runs that are deleted, started twice, or executed by several at once."""

from functools import partial

from flows.doors.engine_server import engine_environment
from runbooks.domain.approval import Standing
from runbooks.domain.ledger import EntryType
from tasks.approval import verdict_on
from tests.attacks.ground import Ground, let_go, processes, until
from tests.attacks.on_acts import give_back
from tests.attacks.table import ALONE, attack

ROUNDS = (
    ("COMPLETED", "CRASHED", "PENDING"),
    ("FAILED", "CANCELLED", "CANCELLING"),
    ("SCHEDULED", "RUNNING", "PAUSED"),
)
NOTICED = (EntryType.RUN_INTERFERED, EntryType.RUN_WOKEN)


def _noticed(g: Ground, incident: str, since: int) -> str:
    found = [e for e in g.entries(incident, *NOTICED) if e.index >= since]
    return str(found[0].body["because"]) if found else ""


@attack(
    "Force every state on waiting runs",
    "no effect; on record; the response waits for people again",
    EntryType.RUN_INTERFERED,
    EntryType.RUN_WOKEN,
    lane="states",
)
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


@attack(
    "Force a state in bulk on all waiting runs",
    "no effect; on record; all wait again",
    EntryType.RUN_INTERFERED,
    EntryType.RUN_WOKEN,
    lane="waiting",
)
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


@attack(
    "Force a working run to Completed, and to Cancelling",
    "the response goes on and comes to its gate",
    EntryType.RUN_INTERFERED,
    EntryType.RUN_SUSPENDED,
    lane="runs",
)
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


@attack(
    "Delete the waiting run",
    "no effect; on record; another run waits",
    EntryType.RUN_INTERFERED,
    EntryType.RUN_WOKEN,
    lane="runs",
)
def delete(g: Ground) -> str:
    incident = g.declare()
    since, run = g.installation.store.size(), g.gate(incident)["id"]
    g.api.call("DELETE", f"/flow_runs/{run}")
    because: str = until(lambda: _noticed(g, incident, since), "it is noticed")
    assert g.gate(incident, since)["id"] != run
    return because


@attack(
    "A second run of the same incident while the first works or waits",
    "one responds; no second effect",
    EntryType.RUN_STARTED,
    EntryType.RUN_SUPERSEDED,
    lane="runs",
)
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


EXECUTE = """
import runpy, sys
import prefect.flow_engine, flows.prompt_injection
print("ready", flush=True)
sys.stdin.readline()
runpy.run_module("prefect.engine", run_name="__main__", alter_sys=False)
"""
"""As a stock worker executes a run; but all is imported already when it is let go."""


@attack(
    "Execute the same run by three processes at once: two of the attacker's and the worker's own",
    "exactly one effect; one works, the others give way or are not let in",
    EntryType.RUN_INTERFERED,
    EntryType.RUN_SUPERSEDED,
    EntryType.RUN_WOKEN,
    lane=ALONE,
)
def same_run(g: Ground) -> str:
    incident = g.declare()
    run, since = g.gate(incident)["id"], g.installation.store.size()
    environment = engine_environment(g.home) | {"PREFECT__FLOW_RUN_ID": run}
    with processes(EXECUTE, run, count=2, environment=environment) as executing:
        for person in ("ana", "cleo"):
            g.submit(g.say(g.request(incident), person))
        g.force(run, "SCHEDULED")
        let_go(executing)
        ended = [process.wait(timeout=240) for process in executing]
    until(lambda: g.entries(incident, EntryType.EFFECT_APPLIED), "it is done", 240)
    g.gate(incident, since)
    kinds = (EntryType.EFFECT_CLAIMED, EntryType.EFFECT_SENDING, EntryType.EFFECT_APPLIED)
    counts = [len(g.entries(incident, kind)) for kind in kinds]
    assert counts == [1, 1, 1], counts
    assert len(g.entries(incident, EntryType.BEFORE_CAPTURED)) == 1
    assert verdict_on(g.installation, g.request(incident)).standing is Standing.GRANTED
    began, gave_way = (
        len([e for e in g.entries(incident, kind) if e.index >= since])
        for kind in (EntryType.RUN_STARTED, EntryType.RUN_SUPERSEDED)
    )
    give_back(g, incident, "refund-tool")
    return f"claimed, sent, done: once each; began {began}, gave way {gave_way}, the attacker's ended with {ended}"
