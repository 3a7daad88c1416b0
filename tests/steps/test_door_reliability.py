"""The door killed under load, and senders that do not get on: what was acknowledged stands, once, and others are served."""

import http.client
import json
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tasks.installation import Installation
from tasks.intake.understanding import Intake
from tasks.settings import load_settings
from tests.steps.doorstep import PLAIN, Door, a_door, bearer, furnish, signed

SENDERS, KILLS = 8, 5
PATIENT = "door_patience_seconds = 1\ndoor_connections = 40\n"


class Sender(threading.Thread):
    """Sends one delivery after the other, each until it is acknowledged, as a good sender does."""

    def __init__(self, door: Door, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.door, self.number, self.stop = door, number, stop
        self.acknowledged: dict[str, str] = {}
        """Receipt to event."""
        self.refused: list[int] = []

    def run(self) -> None:
        count = 0
        while not self.stop.is_set():
            event = f"evt-{self.number}-{count}"
            body = json.dumps({"type": "tool_use.mass", "data": {"text": event}}).encode()
            if self._send(event, body):
                count += 1
            else:
                time.sleep(0.02)

    def _send(self, event: str, body: bytes) -> bool:
        try:
            answer = self.door.send("detector", body, signed(body, name=event))
        except (OSError, http.client.HTTPException):
            return False
        if answer.status == 200:
            self.acknowledged[answer.json["receipt"]] = event
            return True
        self.refused.append(answer.status)
        return False


def take_in_all(home: Path) -> int:
    """Everything in the spool becomes signals; how many deliveries were read."""
    total = 0
    with closing(Intake(Installation(load_settings(home, {})))) as intake:
        while read := intake.take_in()[0]:
            total += read
    return total


@pytest.mark.slow
def test_killed_under_load_it_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    home = furnish(tmp_path / "home")
    door, stop = Door(home, home / "door.log"), threading.Event()
    door.start()
    senders = [Sender(door, number, stop) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    for kill in range(KILLS):
        goal = (kill + 1) * 60
        deadline = time.monotonic() + 60
        while sum(len(sender.acknowledged) for sender in senders) < goal:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert door.stop(signal.SIGKILL) == -signal.SIGKILL
        door.start()
    stop.set()
    for sender in senders:
        sender.join(60)
    assert door.stop() == 0
    acknowledged = {receipt: event for sender in senders for receipt, event in sender.acknowledged.items()}
    assert len(acknowledged) == sum(len(sender.acknowledged) for sender in senders) >= KILLS * 60
    assert not [status for sender in senders for status in sender.refused if status != 503]
    kept = {delivery.id: json.loads(body)["data"]["text"] for delivery, body in door.kept}
    assert {receipt: kept.get(receipt) for receipt in acknowledged} == acknowledged
    assert len(door.kept) == len(kept)
    again = Counter(kept.values())
    assert max(Counter(acknowledged.values()).values()) == 1
    assert sum(count - 1 for count in again.values()) <= KILLS * SENDERS, "kept before a kill, and sent again after it"
    with closing(sqlite3.connect(home / "signals.db")) as base:
        assert take_in_all(home) == len(kept)
        signals = base.execute("SELECT count(*), count(DISTINCT event_key) FROM signal").fetchone()
        assert signals == (len(again), len(again)), "kept twice and yet one signal each"
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture(scope="module", params=[Door.program, PLAIN], ids=["httptools", "h11"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with a_door(furnish(tmp_path_factory.mktemp("slow") / "home", limits=PATIENT), request.param) as found:
        yield found
    assert "Traceback" not in found.said()


def dial(door: Door) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", door.port), timeout=20)
    line.settimeout(20)
    return line


def hung_up(line: socket.socket) -> bytes:
    """All that came until the other side hung up; fails when it does not."""
    said = b""
    while True:
        try:
            piece = line.recv(65536)
        except ConnectionResetError:
            return said
        if not piece:
            return said
        said += piece


def served(door: Door) -> None:
    assert door.send("alerts", b"{}", bearer("old")).status == 200


HEAD = b"POST /signals/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer old-w0rd-of-alerts\r\n"
STUCK = {
    "nothing at all": b"",
    "half a header": HEAD,
    "half a body": HEAD + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("began", STUCK.values(), ids=STUCK)
def test_who_stops_in_the_middle_is_let_go(door: Door, began: bytes) -> None:
    before = len(door.kept)
    with dial(door) as line:
        line.sendall(began)
        served(door)
        hung_up(line)
    assert len(door.kept) - before <= 2


def test_who_sends_one_byte_at_a_time_is_let_go(door: Door) -> None:
    with dial(door) as line:
        line.settimeout(0.05)
        for byte in HEAD * 100:
            try:
                line.sendall(bytes([byte]))
                if line.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("the door read an endless header")
    served(door)


def test_a_header_without_end_is_cut_off(door: Door) -> None:
    with dial(door) as line:
        try:
            line.sendall(b"POST /signals/alerts HTTP/1.1\r\n")
            for number in range(100_000):
                line.sendall(b"X-%d: " % number + b"y" * 1000 + b"\r\n")
        except OSError:
            pass
        else:
            pytest.fail("the door took 100 MB of header")
    served(door)


def test_a_connection_serves_one_delivery_after_another(door: Door) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", door.port, timeout=20)) as line:
        for pause in (0, 0, 2.5, 0):
            time.sleep(pause)  # longer than the patience with a request: an idle connection stays
            line.request("POST", "/signals/alerts", b"{}", bearer("old"))
            answer = line.getresponse()
            assert (answer.status, json.loads(answer.read())["status"]) == (200, "accepted")


def test_who_is_one_too_many_is_told_when_to_come_again_and_the_others_are_served(door: Door) -> None:
    def said(line: socket.socket) -> bytes:
        line.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        told = b""
        while not told.endswith(b"}"):
            piece = line.recv(65536)
            assert piece, told
            told += piece
        return told

    within = [dial(door) for _ in range(40)]
    assert {said(line)[:13] for line in within} == {b"HTTP/1.1 200 "}
    for _ in range(20):
        with dial(door) as line:
            away = said(line) + hung_up(line)
        assert away.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 30\r\n" in away.lower()
        assert away.endswith(b'{"status":"refused","because":"connections"}')
    assert {said(line)[:13] for line in within} == {b"HTTP/1.1 200 "}
    for line in within:
        line.close()
    deadline = time.monotonic() + 15
    while (answer := door.ask("GET", "/metrics")).status != 200:
        assert time.monotonic() < deadline
    assert b'quell_door_requests_total{source="(all)",outcome="connections"}' in answer.body
    served(door)


def test_more_connections_than_it_can_hold(door: Door) -> None:
    lines = [dial(door) for _ in range(200)]
    for line in lines:
        line.sendall(HEAD)
    for line in lines:
        hung_up(line)
        line.close()
    served(door)


def test_a_spool_that_cannot_be_written_sends_everybody_away_until_it_can(door: Door) -> None:
    with closing(sqlite3.connect(door.home / "signals.db", isolation_level=None)) as base:
        base.execute("ALTER TABLE delivery RENAME TO elsewhere")
        answer = door.send("alerts", b"{}", bearer("old"))
        assert (answer.status, answer.json["because"], answer.headers["retry-after"]) == (503, "not stored", "30")
        base.execute("ALTER TABLE elsewhere RENAME TO delivery")
    served(door)


def test_a_full_disk_sends_everybody_away(tmp_path: Path) -> None:
    limits = "door_disk_free_percent = 100\n"  # no disk has so much
    with a_door(furnish(tmp_path / "home", limits=limits)) as door:
        answer = door.send("alerts", b"{}", bearer("old"))
        assert (answer.status, answer.json["because"]) == (503, "disk")
        assert door.ask("GET", "/ready").json["problems"] == ["disk", "secret"]
        assert door.kept == []
