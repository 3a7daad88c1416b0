"""Whatever is sent, to whatever address: an answer that is not 500, or none; and the door goes on."""

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message

from flows.doors.door.app import make_app
from flows.doors.door.reception import Reception
from runbooks.domain.errors import IntakeDefectError
from tasks.installation import Installation
from tasks.intake.normalising import normalise
from tasks.settings import load_settings
from tests.steps.doorstep import SOURCES, Door, a_door, bearer, furnish, hub, signed
from tests.steps.test_intake_sns import TOPIC

MORE = f"""
[sources.people]
sender = "report"
unproven = true

[sources.aws]
sender = "aws-sns"
notifications = {{topics = ["{TOPIC}"]}}

[sources.commands]
sender = "slack"
secrets = [{{id = "one", secret = "file:secrets/new"}}]
"""
Pairs = Sequence[tuple[bytes, bytes]]
NAMES = ("github", "alerts", "detector", "secret-path", "query", "anybody", "lost", "people", "aws", "commands")
PATHS = st.one_of(
    st.sampled_from([f"/signals/{name}" for name in NAMES] + [f"/signals/{name}/x" for name in NAMES]),
    st.sampled_from(["/decisions", "/report", "/report/DLV-" + "0" * 26, "/health", "/ready", "/metrics", "/", "//", "/signals", "/signals/", "/signals//"]),
    st.binary(max_size=30).map(lambda raw: "/signals/" + quote(raw)),
    st.binary(max_size=30).map(lambda raw: "/report/" + quote(raw)),
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "PROPFIND"])
TOKENS = st.sampled_from(
    ["content-type", "content-encoding", "authorization", "x-hub-signature-256", "webhook-id", "webhook-timestamp",
     "webhook-signature", "ce-id", "expect", "accept", "cookie", "sec-fetch-site", "x-slack-signature", "webhook-request-origin",
     "x-slack-request-timestamp", "upgrade", "connection", "x-amz-sns-message-type"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(["application/json", "application/json; charset=utf-16", "application/x-www-form-urlencoded", "gzip",
                     "text/plain", "Bearer old-w0rd-of-alerts", "Basic =", "Bearer", "v1,", "sha256=", "1795000000", "9" * 12,
                     "100-continue", "websocket", "Upgrade", "application/cloudevents+json", "same-origin", ";", 'a/b;c="d']),
    st.binary(max_size=30).map(lambda raw: raw.decode("latin-1").replace("\r", " ").replace("\n", " ").replace("\0", " ").strip()),
)  # fmt: skip
HOSTILE = {
    "nothing": b"",
    "not text": b"\x00\xff\xfe",
    "a depth bomb": b"[" * 100_000,
    "a depth bomb that ends": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "NaN": b'{"a": NaN, "b": Infinity}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "keys that come twice": b'{"type": "a", "type": "b"}',
    "very many keys": json.dumps({str(n): n for n in range(100_000)}).encode(),
    "a number without end": b'{"a": ' + b"9" * 100_000 + b"}",
    "a number of another kind": b'{"a": 1e400, "b": -0.0}',
    "an empty object": b"{}",
    "a list": b"[1, null, {}]",
    "a word": b'"x"',
    "a mark of order": b"\xef\xbb\xbf{}",
    "typed markers": b'{"__prefect_kind": "jinja", "template": "{{ 7 * 7 }}", "value": "{% raw %}"}',
}
BODIES = st.one_of(st.sampled_from(list(HOSTILE.values())), st.binary(max_size=200))


@dataclass
class Client:
    """Calls the application in this process, as a server would: an exception of ours comes through."""

    app: ASGIApp
    loop: asyncio.Runner

    def ask(self, method: str, target: str, body: bytes = b"", headers: Pairs = ()) -> tuple[int, bytes]:
        """Status and body of the answer."""
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": list(headers), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 1),
        }  # fmt: skip
        said: list[Message] = []
        half = len(body) // 2
        coming: list[Message] = [
            {"type": "http.request", "body": body[:half], "more_body": True},
            {"type": "http.request", "body": body[half:], "more_body": False},
        ]

        async def receive() -> Message:
            return coming.pop(0) if coming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            said.append(message)

        async def call() -> None:
            await self.app(scope, receive, send)

        self.loop.run(call())
        return int(said[0]["status"]), b"".join(one.get("body", b"") for one in said)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = furnish(tmp_path_factory.mktemp("fuzz") / "home", SOURCES + MORE, "door_unproven_per_minute = 1000000\n")
    installation = Installation(load_settings(home, {}))
    installation.activate_if_fresh()
    with asyncio.Runner() as loop:
        reception = Reception(installation)
        yield Client(make_app(reception), loop)
        reception.end()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with a_door(
        furnish(tmp_path_factory.mktemp("fuzz") / "home", SOURCES + MORE, "door_patience_seconds = 1\n")
    ) as found:
        yield found
    assert "Traceback" not in found.said()


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(METHODS, PATHS, st.lists(st.tuples(TOKENS, VALUES), max_size=6), BODIES)
def test_no_request_is_answered_with_500(
    client: Client, method: str, path: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    status, said = client.ask(method, path, body, pairs)
    assert status in (200, 303, 400, 401, 403, 404, 405, 413, 415, 503), said
    assert b"old-w0rd" not in said


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.binary(max_size=300), st.sampled_from([b"", b"POST /signals/anybody HTTP/1.1\r\nHost: x\r\n", b"POST /decisions HTTP/1.1\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST /signals/anybody HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", b"POST /signals/anybody HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"POST /signals/anybody HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"]))  # fmt: skip
def test_no_bytes_on_the_wire_break_it(door: Door, tail: bytes, beginning: bytes) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as line:
        line.sendall(beginning + tail)
        line.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while piece := line.recv(65536):
                said += piece
        except ConnectionResetError:
            pass
    assert b" 500 " not in said.split(b"\r\n", 1)[0]
    assert door.ask("GET", "/health").status == 200


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_is_proven_is_taken_whatever_it_says_and_read_or_kept_as_a_defect(
    client: Client, door: Door, body: bytes
) -> None:
    sent = {"github": hub(body), "detector": signed(body), "alerts": bearer("old"), "anybody": {}}
    for name, headers in sent.items():
        named_all = {"content-type": "application/json", **headers}
        pairs = [(key.encode(), value.encode()) for key, value in named_all.items()]
        status, said = client.ask("POST", f"/signals/{name}", body, pairs)
        assert status == 200, (name, said)
    named = door.send("detector", body, signed(body)).json["receipt"]
    found = next(found for found in door.kept if found[0].id == named)
    assert found[1] == body[: 1024 * 1024]
    source = Installation(load_settings(door.home, {})).active().sources["detector"]
    try:
        signals = normalise(*found, source).signals
    except IntakeDefectError:
        return  # kept, and shown as what could not be read
    assert all(signal.delivery == named for signal in signals)


def test_a_path_does_not_end_where_it_should_not(client: Client) -> None:
    for path in (
        "/signals/..%2f..%2fhealth",
        "/signals/github%00",
        "/signals/GITHUB",
        "/signals/github%2f",
        "/signals/ github",
    ):
        assert client.ask("POST", path, b"{}")[0] in (404, 401), path
