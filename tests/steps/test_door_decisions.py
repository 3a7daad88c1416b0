"""Signed answers over HTTP: the same function as at the terminal, and nothing for those who only guess."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from runbooks.domain.approval import DECISION_NAMESPACE, Answer
from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Json
from tasks.approval import requests_of
from tasks.decisions import statement_for
from tasks.proofs import sign_bytes
from tasks.settings import ROOT
from tests.steps.desk import Desk
from tests.steps.doorstep import Answer as Said
from tests.steps.doorstep import Door, a_door

JSON = {"content-type": "application/json"}


@pytest.fixture
def door(desk: Desk) -> Iterator[Door]:
    desk.write("sources.toml", "")
    with a_door(desk.home) as found:
        yield found
    assert "Traceback" not in found.said()


def post(door: Door, value: Json) -> Said:
    return door.ask("POST", "/decisions", json.dumps(value).encode(), JSON)


def a_request(desk: Desk) -> Any:
    incident = desk.declare()
    desk.respond(incident)
    return next(one for one in requests_of(desk.installation, incident) if one.step == "refund-tool")


def decision(desk: Desk, request: Any, person: str, answer: Answer = Answer.APPROVE, key: str = "") -> dict[str, Any]:
    statement = statement_for(desk.installation, request, answer, person, "seen the traces; it pays")
    signature = sign_bytes(statement.canonical(), desk.keys[key or person], namespace=DECISION_NAMESPACE)
    return {"statement": statement.as_json(), "signature": signature}


def test_answers_that_are_signed_count_as_at_the_terminal(desk: Desk, door: Door) -> None:
    request = a_request(desk)
    first = post(door, decision(desk, request, "ana"))
    assert (first.status, first.json["status"], first.json["standing"]) == (200, "recorded", "waiting")
    assert (first.json["approvers"], first.json["still_needed"]) == (["ana"], 1)
    second = post(door, decision(desk, request, "cleo"))
    assert (second.status, second.json["standing"], second.json["request"]) == (200, "granted", request.id)
    entries = desk.installation.store.entries(types=(EntryType.DECISION_RECORDED,))
    assert [entry.actor.name for entry in entries] == ["ana", "cleo"]
    again = post(door, decision(desk, request, "cleo"))
    assert (again.status, again.json["approvers"]) == (200, ["ana", "cleo"])
    assert len(desk.installation.store.entries(types=(EntryType.DECISION_RECORDED,))) == 2


def test_what_does_not_hold_is_refused_and_on_record(desk: Desk, door: Door) -> None:
    request = a_request(desk)
    forged = decision(desk, request, "ana", key="ben")
    changed = decision(desk, request, "ana", Answer.DENY)
    changed["statement"]["answer"] = "approve"
    elsewhere = decision(desk, request, "ana")
    elsewhere["statement"]["installation"] = "quell-000000000000"
    stranger = decision(desk, request, "zoe", key="ana")
    unsigned = {**decision(desk, request, "ana"), "signature": ""}
    for wrong in (forged, changed, elsewhere, stranger, unsigned):
        answer = post(door, wrong)
        assert (answer.status, answer.json["status"]) == (403, "refused")
        assert answer.json["because"]
        assert answer.json["next"]
    refused = desk.installation.store.entries(types=(EntryType.DECISION_REFUSED,))
    assert [(entry.actor.name, entry.body["wrong_code"]) for entry in refused] == [("http", False)] * 5
    assert not desk.installation.store.entries(types=(EntryType.DECISION_RECORDED,))


def test_the_lines_of_the_page_decide(desk: Desk, door: Door, tmp_path: Path) -> None:
    request = a_request(desk)
    (lines,) = re.findall(r"```sh\n(.*?)```", (ROOT / "flows/doors/door/README.md").read_text(), re.DOTALL)
    lines = lines.replace("REQ-…", request.id).replace("~/.ssh/id_ed25519", str(desk.keys["ana"]))
    begin = f'quell() {{ {sys.executable} -m flows.doors.cli "$@"; }}\ncurl() {{ printf "%s\\n" "$@"; }}\ndoor=http://door\n'
    said = subprocess.run(
        ["sh", "-eu", "-c", begin + lines], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ).stdout.splitlines()  # fmt: skip
    pairs = [word.split("@") for before, word in pairwise(said) if before == "--data-urlencode"]
    assert [name for name, _ in pairs] == ["statement", "signature"]
    body = urlencode({name: (tmp_path / file).read_bytes() for name, file in pairs}).encode()
    answer = door.ask("POST", "/decisions", body, {"content-type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.json["approvers"]) == (200, ["ana"])


def test_who_only_guesses_reaches_nothing(desk: Desk, door: Door) -> None:
    request = a_request(desk)
    right = decision(desk, request, "ana")
    guessed = json.loads(json.dumps(right))
    guessed["statement"]["request"] = "sha256:" + "0" * 64
    answer = post(door, guessed)
    assert (answer.status, answer.json["because"]) == (404, "unknown request")
    size = desk.installation.store.size()
    bad: list[Json] = [
        None, [], {}, 1, "x", {"statement": right["statement"]}, {**right, "code": "123456"}, {**right, "signature": 1},
        {**right, "statement": {**right["statement"], "person": "A B"}},
        {**right, "statement": {**right["statement"], "reason": "x" * 2001}},
        {**right, "statement": {**right["statement"], "more": 1}}, {**right, "statement": "x"},
    ]  # fmt: skip
    for value in bad:
        answer = post(door, value)
        assert (answer.status, answer.json["because"]) == (400, "not a signed decision"), value
    for body in (b"", b"\xff", b"[" * 60_000, b'{"a": NaN}', b'{"statement": "\\ud800"}'):
        assert door.ask("POST", "/decisions", body, JSON).status == 400
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"", b"statement=1&signature=2", b"statement=%ff", b"&" * 50, b"statement={}"):
        assert door.ask("POST", "/decisions", body, form).status == 400
    assert door.ask("POST", "/decisions", b"x" * 70_000, JSON).status == 413
    assert door.ask("POST", "/decisions", b"{}", {"content-type": "text/plain"}).status == 415
    assert door.ask("GET", "/decisions").status == 405
    assert desk.installation.store.size() == size
