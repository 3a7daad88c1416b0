"""The sender signs as the standard says, tries again under the same id, and gives up when it is told no."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from flows.doors.sender import NotSentError, deliver, send, signature
from tasks.intake.normalising import normalise
from tasks.intake.verifying import check_signature, read_claim, signing_key
from tests.steps.deliveries import a_delivery, a_source, shipped_signing

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver(HTTPServer):
    """Answers what it is told to, one after the other, and keeps what came."""

    answers: list[tuple[int, dict[str, str]]]
    came: list[tuple[dict[str, str], bytes]]


class _Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append(({key.lower(): value for key, value in self.headers.items()}, body))
        status, headers = self.server.answers.pop(0)
        self.send_response(status)
        for name, value in {"content-length": "2", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver(("127.0.0.1", 0), _Answer)
    server.answers, server.came = [(200, {})], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _url(receiver: Receiver) -> str:
    return f"http://127.0.0.1:{receiver.server_port}/signals/detector"


def test_the_vector_of_the_standard() -> None:
    """From the specification's own examples."""
    body = b'{"test": 2432232314}'
    made = signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_it_sends_the_door_takes_and_reads(receiver: Receiver) -> None:
    data = {"system": "support-agent", "archetype": "prompt_injection", "labels": ["a"], "text": "<b>"}
    assert send(_url(receiver), SECRET, "guard.tripped", data) == "{}"
    headers, body = receiver.came[0]
    now_ns = int(headers["webhook-timestamp"]) * 10**9
    signing = shipped_signing("standard-webhooks")
    claim = read_claim(signing, headers, now_ns)
    assert claim is not None
    assert check_signature(claim, [signing_key("k", SECRET, signing.secret_form)], body) is not None
    delivery = a_delivery(
        body, headers=(("webhook-id", headers["webhook-id"]),), received_at="2099-01-01T00:00:00.000000000Z"
    )
    (signal,) = normalise(delivery, body, a_source("standard-webhooks")).signals
    assert (signal.kind, signal.system, signal.archetype_label) == (
        "guard.tripped",
        "support-agent",
        "prompt_injection",
    )
    assert signal.occurred_at is not None


def test_it_comes_again_under_the_same_id(receiver: Receiver) -> None:
    receiver.answers = [(503, {"retry-after": "0"}), (429, {}), (500, {}), (200, {})]
    send(_url(receiver), SECRET, "k", {}, waits=(0.01, 0.01, 0.01))
    assert len(receiver.came) == 4
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 1
    assert len({body for _, body in receiver.came}) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 413, 415])
def test_a_final_no_is_not_asked_again(receiver: Receiver, status: int) -> None:
    receiver.answers = [(status, {})]
    with pytest.raises(NotSentError, match=str(status)) as caught:
        send(_url(receiver), SECRET, "k", {})
    assert caught.value.status == status
    assert len(receiver.came) == 1


def test_a_redirection_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [(302, {"location": _url(receiver) + "/elsewhere"})]
    with pytest.raises(NotSentError, match="302"):
        send(_url(receiver), SECRET, "k", {})
    assert len(receiver.came) == 1


def test_nobody_answers() -> None:
    closed = HTTPServer(("127.0.0.1", 0), _Answer)
    closed.server_close()
    with pytest.raises(NotSentError, match="nobody answered") as caught:
        send(f"http://127.0.0.1:{closed.server_port}/", SECRET, "k", {}, waits=(0.01,))
    assert caught.value.status is None


@pytest.mark.parametrize(("url", "secret"), [("ftp://x", SECRET), ("https://x.example", "whsec_%%%")])
def test_what_cannot_be_sent_at_all(url: str, secret: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        deliver(url, secret, json.dumps({}).encode())
    assert "%%%" not in str(caught.value)
