"""The hands of the people around a response: they answer, sign, type codes, press Resume, replace a token."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pyotp
import pytest

from flows.doors import practice
from flows.doors.engine_server import EngineCalls, EngineUnreachable
from runbooks.domain.approval import Answer, ApprovalRequest
from runbooks.domain.ledger import EntryType
from tasks.approval import eligible, verdict_on, waiting
from tasks.decisions import statement_for, submit_decision
from tasks.installation import Installation
from tasks.ledger import door_actor
from tasks.proofs import sign_ssh
from tests.flows.far_sides import FarSide

TICK_SECONDS = 0.05


def until(
    found: Callable[[], Any], seconds: float = 60.0, *, what: str = "it", tell: Callable[[], str] = lambda: ""
) -> Any:
    """Poll until something is found; fail, and tell what there is instead, when it is too late."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(TICK_SECONDS)
    return pytest.fail(f"not within {seconds:.0f} s: {what}\n{tell()}")


class People:
    """What people do on a ground, whatever it is."""

    home: Path
    sides: dict[str, FarSide]
    installation: Installation
    reissued: set[str]
    """Incidents after which an operator gave the agent a new token."""

    @cached_property
    def calls(self) -> EngineCalls:
        """Prefect's API, as anybody with its credential may call it."""
        return EngineCalls(self.home)

    def runs(self, incident: str) -> list[dict[str, Any]]:
        """Runs of the response, oldest first; reviews are not among them."""
        tags = {"flow_runs": {"tags": {"all_": [f"incident:{incident}"]}}}
        found: list[dict[str, Any]] = self.calls.call("POST", "/flow_runs/filter", tags)
        return sorted((run for run in found if "review" not in run["tags"]), key=lambda run: str(run["created"]))

    def resume(self, run_id: str, **answer: str) -> str:
        """Answer the form of a waiting run; returns the engine's answer."""
        answered = self.calls.call("POST", f"/flow_runs/{run_id}/resume", {"run_input": answer})
        return str(answered["status"])

    def choice(self, run_id: str, field_name: str, name: str) -> str:
        """The line of a list in the waiting form that begins with this name."""
        inputs: list[dict[str, str]] = self.calls.call(
            "POST", f"/flow_runs/{run_id}/input/filter", {"prefix": "suspended-", "limit": 200}
        )
        schemas = [json.loads(one["value"]) for one in inputs if str(one["key"]).endswith("-schema")]
        lines = [line for schema in schemas for line in schema["properties"][field_name].get("enum", [])]
        return next(str(line) for line in lines if str(line).partition(":")[0] == name)

    def open_requests(self, incident: str) -> list[ApprovalRequest]:
        """Requests of this incident that wait."""
        return [request for request, _ in waiting(self.installation, lambda r: r.incident == incident)]

    def help(self, incident: str) -> None:
        """Whoever is needed approves, with a signature of their own; an operator replaces a revoked token."""
        if not self.installation.store.entries(incident, types=(EntryType.INCIDENT_OPENED,)):
            return
        answered = False
        for request in self.open_requests(incident):
            people = sorted(eligible(self.installation, request), key=lambda name: name in request.acted_before)
            for person in people:
                if verdict_on(self.installation, request).still_needed == 0:
                    break
                self.decide(request, person)
                answered = True
        if answered:
            self.ring(incident)
        side = self.sides.get(self.installation.incident(incident).system)
        if side is not None and self._token_is_missed(incident):
            side.world.reissue_agent_token()
            self.reissued.add(incident)

    def _token_is_missed(self, incident: str) -> bool:
        return incident not in self.reissued and any(
            e.body.get("again") and e.body["action"] == "agent-token"
            for e in self.installation.store.entries(incident, types=(EntryType.PROBES_JUDGED,))
        )

    def decide(self, request: ApprovalRequest, person: str, answer: Answer = Answer.APPROVE) -> None:
        """One person's signed decision."""
        statement = statement_for(self.installation, request, answer, person, "seen and judged")
        signature = sign_ssh(statement, practice.key_file(self.home, person))
        submit_decision(self.installation, statement, door=door_actor("test"), signature=signature)

    def ring(self, incident: str) -> None:
        """Wake the waiting run, if the engine is there to do it."""
        with contextlib.suppress(EngineUnreachable):
            for run in self.runs(incident):
                if run["state"]["type"] == "PAUSED":
                    self.resume(str(run["id"]))

    def code(self, person: str) -> str:
        """What this person's authenticator shows now."""
        return pyotp.TOTP((self.home / "people" / f"{person}.code").read_text().strip()).now()
