"""A practice installation for the commands: real people with real keys, a practice system in memory, no engine.

The system refuses and gives back like a real one; the guard above it is the real one.
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.doors.cli import main
from runbooks.domain.approval import Purpose
from tasks.approval import ask, plan_of, requests_of, settle, verdict_on
from tasks.containment import contain, plan_containment
from tasks.evidence import seal_evidence
from tasks.installation import Installation, open_installation
from tasks.ledger import flow_actor

PEOPLE = {
    "ana": ["incident-commander", "policy-owner"],
    "ben": ["on-call"],
    "cleo": ["security"],
    "dora": ["product-owner"],
}
CODE = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
"""Everybody's practice secret of one-time codes."""

POLICY = """
waiver_roles = ["incident-commander", "security"]
probes_in_a_row = 1

[[rights]]
purposes = ["re_enable", "undo"]
roles = ["product-owner", "security", "incident-commander"]
proofs = ["ssh"]

[[rights]]
reversibilities = ["R2", "R3"]
roles = ["incident-commander", "security"]
proofs = ["ssh"]

[[rights]]
roles = ["incident-commander", "on-call", "security"]
proofs = ["ssh", "code"]
"""

SYSTEMS = """
[systems.helper]
title = "Helper (practice)"
owner = "dora"
lead = "ana"
practice = true

[systems.helper.absent]
A = "it keeps none"
B = "it keeps none"
C = "it keeps none"
D = "it keeps none"

[systems.helper.connections.side]
kind = "memory"
[systems.helper.connections.side.settings]
path = "{world}"
targets = {{refunds = {{status = "on"}}, prompt = {{version = "2"}}, token = {{status = "valid"}}}}

[[systems.helper.controls]]
name = "refund-tool"
verb = "disable_tool"
connector = "side"
target = "refunds"
title = "Switch off refunds"
blast_radius = "nobody gets a refund from the agent"
undo = "one flag back"
tags = ["harmful"]
probes = ["refund"]

[[systems.helper.controls]]
name = "system-prompt"
verb = "roll_back_prompt"
connector = "side"
target = "prompt"
desired = {{version = "1"}}
title = "Put the prompt back"
blast_radius = "wording changes"
undo = "the label moves back"

[[systems.helper.evidence]]
evidence_class = "E"
connector = "side"
what = "control:refund-tool"

[[systems.helper.evidence]]
evidence_class = "F"
connector = "side"
what = "control:system-prompt"

[[systems.helper.evidence]]
evidence_class = "G"
connector = "side"
what = "effects"

[systems.helper.probes.refund]
connector = "side"
settings = {{target = "refunds"}}
"""


def make_people(folder: Path) -> dict[str, Path]:
    """One key pair each; made once per test session, because ssh-keygen takes its time."""
    keys = {}
    for name in PEOPLE:
        keys[name] = folder / f"{name}.key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(keys[name])], check=True)
    return keys


def people_toml(keys: dict[str, Path]) -> str:
    """The four, as an operator writes them down."""
    parts = []
    for name, roles in PEOPLE.items():
        line = keys[name].with_suffix(".key.pub").read_text().strip()
        parts.append(
            f'[people.{name}]\nname = "{name.title()}"\nroles = {json.dumps(roles)}\nssh_keys = ["{line}"]\n'
            f'code_secret = "file:secrets/{name}.code"\n'
        )
    return "\n".join(parts)


@dataclass(frozen=True)
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output; anything else there fails."""
        found: dict[str, Any] = json.loads(self.out)
        assert isinstance(found, dict)
        assert found["ok"] is (self.code == 0)
        return found


@dataclass
class Desk:
    """A person at a terminal of this installation."""

    home: Path
    keys: dict[str, Path]
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Ran:
        """Run `quell` with these words in this process."""
        self.capsys.readouterr()
        code = main([str(word) for word in words])
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return Ran(code, said.out, said.err)

    @property
    def installation(self) -> Installation:
        """The same installation, from inside."""
        return open_installation(self.home)

    @property
    def world(self) -> dict[str, Any]:
        """The far side's own book; it is written when something changes for the first time."""
        book = self.home / "world.json"
        first = tomllib.loads((self.home / "config" / "systems.toml").read_text())
        targets = first["systems"]["helper"]["connections"]["side"]["settings"]["targets"]
        found: dict[str, Any] = json.loads(book.read_text()) if book.exists() else {"targets": targets, "effects": []}
        return found

    def write(self, file: str, text: str) -> None:
        """One configuration file."""
        (self.home / "config" / file).write_text(text, encoding="utf-8")

    def change(self, file: str, old: str, new: str) -> None:
        """Replace text in a configuration file; the old text must be there."""
        path = self.home / "config" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def declare(self, *more: str, archetype: str = "prompt-injection") -> str:
        """An incident on the practice system, in a drill; returns its id."""
        ran = self(
            "declare", "--system", "helper", "--what", "a ticket made it refund", "--as", "eve", "--archetype",
            archetype, "--drill", "--json", *more,
        )  # fmt: skip
        assert ran.code == 0, ran
        return str(ran.json["incident"])

    def respond(self, incident: str) -> None:
        """What the flow does before its first gate: seal, plan, ask."""
        seal_evidence.fn(incident)
        plan_containment.fn(incident)
        plan, place = plan_of(self.installation, incident), self.installation
        for action in plan.actions:
            ask(place, place.pen(flow_actor("test")), place.incident(incident), plan, action, Purpose.CONTAIN)

    def approve(self, request: str, person: str) -> Ran:
        """Approve with the person's own key."""
        return self(
            "approve", request, "--as", person, "--key", str(self.keys[person]), "--reason", "seen it", "--json"
        )

    def consent(self, incident: str) -> None:
        """Two people approve everything, and that it is settled is written, as the gate does."""
        for waits in self("inbox", "--json").json["requests"]:
            for person in ("ana", "cleo"):
                self.approve(waits["request"], person)
        place = self.installation
        for request in requests_of(place, incident):
            settle(place.pen(flow_actor("test")), request, verdict_on(place, request))

    def contain(self, incident: str) -> None:
        """Two people approve everything, and the acts are done."""
        self.consent(incident)
        for action in plan_of(self.installation, incident).actions:
            assert contain.fn(incident, action.id) in ("effective", "unverified")


@contextmanager
def a_desk(home: Path, keys: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    """A fresh home with its configuration; the environment is put back afterwards."""
    before = dict(os.environ)
    (home / "config").mkdir(parents=True)
    (home / "secrets").mkdir(mode=0o700)
    for name in PEOPLE:
        code = home / "secrets" / f"{name}.code"
        code.write_text(CODE)
        code.chmod(0o600)
    os.environ["QUELL_HOME"] = str(home)
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        os.environ.pop(name, None)
    open_installation.cache_clear()
    desk = Desk(home, keys, capsys)
    desk.write("people.toml", people_toml(keys))
    desk.write("policy.toml", POLICY)
    desk.write("systems.toml", SYSTEMS.format(world=home / "world.json"))
    try:
        yield desk
    finally:
        open_installation.cache_clear()
        os.environ.clear()
        os.environ.update(before)
        if "prefect" in sys.modules:
            from prefect.context import refresh_global_settings_context

            refresh_global_settings_context()
