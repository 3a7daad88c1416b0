"""Replay: what was decided rightly agrees, whatever does not follow is a finding, and nothing outside is called."""

import ast
import copy
import json
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.errors import UnreachableError
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.history import Pages
from runbooks.domain.ledger import EntryType
from runbooks.domain.replay import Outcome
from tasks.installation import Installation, open_installation
from tasks.keys import log_key
from tasks.ledger import KEEPER, clock, flow_actor
from tasks.replay import STEPS, Replayed, replay_bundle, replay_live
from tasks.replay_page import replay_page
from tasks.stores.base import SourceFacts
from tests.contracts.bundle.ground import an_export, an_incident

RUN = "d6151ec2-16c9-4098-8a18-bdd07900562a"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, people_keys: dict[str, Path]) -> tuple[Installation, str]:
    """A response, and a run of Prefect's that is on record as having made it."""
    installation, incident = an_incident(tmp_path_factory.mktemp("replay") / "home", people_keys, close=False)
    pen = installation.pen(flow_actor("prompt-injection"), RUN)
    _restart(installation, "begun-again/1", flow_run_id=RUN, begun_from="c2", engine_said=[f"{RUN}: Crashed"])
    _restart(installation, "restarted/1", incident=incident, set_aside={}, engine_said=[f"{RUN}: Cancelled"])
    pen.write(EntryType.RUN_STARTED, "run", incident=incident, body={"flow_run": RUN})
    pen.write(
        EntryType.RUN_SUSPENDED, "suspended", incident=incident, body={"form": "gate-0", "requests": [], "seen": 0}
    )
    _mirror(installation, incident, pages())
    pen.write(EntryType.INCIDENT_CLOSED, "closed", incident=incident, body={"ending": "partial"})
    pen.write(EntryType.RUN_ENDED, "ended", incident=incident)
    return installation, incident


def _restart(
    installation: Installation, key: str, *, incident: str | None = None, flow_run_id: str | None = None, **body: Any
) -> None:
    """What the keeper writes before it moves a run."""
    installation.pen(KEEPER, flow_run_id).write(
        EntryType.RESPONSE_RESTARTED, key, incident=incident, body={"generation": 1, "because": "practice", **body}
    )


def _mirror(installation: Installation, incident: str, shown: Pages) -> None:
    sealed = installation.vault.seal(
        incident=incident, evidence_class=EvidenceClass.H, source="prefect", media_type="application/json",
        items=[json.dumps(page).encode() for page in shown.values()], facts=SourceFacts(), now=clock,
    )  # fmt: skip
    installation.pen(flow_actor("prompt-injection"), RUN).write(
        EntryType.HISTORY_MIRRORED, f"mirrored/{sealed.collection.id}", incident=incident,
        subject={"collection": installation.keep(sealed.collection)}, body={"runs": len(shown), "because": "mirrored"},
    )  # fmt: skip


def pages() -> Pages:
    """What Prefect says of the run at the gate."""
    names = ("open the incident", "seal the evidence", "make the plan", "ask for approval", "read the decisions",
             "judge the containment")  # fmt: skip
    states = [("SCHEDULED", "Scheduled"), ("PENDING", "Pending"), ("RUNNING", "Running"), ("PAUSED", "Suspended"),
              ("SCHEDULED", "Resuming"), ("PENDING", "Pending"), ("RUNNING", "Running")]  # fmt: skip
    return {
        RUN: {
            "flow_run": {"id": RUN},
            "states": [
                {"id": f"s{n}", "type": kind, "name": name, "timestamp": f"2026-11-21T07:32:{n:02d}Z", "message": None}
                for n, (kind, name) in enumerate(states)
            ],
            "task_runs": [
                {"id": f"t{n}", "name": f"{name}-{n:03x}", "state_type": "COMPLETED"} for n, name in enumerate(names)
            ],
        }
    }


def ended() -> Pages:
    """The same after the end."""
    now = pages()
    now[RUN]["states"].append(
        {"id": "s9", "type": "COMPLETED", "name": "Completed", "timestamp": "2026-11-21T07:33:00Z", "message": None}
    )
    now[RUN]["task_runs"].append({"id": "t9", "name": "close the incident-9ab", "state_type": "COMPLETED"})
    return now


def faults(done: Replayed) -> list[str]:
    return [one.line() for one in done.audit.faults]


def test_a_response_that_went_rightly_agrees_in_every_judgement(told: tuple[Installation, str]) -> None:
    done = replay_live(*told, lambda _: ended())
    assert faults(done) == []
    assert not done.audit.findings
    again = {step.type for step in done.steps if step.outcome is Outcome.AGREES}
    assert {
        EntryType.INCIDENT_OPENED, EntryType.EVIDENCE_SEALED, EntryType.PLAN_MADE, EntryType.APPROVAL_REQUESTED,
        EntryType.REQUEST_GRANTED, EntryType.EFFECT_SENDING, EntryType.EFFECT_APPLIED, EntryType.PROBES_JUDGED,
        EntryType.CONTAINMENT_JUDGED, EntryType.INCIDENT_CLOSED,
    } <= again  # fmt: skip
    page = replay_page(done)
    assert "the record holds" in page
    assert all(str(step.entry) in page for step in done.steps)


def _change(change: Callable[[dict[str, Any]], None]) -> Pages:
    now = copy.deepcopy(ended())
    change(now[RUN])
    return now


def _forced(page: dict[str, Any]) -> None:
    page["states"].insert(
        4,
        {"id": "sx", "type": "COMPLETED", "name": "Completed", "timestamp": "2026-11-21T07:32:03.5Z", "message": None},
    )


def _moved(kind: str, message: str | None = None) -> Pages:
    """The run was moved to this state while it waited."""
    return _change(lambda page: page["states"].append(_state("sx", kind, "2026-11-21T07:32:03.5Z", message)))


def _state(name: str, kind: str, timestamp: str, message: str | None = None) -> dict[str, Any]:
    return {"id": name, "type": kind, "name": kind.capitalize(), "timestamp": timestamp, "message": message}


def _begun_again(crash: str) -> Pages:
    """The process died before it had begun, and the run was scheduled once more."""

    def change(page: dict[str, Any]) -> None:
        page["states"][:0] = [
            _state("c0", "SCHEDULED", "2026-11-21T07:31:00Z"), _state("c1", "PENDING", "2026-11-21T07:31:01Z"),
            _state(crash, "CRASHED", "2026-11-21T07:31:02Z"),
        ]  # fmt: skip

    return _change(change)


STRANGE: dict[str, tuple[Callable[[], Pages], str]] = {
    "the run deleted": (lambda: {"other": {"flow_run": {"id": "other"}, "states": [], "task_runs": []}}, "is gone"),
    "a state taken out": (lambda: _change(lambda p: p["states"].pop(3)), "states of the run"),
    "a state forced": (lambda: _change(_forced), "which no response and no keeper did"),
    "cancelled": (lambda: _moved("CANCELLED"), "went from Suspended to Cancelled"),
    "crashed": (lambda: _moved("CRASHED"), "went from Suspended to Crashed"),
    "cancelled in the keeper's words": (
        lambda: _moved("CANCELLED", "no process works on it; generation 1 goes on"), "went from Suspended to Cancelled",
    ),
    "failed in the keeper's words": (
        lambda: _moved("FAILED", "no process works on it; generation 1 goes on"), "went from Suspended to Failed",
    ),
    "begun again, but not by the keeper": (lambda: _begun_again("cx"), "went from Crashed to Scheduled"),
    "a step made up once more": (
        lambda: _change(lambda p: p["task_runs"].extend({**p["task_runs"][2], "id": f"x{n}"} for n in range(2))),
        "finished the step “make the plan” 3 times and began 2 times",
    ),
    "a task run deleted": (lambda: _change(lambda p: p["task_runs"].pop(1)), "task runs of"),
    "a task run nobody knows": (
        lambda: _change(lambda p: p["task_runs"].append({"id": "x", "name": "exfiltrate-1ab", "state_type": "COMPLETED"})),
        "no step of quell",
    ),
    "a step without its entry": (
        lambda: _change(
            lambda p: p["task_runs"].append({"id": "x", "name": "schedule the review-1ab", "state_type": "COMPLETED"})
        ),
        "the ledger has no review_scheduled",
    ),
    "a run that never reported": (
        lambda: ended() | {"11111111-1111-4111-8111-111111111111": ended()[RUN]}, "never reported to the ledger",
    ),
    "a run failed by force": (
        lambda: _change(lambda p: p["states"][-1].update(type="FAILED", name="Failed")), "said that it ended well",
    ),
    "paused by somebody else": (
        lambda: _change(lambda p: p["states"].insert(3, {**p["states"][3], "id": "sp", "timestamp": "2026-11-21T07:32:02.5Z"})),
        "paused 2 times, by itself 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_what_somebody_did_in_prefect_is_a_finding_with_its_meaning(told: tuple[Installation, str], name: str) -> None:
    now, words = STRANGE[name]
    done = replay_live(*told, lambda _: now())
    assert any(words in line for line in faults(done)), faults(done)
    assert all(one.means for one in done.audit.findings)


def test_the_keepers_own_beginning_again_is_no_finding_and_what_it_noted_is_one(
    people_keys: dict[str, Path], tmp_path: Path, told: tuple[Installation, str]
) -> None:
    assert faults(replay_live(*told, lambda _: _begun_again("c2"))) == []
    installation, incident = an_incident(tmp_path / "home", people_keys)
    installation.pen(KEEPER).write(
        EntryType.RUN_INTERFERED, "interfered", incident=incident,
        body={"flow_run": RUN, "engine_said": "Completed", "because": "the waiting run was forced to Completed"},
    )  # fmt: skip
    assert any(
        "the waiting run was forced to Completed" in line
        for line in faults(replay_live(installation, incident, lambda _: None))
    )


def test_it_works_without_prefect_and_after_its_database_was_wiped(told: tuple[Installation, str]) -> None:
    def gone(_: str) -> Pages:
        raise UnreachableError("the Prefect API did not answer.", now="", next_step="")

    for asked in (gone, lambda _: None):
        done = replay_live(*told, asked)
        assert done.audit.sound, faults(done)
        assert [one.where for one in done.audit.findings] == ["Prefect now"]
        assert done.audit.checked["mirrors of Prefect"] == 1


def test_the_network_is_closed_and_no_connector_is_opened(
    told: tuple[Installation, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle and a live incident are replayed with every socket and every connector refused."""
    files, key = an_export(*told, tmp_path / "b")
    assert files

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the replay went outside")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.setattr(Installation, "connector", refused)
    monkeypatch.setattr("tasks.installation.open_connector", refused)
    from runbooks.domain.checkpoint import VerifierKey

    done = replay_bundle(tmp_path / "b", VerifierKey.read(key))
    assert done.audit.sound, faults(done)
    assert replay_live(*told, lambda _: None).audit.sound
    assert log_key(told[0]).verifier.line() == key


def test_the_record_and_the_vault_are_held_side_by_side(people_keys: dict[str, Path], tmp_path: Path) -> None:
    installation, incident = an_incident(tmp_path / "home", people_keys)
    sealed = installation.store.entries(incident, types=(EntryType.EVIDENCE_SEALED,))[0].subject["manifest"]
    file = next((installation.settings.home / "vault").rglob(sealed.removeprefix("sha256:")[2:]))
    file.unlink()
    done = replay_live(installation, incident, lambda _: None)
    assert any("its manifest" in line and "missing" in line for line in faults(done))


def test_a_row_edited_behind_our_back_is_a_finding(people_keys: dict[str, Path], tmp_path: Path) -> None:
    installation, incident = an_incident(tmp_path / "home", people_keys)
    with sqlite3.connect(installation.settings.home / "ledger.db") as database:
        database.execute(
            "UPDATE quell_entries SET core = CAST(replace(CAST(core AS TEXT), 'seen it', 'saw it.') AS BLOB) "
            "WHERE type = 'decision_recorded'"
        )
    database.close()
    open_installation.cache_clear()
    again = open_installation(installation.settings.home)
    assert any("changed" in one.what for one in again.store.check())
    done = replay_live(again, incident, lambda _: None)
    assert any("behind quell's back" in line for line in faults(done))


def test_the_list_of_steps_is_the_code() -> None:
    named = set()
    for file in (ROOT / "tasks").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "step":
                named.add(node.args[0].value)  # type: ignore[attr-defined]
    assert named == STEPS
