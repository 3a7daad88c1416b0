"""Each way in which the door refuses, by its word: with a status that senders can bear, and never 429."""

import ast
import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from flows.doors.door import deciding, notifying, reading, reception
from flows.doors.door.notifying import FetchError, Notary
from flows.doors.door.reception import Reception
from flows.doors.door.vitals import CONFIGURATION, Vitals
from runbooks.domain.errors import ApprovalError, LedgerError
from runbooks.domain.signal import Strength
from tasks.intake.verifying import Proof
from tests.steps.doorstep import ROOT, SOURCES, a_reception, bearer, furnish, hub, visiting
from tests.steps.test_door_fuzz import MORE
from tests.steps.test_intake_sns import CERTIFICATE, CERTIFICATE_URL, SUBSCRIBE, sent

DOOR = ROOT / "flows" / "doors" / "door"
BASIC = '\n[sources.basic]\ntoken = {place = "basic"}\nsecrets = [{id = "one", secret = "file:secrets/basic"}]\n'
STATEMENT = {"installation": "i", "request": "sha256:" + "0" * 64, "answer": "approve", "person": "ana", "reason": "x"}
DECISION = json.dumps({"statement": STATEMENT, "signature": "x"}).encode()
JSON, FORM = {"content-type": "application/json"}, {"content-type": "application/x-www-form-urlencoded"}
KNOWN, BROWSER = {**JSON, **bearer("old")}, {**JSON, "sec-fetch-site": "cross-site"}
LONG = str(100 * 1024 * 1024)
Asked = tuple[str, str, dict[str, str], bytes]
Patch = tuple[object, str, object]
"""What is changed for a while: whose (a text: the reception's own), which attribute, to what."""

AT_ANY_TIME: tuple[tuple[int, str, Asked], ...] = (
    (400, "not a signed decision", ("POST", "/decisions", JSON, b"{}")),
    (400, "", ("POST", "/report", FORM, b"system=x")),
    (401, "not proven", ("POST", "/signals/alerts", JSON, b"{}")),
    (401, "not proven", ("POST", "/signals/github", {**JSON, **hub(b"x")}, b"{}")),
    (401, "not proven", ("POST", "/signals/github", JSON, b"{}")),
    (401, "not proven", ("POST", "/signals/aws", JSON, b"{}")),
    (403, "another site", ("POST", "/signals/basic", BROWSER, b"{}")),
    (403, "another site", ("POST", "/report", {**FORM, "sec-fetch-site": "same-site"}, b"")),
    (404, "unknown source", ("POST", "/signals/nobody", JSON, b"{}")),
    (404, "unknown source", ("OPTIONS", "/signals/nobody", {}, b"")),
    (404, "unknown request", ("POST", "/decisions", JSON, DECISION)),
    (404, "", ("GET", "/report/DLV-" + "0" * 26, {}, b"")),
    (404, "", ("GET", "/elsewhere", {}, b"")),
    (405, "method", ("PUT", "/signals/alerts", KNOWN, b"{}")),
    (405, "", ("GET", "/decisions", {}, b"")),
    (405, "", ("PUT", "/report", {}, b"")),
    (413, "too long", ("POST", "/signals/alerts", {**KNOWN, "content-length": LONG}, b"{}")),
    (413, "too long", ("POST", "/signals/anybody", JSON, b"x" * 5000)),
    (415, "content encoding", ("POST", "/signals/alerts", {**KNOWN, "content-encoding": "gzip"}, b"{}")),
    (415, "content type", ("POST", "/signals/alerts", {**KNOWN, "content-type": "text/html"}, b"{}")),
    (415, "content type", ("POST", "/decisions", {"content-type": "text/html"}, b"{}")),
    (415, "content type", ("POST", "/report", JSON, b"{}")),
    (503, "secret", ("POST", "/signals/lost", KNOWN, b"{}")),
    (503, "", ("GET", "/ready", {}, b"")),
)


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def answering(**answers: bytes) -> Patch:
    """Amazon has these, and nothing else."""

    async def get(url: str) -> bytes:
        if url not in answers:
            raise FetchError
        return answers[url]

    return Notary.__init__, "__defaults__", (get,)


ALERT: Asked = ("POST", "/signals/alerts", KNOWN, b"{}")
DECIDED: Asked = ("POST", "/decisions", JSON, DECISION)
NOTIFIED: Asked = ("POST", "/signals/aws", {"content-type": "text/plain"}, sent(SUBSCRIBE))
PROVEN: Patch = (notifying, "check_envelope", lambda *_: Proof(Strength.SIGNED))
BLIND = Vitals(((CONFIGURATION, "x"),))
LEDGER, WRONG = LedgerError("x", now="x", next_step="x"), ApprovalError("x", now="x", next_step="x")
AT_TIMES: tuple[tuple[int, str, Asked, tuple[Patch, ...]], ...] = (
    (503, "busy", ALERT, ((reception, "MOST_WAITING", 0),)),
    (503, "writer", ALERT, (("_committer", "alive", lambda: False),)),
    (503, "disk", ALERT, (("", "vitals", Vitals(disk_low=True)),)),
    (503, "crowded", ALERT, ((reading, "MOST_HELD_BYTES", -1),)),
    (503, "not stored", ALERT, (("spool", "append", failing(LEDGER)),)),
    (503, "too many", ("POST", "/signals/anybody", JSON, b"{}"), (("_allowance", "take", lambda *_: False),)),
    (503, "configuration", ("POST", "/signals/nobody", JSON, b"{}"), (("", "vitals", BLIND),)),
    (503, "configuration", ("GET", "/report", {}, b""), (("", "vitals", BLIND), ("", "admitted", {}))),
    (503, "certificate", NOTIFIED, (answering(),)),
    (503, "not confirmed", NOTIFIED, (answering(**{CERTIFICATE_URL: CERTIFICATE}), PROVEN)),
    (503, "not recorded", DECIDED, ((deciding, "find_request", failing(LEDGER)),)),
    (403, "x", DECIDED, ((deciding, "find_request", lambda *_: None), (deciding, "submit_decision", failing(WRONG)))),
    (404, "no form here", ("GET", "/report", {}, b""), (("", "admitted", {}),)),
)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Reception]:
    limits = "door_body_kept_bytes = 1024\ndoor_body_most_bytes = 4096\n"
    with a_reception(furnish(tmp_path / "home", SOURCES + MORE + BASIC, limits)) as found:
        yield found


async def told(door: Reception, asked: Asked) -> tuple[int, str]:
    """Status and word; a body comes piece by piece, as it does from a network."""
    method, path, headers, body = asked

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async with visiting(door) as client:
        answer = await client.request(method, path, headers=headers, content=pieces())
    pushed_back = answer.status_code == 503 and path != "/ready"
    assert ("retry-after" in answer.headers) == pushed_back
    is_refusal = answer.headers["content-type"] == "application/json"
    return answer.status_code, str(answer.json().get("because", "")) if is_refusal else ""


@pytest.mark.parametrize(("status", "word", "asked"), AT_ANY_TIME)
def test_what_is_refused_at_any_time(door: Reception, status: int, word: str, asked: Asked) -> None:
    assert asyncio.run(told(door, asked)) == (status, word)


@pytest.mark.parametrize(("status", "word", "asked", "patches"), AT_TIMES)
def test_what_is_refused_at_times(
    door: Reception, monkeypatch: pytest.MonkeyPatch, status: int, word: str, asked: Asked, patches: tuple[Patch, ...]
) -> None:
    for owner, name, value in patches:
        place = owner if not isinstance(owner, str) else getattr(door, owner) if owner else door
        monkeypatch.setattr(place, name, value)
    assert asyncio.run(told(door, asked)) == (status, word)


def test_no_refusal_is_left_out_and_none_is_429() -> None:
    tried = {(status, word) for status, word, *_ in (*AT_ANY_TIME, *AT_TIMES)}
    words, numbers = {"connections"}, set()  # tests/steps/test_door_reliability.py has too many of them
    for file in DOOR.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant):
                numbers.add(node.value)
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
                "Refusal",
                "unwell",
                "unknown",
            ):
                words |= {
                    one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    assert words - {word for _, word in tried} == {"connections"}
    assert HTTPStatus.TOO_MANY_REQUESTS not in numbers
    rows = re.findall(r"^\| (\d{3}.*?) \|", (DOOR / "README.md").read_text(), re.MULTILINE)
    assert {status for status, _ in tried} == {int(one) for row in rows for one in re.findall(r"\b\d{3}\b", row)}
