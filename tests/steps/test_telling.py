"""A message that really arrives: Apprise over HTTP to a receiver of our own; and what is on record when it does not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from runbooks.domain.approval import ApprovalRequest
from runbooks.domain.ledger import EntryType
from tasks.approval import requests_of, verdict_on
from tasks.break_glass import end_overdue
from tasks.escalation import escalate
from tasks.ledger import KEEPER
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, at, policy_plus, smash, written


class Receiver:
    """A chat system, as Apprise's `json://` sees it."""

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        self.answer = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.heard.append(json.loads(body))
                self.send_response(receiver.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"json://127.0.0.1:{self._server.server_address[1]}/token-that-is-secret"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver(desk: Desk) -> Iterator[Receiver]:
    found = Receiver()
    (desk.home / "secrets" / "chat").write_text(found.address)
    desk.change(
        "policy.toml",
        'roles = ["incident-commander", "on-call", "security"]\nproofs = ["ssh", "code"]',
        'roles = ["incident-commander", "on-call", "security"]\nproofs = ["ssh", "code"]\n'
        'ladder = [{after_minutes = 0, roles = ["on-call"], channels = ["chat"]}]',
    )
    policy_plus(desk, GLASS + '\n[channels]\nchat = "file:secrets/chat"\n')
    yield found
    found.close()


def waiting(desk: Desk) -> tuple[str, ApprovalRequest]:
    incident = desk.declare()
    desk.respond(incident)
    return incident, next(r for r in requests_of(desk.installation, incident) if r.step == "refund-tool")


def tell(desk: Desk, request: ApprovalRequest) -> None:
    escalate(desk.installation, desk.installation.pen(KEEPER), request, verdict_on(desk.installation, request))


def test_the_next_people_are_told_once_what_waits_and_how_to_answer(desk: Desk, receiver: Receiver) -> None:
    incident, request = waiting(desk)
    tell(desk, request)
    tell(desk, request)
    (message,) = receiver.heard
    assert message["title"] == f"quell: {request.id} waits for ben"
    for words in (incident, "refund-tool", "R1", "needs 2 more", "Nothing happens without it", "quell inbox"):
        assert words in message["message"]
    assert "a ticket made it refund" not in str(message), "hostile text stays out"
    (told,) = written(desk, incident, EntryType.PEOPLE_TOLD)
    assert told["channel"] == "chat"
    assert "secret" not in str(told)


def test_what_the_channel_did_not_take_is_on_record_and_sent_later(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answer = 500
    incident, request = waiting(desk)
    tell(desk, request)
    (failed,) = written(desk, incident, EntryType.TELLING_FAILED)
    assert (failed["because"], failed["tries"]) == ("the channel did not take it", 1)
    receiver.answer = 200
    tell(desk, request)
    assert not written(desk, incident, EntryType.PEOPLE_TOLD), "not at once again"
    monkeypatch.setattr("tasks.telling.BETWEEN_TRIES_SECONDS", 0)
    tell(desk, request)
    assert len(written(desk, incident, EntryType.PEOPLE_TOLD)) == 1
    assert len(receiver.heard) == 2


def test_break_glass_is_loud_when_it_begins_and_when_it_cannot_be_given_back(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = desk.declare()
    assert smash(desk, incident).code == 0
    world = desk.home / "world.json"
    world.write_text(world.read_text().replace('"off"', '"half"'))
    at(monkeypatch, desk, 2)
    end_overdue(desk.installation, desk.installation.pen(KEEPER))
    begun, stuck = receiver.heard
    assert begun["title"] == f"quell: BREAK-GLASS in {incident}"
    assert "ben acts alone: refund-tool, for 1 min" in begun["message"]
    assert "could not be given back" in stuck["title"]
