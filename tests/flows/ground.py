"""The ground on which whole responses run: one practice home, everything up, and the hands of monitors and responders.

Nothing here imports Prefect's client or changes this process's environment: it talks to the engine over REST, as anybody may.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyotp
import pytest

from examples.support_agent import attacks, world
from flows.doors import practice
from flows.doors.engine_server import EngineCalls, EngineUnreachable
from flows.doors.processes import alive, start_mark
from flows.doors.up import UpStatus, attach, start_in_background, stop
from runbooks.domain.approval import Answer, ApprovalRequest
from runbooks.domain.configuration import System
from runbooks.domain.containment import Receipt
from runbooks.domain.incident import Archetype, Report
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.approval import eligible, verdict_on, waiting
from tasks.decisions import statement_for, submit_decision
from tasks.incident import open_incident, with_floors
from tasks.installation import Installation, open_installation
from tasks.ledger import INSTALLATION, clock, door_actor
from tasks.presence import lease_name
from tasks.proofs import sign_ssh
from tests.flows.far_sides import FarSide, whole

UP_SECONDS = 240
RESPONSE_SECONDS = 120
TICK_SECONDS = 0.05
CACHE_SECONDS = 1.0
COMMANDS = {
    name: [sys.executable, "-m", "flows.doors.cli", verb] for name, verb in (("worker", "work"), ("keeper", "keep"))
}
SEEN = {
    Archetype.PROMPT_INJECTION: "A ticket made the agent refund 5,000 to a stranger.",
    Archetype.AGENTIC_MISALIGNMENT: "The agent refunds everybody in the order book.",
    Archetype.UNCLASSIFIED: "Something is odd.",
}


@dataclass
class Ground:
    """One practice home. `sides` are worlds, by system; `papers` systems on paper."""

    home: Path
    sides: dict[str, FarSide]
    papers: dict[str, System]
    installation: Installation = field(init=False)

    def __post_init__(self) -> None:
        self.installation = open_installation(self.home)
        configuration = whole(self.home, list(self.sides.values()), self.papers)
        self.installation.activate(configuration, INSTALLATION, {"proof": "a test's own configuration"})

    # The engine.

    def up(self) -> UpStatus:
        """Start everything, or find it running."""
        self.__dict__.pop("calls", None)
        return start_in_background(self.home, UP_SECONDS, commands=COMMANDS)

    @cached_property
    def calls(self) -> EngineCalls:
        """Prefect's API, as anybody with its credential may call it."""
        return EngineCalls(self.home)

    def runs(self, incident: str) -> list[dict[str, Any]]:
        """Runs of the response, oldest first; reviews are not among them."""
        tags = {"flow_runs": {"tags": {"all_": [f"incident:{incident}"]}}}
        found: list[dict[str, Any]] = self.calls.call("POST", "/flow_runs/filter", tags)
        return sorted((run for run in found if "review" not in run["tags"]), key=lambda run: str(run["created"]))

    def start(self, flow: str, start: dict[str, Any], **more: Any) -> str:
        """Start a run of this flow from its form; returns the run's id."""
        deployment = self.calls.call("GET", f"/deployments/name/{flow.replace('_', '-')}/{flow}")["id"]
        body = {"parameters": {"start": start}, **more}
        run_id: str = self.calls.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"]
        return run_id

    def force(self, run_id: str, state: str) -> str:
        """Set a state as somebody with the engine's credential would; returns the engine's answer."""
        body = {"state": {"type": state, "message": "forced"}, "force": True}
        return str(self.calls.call("POST", f"/flow_runs/{run_id}/set_state", body)["status"])

    def resume(self, run_id: str, **answer: str) -> str:
        """Answer the form of a waiting run; returns the engine's answer."""
        return str(self.calls.call("POST", f"/flow_runs/{run_id}/resume", {"run_input": answer})["status"])

    def suspended(self, incident: str) -> str:
        """Wait until the newest run of the incident waits for people; returns its id."""

        def waits() -> str:
            newest = self.runs(incident)[-1:]
            return str(newest[0]["id"]) if newest and newest[0]["state"]["type"] == "PAUSED" else ""

        return until(waits, what=f"{incident} waits for people")

    # Incidents.

    def open(self, system: str, archetype: Archetype = Archetype.PROMPT_INJECTION, **more: Any) -> str:
        """Open an incident as a monitor's door does, and start its response; returns its id."""
        place = self.installation
        run = bool(more.pop("run", True))
        report = Report(
            **{
                "system": system, "what_happened": SEEN[archetype], "reporter": "monitor", "reporter_proven": True,
                "lead": "ana", "noticed_at": clock(), **more,
            }
        )  # fmt: skip
        floors = place.runbook(archetype, place.active()).severity_floors
        incident = open_incident(
            place, with_floors(report, floors), archetype, drill=True, opener=door_actor("test"),
            material=secrets.token_bytes(8),
        )  # fmt: skip
        if run:
            self.respond(incident.id, archetype)
        return incident.id

    def respond(self, incident: str, archetype: Archetype, name: str = "0") -> str:
        """Start a run of the response, the first one as the door would."""
        return self.start(
            archetype, {"incident": incident}, tags=[f"incident:{incident}", "drill"],
            idempotency_key=f"{incident}/{name}", name=f"{incident.lower()}-{name}",
        )  # fmt: skip

    def entries(self, incident: str, *types: EntryType) -> list[LedgerEntry]:
        """What the record holds."""
        return self.installation.store.entries(incident, types=types)

    def has(self, incident: str, kind: EntryType, **body: Any) -> bool:
        """Whether an entry of this type, with this in its body, stands."""
        return any(body.items() <= entry.body.items() for entry in self.entries(incident, kind))

    def wait(self, incident: str, kind: EntryType, seconds: float = RESPONSE_SECONDS, **body: Any) -> LedgerEntry:
        """Wait for an entry of this type, with this in its body; returns the newest."""
        until(lambda: self.has(incident, kind, **body), seconds, what=f"{kind} {body} of {incident}", tell=self.told(incident))
        return next(e for e in reversed(self.entries(incident, kind)) if body.items() <= e.body.items())

    def told(self, incident: str) -> Callable[[], str]:
        """The record so far, for a failure's message."""

        def tell() -> str:
            return "\n".join(f"{e.at} {e.type} {json.dumps(e.body)[:220]}" for e in self.entries(incident))

        return tell

    def ending(self, incident: str, seconds: float = RESPONSE_SECONDS, *, helped: bool = True) -> str:
        """Let responders answer (if they help) until the incident is closed; returns how it ended."""
        tick = (lambda: self.help(incident)) if helped else (lambda: None)

        def closed() -> bool:
            tick()
            return self.has(incident, EntryType.INCIDENT_CLOSED)

        until(closed, seconds, what=f"{incident} is closed", tell=self.told(incident))
        return str(self.entries(incident, EntryType.INCIDENT_CLOSED)[0].body["ending"])

    # People.

    def open_requests(self, incident: str) -> list[ApprovalRequest]:
        """Requests of this incident that wait."""
        return [request for request, _ in waiting(self.installation, lambda r: r.incident == incident)]

    def help(self, incident: str) -> None:
        """Whoever is needed approves, with a signature of their own; an operator replaces a revoked token."""
        answered = False
        for request in self.open_requests(incident):
            people = sorted(eligible(self.installation.active(), request), key=lambda name: name in request.acted_before)
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
            self._reissued.add(incident)

    _reissued: set[str] = field(default_factory=set)

    def _token_is_missed(self, incident: str) -> bool:
        return incident not in self._reissued and any(
            e.body.get("again") and e.body["action"] == "agent-token"
            for e in self.entries(incident, EntryType.PROBES_JUDGED)
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

    # What must always hold.

    def sound(self, incident: str) -> None:
        """The ledger is whole, and every effect has exactly one outcome."""
        assert self.installation.store.check() == []
        assert self.doubled(incident) == []

    def doubled(self, incident: str) -> list[str]:
        """Effects with more than one receipt, or with a receipt that stands for another effect."""
        found = self.entries(incident, EntryType.EFFECT_APPLIED, EntryType.EFFECT_UNDONE)
        keys = [str(entry.body["effect"]) for entry in found]
        receipts = {key: Receipt.from_bytes(self.installation.vault.get(e.subject["receipt"])) for key, e in zip(keys, found, strict=True)}
        return sorted({k for k in keys if keys.count(k) > 1} | {k for k, r in receipts.items() if r.effect_key != k})

    # Death.

    def worker_of(self, incident: str) -> tuple[int, str] | None:
        """Process id and run id of the process that holds the response now."""
        row = self.installation.store.lease_of(lease_name(incident))
        if row is None:
            return None
        _, _, pid, _, run = row.holder.split("/", 4)
        return (int(pid), run) if start_mark(int(pid)) else None

    def kill_everything(self) -> None:
        """`kill -9` of up and of everything that it started."""
        status = attach(self.home)
        assert status is not None, "nothing is up"
        tree = [(pid, start_mark(pid)) for pid in family(status.pid)]
        for pid, _ in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(alive(pid, mark) for pid, mark in tree), 20, what="everything is dead")


def family(pid: int) -> list[int]:
    """This process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            child, rest = stat.read_text().split(" ", 1)
            parents.setdefault(int(rest.rpartition(")")[2].split()[1]), []).append(int(child))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


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


def attacked(side: FarSide, archetype: Archetype) -> None:
    """Make the attack work on this world, and wait until it did."""
    before = attacks.ATTACKS["overbroad_goal" if archetype is Archetype.AGENTIC_MISALIGNMENT else "injected_ticket"](side.world)
    assert before.succeeded, "the attack must work before the response"


def attacked_again(side: FarSide, archetype: Archetype) -> int:
    """The very same attack for real once more; how many refunds the tool server's own book shows."""
    since = side.world.last_seq()
    if archetype is Archetype.AGENTIC_MISALIGNMENT:
        side.world.goal(attacks.overbroad_goal_text())
    else:
        text = attacks.render(attacks.attack_ticket()["text"], order=attacks.VICTIM_ORDER, customer=attacks.VICTIM_EMAIL)
        for number in range(4):
            side.world.ticket(f"again-{number}", attacks.VICTIM_EMAIL, text)
    return attacks.achieved(side.world, since).refunds


@contextlib.contextmanager
def standing(home: Path, papers: dict[str, System], seed: int = 7) -> Iterator[Ground]:
    """A ground with two worlds, everything up; all of it is gone afterwards."""
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(practice.prepare(home, seed, prompt_cache_seconds=CACHE_SECONDS))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        starting = pool.submit(
            world.start, home / "two", seed=seed + 1, prompt_version=2, prompt_cache_seconds=CACHE_SECONDS
        )
        stack.callback(stop, home)
        start_in_background(home, UP_SECONDS, commands=COMMANDS)
        two = stack.enter_context(starting.result())
        sides = {name: FarSide(name, far) for name, far in (("one", one), ("two", two))}
        for side in sides.values():
            stack.callback(side.close)
        yield Ground(home, sides, papers)


def fresh_sides(ground: Ground) -> None:
    """Both worlds as before any incident."""
    for side in ground.sides.values():
        side.reset()
