"""A practice installation that is up, an attacker with the engine's credential, and honest people with keys."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyotp

from examples.support_agent.world import World
from flows.doors import practice
from flows.doors.drill import command, commands
from flows.doors.engine_server import ROOT, EngineCalls
from flows.doors.up import start_in_background, stop
from runbooks.domain.approval import Answer, ApprovalRequest, RequestVerdict, Statement
from runbooks.domain.errors import QuellError
from runbooks.domain.incident import Archetype, Report
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.planning import action_for
from tasks.approval import requests_of, verdict_on
from tasks.decisions import statement_for, submit_decision
from tasks.incident import open_incident, with_floors
from tasks.installation import Installation, open_installation
from tasks.ledger import clock, door_actor, flow_actor
from tasks.proofs import sign_ssh

UP_SECONDS = 240
PATIENCE = 8
"""How often the attacker asks a busy engine again: SQLite under a whole list of attacks is busy."""


def until(seen: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    """Wait for the thing itself, with a limit."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return found


@contextmanager
def processes(
    script: str, *words: str, count: int, environment: dict[str, str]
) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes with this script, each of which said `ready` and now waits for a line (`let_go`)."""
    environment |= {"PYTHONPATH": os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *words], env=environment, cwd=ROOT, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]  # fmt: skip
    try:
        assert [process.stdout.readline() for process in started if process.stdout] == ["ready\n"] * count
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def let_go(started: list[subprocess.Popen[str]]) -> None:
    """All at once."""
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


@dataclass
class Ground:
    """What every attack works with."""

    home: Path
    world: World
    installation: Installation

    @cached_property
    def api(self) -> EngineCalls:
        """Prefect's API, as anybody with its credential may call it."""
        return EngineCalls(self.home, busy_retries=PATIENCE)

    @cached_property
    def waiting(self) -> str:
        """An incident whose requests wait the whole time; nobody ever grants them."""
        told = command(
            "declare", "--system", "support-agent", "--label", "tool-call-from-untrusted-text", "--as", "monitor",
            "--what", "{{ 1/0 }} a ticket told it to refund", "--drill",
        )  # fmt: skip
        incident = str(told["incident"])
        self.gate(incident)
        return incident

    def declare(self, person: str = "monitor", *, gate: bool = True) -> str:
        """A new incident whose response has come to its gate, opened and started as a door does it; returns its id."""
        place, archetype = self.installation, Archetype.PROMPT_INJECTION
        report = Report(
            system="support-agent", what_happened="{{ 1/0 }} a ticket told it to refund", reporter=person, lead="ana",
            noticed_at=clock(), source="cli",
        )  # fmt: skip
        floors = place.runbook(archetype, place.active()).severity_floors
        opened = open_incident(
            place, with_floors(report, floors), archetype, drill=True, opener=door_actor("cli"),
            material=secrets.token_bytes(8),
        )  # fmt: skip
        self.start({"incident": opened.id, "system": "known", "what_happened": "known"}, f"{opened.id}/0")
        if gate:
            self.gate(opened.id)
        return opened.id

    def start(self, start: dict[str, Any], key: str | None = None) -> str:
        """Start a run of the response by the engine's API; returns its id."""
        deployment = self.api.call("GET", "/deployments/name/prompt-injection/prompt_injection")["id"]
        body: dict[str, Any] = {"parameters": {"start": start}, "idempotency_key": key}
        if key is not None:
            body["tags"] = [f"incident:{start['incident']}", "drill"]
        return str(self.api.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])

    def gate(self, incident: str, since: int = 0, seconds: float = 300) -> dict[str, Any]:
        """Wait until a run of this incident waits for people on a form written after `since`; returns the run."""

        def waits() -> dict[str, Any] | None:
            forms = [e for e in self.entries(incident, EntryType.RUN_SUSPENDED) if e.index >= since]
            if not forms:
                return None
            run = self.api.call("GET", f"/flow_runs/{forms[-1].flow_run_id}", missing=None)
            return run if run and run["state"]["type"] == "PAUSED" and self._has_form(forms[-1]) else None

        found: dict[str, Any] = until(waits, f"{incident} waits for people", seconds)
        return found

    def _has_form(self, suspended: LedgerEntry) -> bool:
        """A run that suspends is paused a moment before its form is there, and whoever resumes it then is sent away."""
        where = f"/flow_runs/{suspended.flow_run_id}/input/filter"
        found = self.api.call("POST", where, {"prefix": "suspended-", "limit": 50})
        return f"suspended-{suspended.body['form']}-schema" in {str(one["key"]) for one in found}

    def asked(self, request: ApprovalRequest) -> None:
        """Put a request of our own making on record, as if the response had asked it."""
        self.installation.pen(flow_actor("test")).write(
            EntryType.APPROVAL_REQUESTED, f"asked/{request.digest()}", incident=request.incident,
            subject={"request": self.installation.keep(request), "action": request.action},
            body={
                "request": request.id, "action": request.step, "purpose": request.purpose, "people": request.people,
                "roles": [], "expires_at": request.expires_at,
            },
        )  # fmt: skip

    def form(self, incident: str) -> str:
        """Key of the newest form."""
        return str(self.entries(incident, EntryType.RUN_SUSPENDED)[-1].body["form"])

    def entries(self, incident: str | None, *types: EntryType) -> list[LedgerEntry]:
        """What the record holds."""
        return self.installation.store.entries(incident, types=types)

    def request(self, incident: str, step: str = "refund-tool") -> ApprovalRequest:
        """The newest request for this act."""
        return [r for r in requests_of(self.installation, incident) if r.step == step][-1]

    def force(self, run: str, state: str, name: str | None = None) -> str:
        """Set a state, as somebody with the engine's credential would."""
        body = {"state": {"type": state, "name": name, "message": "forced"}, "force": True}
        return str(self.api.call("POST", f"/flow_runs/{run}/set_state", body)["status"])

    def resume(self, run: str, answer: Any) -> str:
        """Resume with this input; what the engine said, or the refusal's text."""
        try:
            return str(self.api.call("POST", f"/flow_runs/{run}/resume", {"run_input": answer})["status"])
        except RuntimeError as error:
            return str(error)[-80:]

    def key(self, person: str) -> Path:
        """The private key of a person."""
        return practice.key_file(self.home, person)

    def code(self, person: str) -> str:
        """What the person's authenticator shows now."""
        return pyotp.TOTP((self.home / "people" / f"{person}.code").read_text().strip()).now()

    def say(self, request: ApprovalRequest, person: str, answer: Answer = Answer.APPROVE, **changes: str) -> Statement:
        """A statement of a person."""
        return statement_for(self.installation, request, answer, person, "seen").model_copy(update=changes)

    def submit(
        self, statement: Statement, *, key: str | None = None, signature: str = "", code: str = ""
    ) -> RequestVerdict:
        """Through the one door for decisions, signed with the key of `key` (default: the person's own)."""
        if not signature and not code:
            signature = sign_ssh(statement, self.key(key or statement.person))
        return submit_decision(self.installation, statement, door=door_actor("attack"), signature=signature, code=code)

    def refused(self, attempt: Callable[[], Any], incident: str | None = None) -> str:
        """The attempt must be refused, and the refusal must be on record; returns its reason."""
        since = self.installation.store.size()
        try:
            attempt()
        except QuellError as error:
            after = [e for e in self.entries(None, EntryType.DECISION_REFUSED) if e.index >= since]
            mine = [e for e in after if e.body["because"] == error.problem]
            assert len(mine) == 1, "the refusal is on record"
            assert incident is None or mine[0].incident == incident
            return error.problem
        raise AssertionError("it was accepted")

    def does_not_count(self, request: ApprovalRequest, person: str) -> str:
        """A recorded decision that gives nothing; returns the reason that stands in the record's judgement."""
        verdict = verdict_on(self.installation, request)
        assert person not in verdict.approvers
        return next(line for line in verdict.not_counted if person in line)

    def activation_refused(self) -> tuple[str, str]:
        """`quell policy activate` by ana, in a process of its own, must be refused, on record; what it said, what stands."""
        before, since = self.installation.active_digest(), self.installation.store.size()
        words = ["policy", "activate", "--as", "ana", "--key", str(self.key("ana")), "--json"]
        ran = subprocess.run(
            [sys.executable, "-m", "flows.doors.cli", *words], cwd=ROOT, env=os.environ | {"QUELL_HOME": str(self.home)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 1, ran
        assert self.installation.active_digest() == before
        (refused,) = [e for e in self.entries(None, EntryType.ACTIVATION_REFUSED) if e.index >= since]
        assert refused.body["claimed_person"] == "ana"
        return str(json.loads(ran.stdout)["error"]["problem"]), str(refused.body["because"])

    # The far side's own books.

    def far(self) -> dict[str, Any]:
        """What the far side itself says: flags, the prompt's label, client and token, effects on money."""
        place, configuration = self.installation, self.installation.active()
        incident = place.incident(self.waiting)
        seen: dict[str, Any] = {"flags": json.loads(self.world.describe.flags_path.read_text())}
        for control in configuration.systems["support-agent"].controls:
            connector = place.connector("support-agent", control.connector, configuration)
            seen[control.name] = connector.observe(action_for(incident, control, "look"))
        seen["effects"] = [row.seq for row in self.world.book() if row.outcome == "done" and not row.canary]
        return seen


def _write_more(home: Path) -> None:
    """Ana has two keys; emil is cleo's deputy and has no role of his own."""
    for name in ("ana2", "emil", "rsa", "spare"):
        kind = ["-t", "rsa", "-b", "2048"] if name == "rsa" else ["-t", "ed25519"]
        path = practice.key_file(home, name)
        subprocess.run(["ssh-keygen", "-q", *kind, "-N", "", "-C", name, "-f", str(path)], check=True)
    line = {
        name: practice.key_file(home, name).with_suffix(".key.pub").read_text().strip()
        for name in ("ana2", "emil", "rsa", "ana")
    }
    people = home / "config" / "people.toml"
    text = people.read_text().replace(f'["{line["ana"]}"]', f'["{line["ana"]}", "{line["ana2"]}", "{line["rsa"]}"]')
    text += (
        f'\n[people.emil]\nname = "Emil"\nroles = ["assistant"]\ndeputy_for = "cleo"\nssh_keys = ["{line["emil"]}"]\n'
    )
    people.write_text(text)


@contextmanager
def standing(home: Path) -> Iterator[Ground]:
    """Everything up; all of it is gone afterwards."""
    world = practice.prepare(home, seed=7, prompt_cache_seconds=1.0)
    try:
        _write_more(home)
        installation = open_installation(home)
        installation.activate_if_fresh()
        start_in_background(home, UP_SECONDS, commands=commands())
        yield Ground(home, world, installation)
    finally:
        stop(home)
        world.stop()
