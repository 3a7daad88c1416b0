"""A real door: `quell door` as a process of its own in a fresh home, or in this one; and senders that sign by hand."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from flows.doors.door.address import ADDRESS_FILE, door_url
from flows.doors.door.app import make_app
from flows.doors.door.reception import Reception
from runbooks.domain.signal import Delivery
from tasks.installation import Installation
from tasks.intake.committing import spool_of
from tasks.settings import load_settings

ROOT = Path(__file__).parents[2]
WORDS = {"github": "gh-w0rd", "old": "old-w0rd-of-alerts", "new": "new-w0rd-of-alerts", "basic": "user:pa-ssw0rd"}
"""Practice secrets, one file each; no line of any log may hold one."""
WHSEC = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SECRETS = {**WORDS, "whsec": WHSEC}
SOURCES = """
[sources.github]
sender = "github"
secrets = [{id = "only", secret = "file:secrets/github"}]

[sources.alerts]
sender = "alertmanager"
secrets = [{id = "old", secret = "file:secrets/old"}, {id = "new", secret = "file:secrets/new"}]

[sources.detector]
sender = "standard-webhooks"
secrets = [{id = "only", secret = "file:secrets/whsec"}]

[sources.secret-path]
token = {place = "path"}
secrets = [{id = "only", secret = "file:secrets/new"}]

[sources.query]
token = {place = "query", name = "auth_token"}
secrets = [{id = "only", secret = "file:secrets/new"}]

[sources.anybody]
unproven = true
content_types = ["*"]
keep_headers = ["ce-*"]

[sources.lost]
token = {place = "bearer"}
secrets = [{id = "gone", secret = "file:secrets/gone"}, {id = "there", secret = "file:secrets/new"}]
"""


def furnish(home: Path, sources: str = SOURCES, limits: str = "") -> Path:
    """A home whose configuration lists these sources, and nobody."""
    config, secrets = home / "config", home / "secrets"
    config.mkdir(parents=True)
    secrets.mkdir(mode=0o700)
    for name, text in SECRETS.items():
        keep_secret(home, name, text)
    (config / "people.toml").write_text("")
    (config / "systems.toml").write_text("")
    (config / "policy.toml").write_text("rights = []\n")
    (config / "sources.toml").write_text(sources)
    (config / "defaults.toml").write_text(limits)
    return home


def keep_secret(home: Path, name: str, text: str) -> None:
    """A secret's file, replaced in one step, for the owner only."""
    draft = home / "secrets" / f".{name}"
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(home / "secrets" / name)


def signed(body: bytes, *, name: str = "msg_1", at: int | None = None) -> dict[str, str]:
    """The headers of a Standard Webhook from `detector`."""
    stamp = int(time.time()) if at is None else at
    mac = hmac.new(bytes(range(32)), f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    shown = base64.b64encode(mac).decode()
    return {"webhook-id": name, "webhook-timestamp": str(stamp), "webhook-signature": f"v1,{shown}"}


def hub(body: bytes) -> dict[str, str]:
    """The headers of a delivery from `github`."""
    return {"x-hub-signature-256": "sha256=" + hmac.new(WORDS["github"].encode(), body, hashlib.sha256).hexdigest()}


def bearer(name: str) -> dict[str, str]:
    """The header of a sender that shows this word."""
    return {"authorization": f"Bearer {WORDS[name]}"}


@dataclass(frozen=True)
class Answer:
    """What the door said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Door:
    """A door process."""

    home: Path
    log: Path
    program: tuple[str, ...] = ("-m", "flows.doors.cli", "door")
    process: subprocess.Popen[bytes] = field(init=False)
    port: int = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self.home / ADDRESS_FILE).unlink(missing_ok=True)
        environment = os.environ | {"QUELL_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        with self.log.open("ab", buffering=0) as sink:
            self.process = subprocess.Popen(
                [sys.executable, *self.program], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                cwd=ROOT, env=environment,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.said()
            try:
                self.port = int(door_url(self.home).rpartition(":")[2])
                self.ask("GET", "/health")
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"the door did not answer: {self.said()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def said(self) -> str:
        """All that it wrote."""
        return self.log.read_text()

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
            line.request(method, path, body or None, dict(headers or {}))
            answer = line.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def send(self, source: str, body: bytes, headers: Mapping[str, str], kind: str = "application/json") -> Answer:
        """One delivery."""
        return self.ask("POST", f"/signals/{source}", body, {"content-type": kind, **headers})

    @property
    def kept(self) -> list[tuple[Delivery, bytes]]:
        """What stands in the spool."""
        with closing(spool_of(Installation(load_settings(self.home, {})))) as spool:
            return spool.after("", 1_000_000)


PLAIN = ("-c", "import sys; sys.modules |= {'httptools': None, 'uvloop': None}; from flows.doors.cli import main; sys.exit(main(['door']))")  # fmt: skip
"""A door on a machine without the quicker parser and loop, which are an extra."""


@contextmanager
def a_door(home: Path, program: tuple[str, ...] = Door.program) -> Iterator[Door]:
    """A door in this home; it must end in an orderly way."""
    door = Door(home, home / "door.log", program)
    door.start()
    try:
        yield door
    finally:
        code = door.stop()
    assert code == 0, door.said()


@contextmanager
def a_reception(home: Path) -> Iterator[Reception]:
    """What the routes of a door in this home share, in this process."""
    installation = Installation(load_settings(home, {}))
    installation.activate_if_fresh()
    made = Reception(installation)
    try:
        yield made
    finally:
        made.end()


def visiting(reception: Reception) -> httpx.AsyncClient:
    """Whoever calls at that door; no loop looks after it."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(make_app(reception)), base_url="http://door")
