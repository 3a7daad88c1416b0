"""The bell: which run it wakes, how few calls it takes, and that a dead or odd engine loses nothing."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.doors import worker_line
from flows.doors.worker_line import LOOK, NO, WAKE, YES, socket_of
from runbooks.domain.ledger import EntryType
from tasks.approval import requests_of
from tasks.ledger import flow_actor
from tests.flows.people import until
from tests.steps.desk import Desk


@dataclass
class Engine:
    """The three calls of Prefect's API that the bell makes."""

    answers: dict[str, str | int] = field(default_factory=dict)
    """Run to what its resume answers: a status, or an HTTP error."""
    tagged: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, object]:
        self.calls.append(path.removeprefix("/api/").partition("?")[0])
        if path.endswith("/filter"):
            return 200, [{"id": run, "tags": []} for run in self.tagged]
        if path.endswith("/resume"):
            said = self.answers[path.split("/")[-2]]
            return (said, {}) if isinstance(said, int) else (200, {"status": said})
        return 422, {}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    found = Engine()

    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, value = found.answer(self.path)
            data = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _pass  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_address[1]}/api")
    yield found
    server.shutdown()
    server.server_close()


def approve(desk: Desk, *runs: str) -> dict[str, object]:
    """Approve a request of an incident whose runs suspended, in this order; what the command said."""
    incident = desk.declare()
    desk.respond(incident)
    for run in runs:
        desk.installation.pen(flow_actor("test"), run).write(
            EntryType.RUN_SUSPENDED, f"suspended/{run}", incident=incident, body={"form": "gate-0", "seen": 0}
        )
    ran = desk.approve(requests_of(desk.installation, incident)[0].id, "ana")
    assert ran.code == 0
    return ran.json


def test_the_run_that_the_record_says_waits_is_woken_without_a_search(desk: Desk, engine: Engine) -> None:
    engine.answers = {"newer": "ACCEPT"}
    assert approve(desk, "older", "newer")["rung"] is True
    calls = [call for call in engine.calls if "csrf" not in call and "flow_runs" in call]
    assert calls == ["flow_runs/newer/resume"]


@contextmanager
def a_worker(desk: Desk, says: bytes) -> Iterator[list[bytes]]:
    """Listens in the desk's home and answers each caller so; what it was told."""
    heard: list[bytes] = []

    class Attend(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            heard.append(self.rfile.readline())
            self.wfile.write(says)

    with socketserver.ThreadingUnixStreamServer(str(socket_of(desk.home)), Attend) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield heard
        server.shutdown()


def test_the_worker_wakes_it_and_prefect_is_not_asked(desk: Desk, engine: Engine) -> None:
    with a_worker(desk, YES) as heard:
        assert approve(desk, "older", "waits")["rung"] is True
    assert heard == [WAKE + b"waits\n"]
    assert not [call for call in engine.calls if call.startswith("flow_runs")]


def test_else_whoever_woke_a_run_lets_the_worker_look_at_once(desk: Desk, engine: Engine) -> None:
    engine.answers = {"waits": "ACCEPT"}
    with a_worker(desk, NO) as heard:
        assert approve(desk, "waits")["rung"] is True
        until(lambda: len(heard) == 2, 5, what="the worker is told to look")
    assert heard == [WAKE + b"waits\n", LOOK]
    assert "flow_runs/waits/resume" in engine.calls


def test_a_worker_that_says_nothing_is_waited_for_a_moment_only(
    desk: Desk, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_line, "WAKE_SECONDS", 0.1)
    engine.answers = {"waits": "ACCEPT"}
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(socket_of(desk.home)))
        silent.listen()
        assert approve(desk, "waits")["rung"] is True


@pytest.mark.parametrize("gone", ["ABORT", 404, 500])
def test_else_every_run_with_the_tag_is_rung_whoever_tagged_it(desk: Desk, engine: Engine, gone: str | int) -> None:
    engine.answers = {"gone": gone, "strangers": "ACCEPT", "ours": "ACCEPT"}
    engine.tagged = ["strangers", "ours"]
    assert approve(desk, "gone")["rung"] is True
    assert engine.calls[-2:] == ["flow_runs/strangers/resume", "flow_runs/ours/resume"]


def test_nobody_waits_is_said_and_the_answer_stands(desk: Desk, engine: Engine) -> None:
    said = approve(desk)
    assert (said["rung"], said["counts"]) == (False, True)
    assert "No run waits right now" in str(said["told"])
    assert engine.calls.count("flow_runs/filter") > 1, "it may just be going to sleep"


def test_a_dead_engine_is_said_and_the_answer_stands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    said = approve(desk, "any")
    assert (said["rung"], said["counts"]) == (False, True)
    assert "the keeper wakes the response" in str(said["told"])
