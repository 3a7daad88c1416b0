"""The door's description, tried by somebody else's tool: every route, with all that the description allows, and what it does not.

schemathesis makes requests up out of tests/data/door.openapi.yaml: every bound, other methods and types, chance, and one
answer's receipt in the next request. Each answer must be one that is described there, in its form and with its headers.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbooks.domain.approval import ApprovalRequest, Standing
from runbooks.domain.ledger import EntryType
from tasks.approval import requests_of, verdict_on
from tests.steps.desk import Desk
from tests.steps.doorstep import ROOT, SECRETS, SOURCES, WORDS, Door, a_door, furnish, keep_secret
from tests.steps.test_door_fuzz import MORE
from tests.steps.visitor import PROVABLE, VARIABLE, Errand, Visit, visits_in

pytestmark = pytest.mark.slow
PROGRAM = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = ROOT / "tests/data/door.schemathesis.toml"
DESCRIPTION = ROOT / "tests/data/door.openapi.yaml"
KEPT_BYTES = 1024
LIMITS = f"door_body_kept_bytes = {KEPT_BYTES}\ndoor_body_most_bytes = 4096\ndoor_unproven_per_minute = 1000000\n"


def visit(door: Door, errand: Errand, *words: str) -> list[Visit]:
    """One run of schemathesis, to its end: it found nothing, the door goes on, and what it says it has taken is what it keeps."""
    before = {delivery.id for delivery, _ in door.kept}
    url = f"http://127.0.0.1:{door.port}"
    run = subprocess.run(
        [PROGRAM, "--no-color", "--config-file", CONFIGURATION, "run", DESCRIPTION, "--url", url, *words],
        cwd=ROOT, env=os.environ | {VARIABLE: json.dumps(asdict(errand))}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    visits = list(visits_in(Path(errand.book)))
    assert {one.status for one in visits if one.status >= 500} <= {503}
    assert door.ask("GET", "/health").status == 200
    kept = {delivery.id: body for delivery, body in door.kept if delivery.id not in before}
    assert kept == {one.receipt: one.body[:KEPT_BYTES] for one in visits if one.receipt}
    assert "Traceback" not in door.said()
    return visits


def told(statement: Any) -> tuple[str, ...]:
    """What is written once: who answers what to which request."""
    return statement["request"], statement["person"], statement["answer"]


def test_whatever_is_sent_the_answer_is_one_that_is_described(tmp_path: Path) -> None:
    with a_door(furnish(tmp_path / "home", SOURCES + MORE, LIMITS)) as door:
        visits = visit(door, Errand(str(tmp_path / "book")))
    paths = yaml.safe_load(DESCRIPTION.read_text())["paths"]
    routes = {(path, method.upper()) for path, found in paths.items() for method in found if method != "parameters"}
    assert routes <= {(one.route, one.method) for one in visits}
    assert {one.status for one in visits if (one.route, one.method) not in routes} <= {404, 405}
    assert {one.source or one.route for one in visits if one.status == 503} == {"lost", "/ready"}
    assert {one.source or one.route for one in visits if one.receipt} <= {"anybody", "people", "/report"}
    assert {one.status for one in visits if (one.route, one.method) == ("/report/{receipt}", "GET")} == {200, 404}
    assert not [one for one in visits if any(word in one.said for word in WORDS.values())]


@pytest.fixture
def standing(desk: Desk) -> list[ApprovalRequest]:
    """The desk's home, with senders and two requests that wait for people."""
    desk.write("sources.toml", SOURCES + MORE)
    desk.write("defaults.toml", LIMITS)
    for name, text in SECRETS.items():
        keep_secret(desk.home, name, text)
    incident = desk.declare()
    desk.respond(incident)
    return requests_of(desk.installation, incident)


def test_what_is_proven_is_on_record_or_refused_for_another_reason(
    desk: Desk, standing: list[ApprovalRequest], tmp_path: Path
) -> None:
    first, second = standing
    errand = Errand(
        str(tmp_path / "book"), proves=True, installation=desk.installation.id,
        standing={"approve": first.digest(), "deny": second.digest(), "withdraw": second.digest()},
        keys={name: str(key) for name, key in desk.keys.items()},
    )  # fmt: skip
    with a_door(desk.home) as door:
        visits = visit(door, errand, "--include-path-regex", "^/(signals|decisions)", "--phases", "coverage,fuzzing")
    sent = [one for one in visits if one.method == "POST" and one.source in PROVABLE]
    assert {one.status for one in sent} == {200, 413, 415}
    assert {one.source for one in sent if one.receipt} == PROVABLE
    assert any(one.receipt and len(one.body) > KEPT_BYTES for one in sent)
    decided = [one for one in visits if one.method == "POST" and one.route == "/decisions"]
    assert {one.status for one in decided} == {200, 400, 403, 415}
    assert all(json.loads(one.said)["next"] for one in decided if one.status == 403)
    recorded = desk.installation.store.entries(types=(EntryType.DECISION_RECORDED,))
    said = {told(one.statement) for one in decided if one.status == 200}
    assert said == {told(entry.body["statement"]) for entry in recorded}
    assert [verdict_on(desk.installation, one).standing for one in standing] == [Standing.GRANTED, Standing.DENIED]
