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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.support_agent import attacks, world
from flows.doors import practice
from flows.doors.processes import alive, start_mark
from flows.doors.up import UpStatus, attach, start_in_background, stop
from runbooks.domain.configuration import System
from runbooks.domain.containment import Receipt
from runbooks.domain.incident import Archetype, Origin, Report
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.incident import open_incident, with_floors
from tasks.installation import Installation, open_installation
from tasks.ledger import INSTALLATION, clock, door_actor
from tasks.presence import lease_name
from tests.flows.far_sides import FarSide, whole
from tests.flows.people import People, until

UP_SECONDS = 240
RESPONSE_SECONDS = 240
CACHE_SECONDS = 1.0
COMMANDS = {
    name: [sys.executable, "-m", "flows.doors.cli", verb]
    for name, verb in (("worker", "work"), ("keeper", "keep"), ("door", "door"), ("dispatcher", "dispatch"))
}
SEEN = {
    Archetype.PROMPT_INJECTION: "A ticket made the agent refund 5,000 to a stranger.",
    Archetype.AGENTIC_MISALIGNMENT: "The agent refunds everybody in the order book.",
    Archetype.UNCLASSIFIED: "Something is odd.",
}


@dataclass
class Ground(People):
    """One practice home. `sides` are worlds, by system (`half` and `none` are the same two with bad fixes); `papers` systems on paper."""

    home: Path
    sides: dict[str, FarSide]
    papers: dict[str, System]
    installation: Installation = field(init=False)
    unanswered: str = ""
    """An incident whose request nobody answers; asked at the very beginning."""
    reissued: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.installation = open_installation(self.home)
        configuration = whole(self.home, self.sides, self.papers)
        self.installation.activate(configuration, INSTALLATION, {"proof": "a test's own configuration"})

    # The engine.

    def up(self) -> UpStatus:
        """Start everything, or find it running."""
        self.__dict__.pop("calls", None)
        return start_in_background(self.home, UP_SECONDS, commands=COMMANDS)

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

    def suspended(self, incident: str) -> str:
        """Wait until the newest run of the incident waits for people; returns its id."""

        def waits() -> str:
            newest = self.runs(incident)[-1:]
            paused = bool(newest) and newest[0]["state"]["type"] == "PAUSED"
            return str(newest[0]["id"]) if paused and self._has_form(incident, str(newest[0]["id"])) else ""

        return str(until(waits, RESPONSE_SECONDS, what=f"{incident} waits for people", tell=self.told(incident)))

    def _has_form(self, incident: str, run: str) -> bool:
        """A run that suspends is paused a moment before its form is there, and nobody can resume it before."""
        forms = self.installation.store.entries(incident, types=(EntryType.RUN_SUSPENDED,))
        schema = f"suspended-{forms[-1].body['form']}-schema" if forms else ""
        found = self.calls.call("POST", f"/flow_runs/{run}/input/filter", {"prefix": "suspended-", "limit": 50})
        return schema in {str(one["key"]) for one in found}

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
            material=secrets.token_bytes(8), origin=Origin(source="monitor", fresh=True, delivery="none", received_at=clock()),
        )  # fmt: skip
        if run:
            self.respond(incident.id, archetype)
        return incident.id

    def respond(self, incident: str, archetype: Archetype, name: str = "0") -> str:
        """Start a run of the response, the first one as the door would."""
        return self.start(
            archetype, {"incident": incident, "system": "known", "what_happened": "known"}, tags=[f"incident:{incident}", "drill"],
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
        until(
            lambda: self.has(incident, kind, **body),
            seconds,
            what=f"{kind} {body} of {incident}",
            tell=self.told(incident),
        )
        return next(e for e in reversed(self.entries(incident, kind)) if body.items() <= e.body.items())

    def wait_since(self, incident: str, since: int, *types: EntryType) -> None:
        """Wait for an entry of one of these types that is newer than this size of the ledger."""
        until(
            lambda: any(entry.index >= since for entry in self.entries(incident, *types)), RESPONSE_SECONDS,
            what=f"{' or '.join(types)} of {incident}", tell=self.told(incident),
        )  # fmt: skip

    def told(self, incident: str) -> Callable[[], str]:
        """The record so far, for a failure's message."""

        def tell() -> str:
            return "\n".join(f"{e.at} {e.type} {json.dumps(e.body)[:220]}" for e in self.entries(incident))

        return tell

    def ending(
        self, incident: str, seconds: float = RESPONSE_SECONDS, *, helped: bool = True, also: Sequence[str] = ()
    ) -> str:
        """Let responders answer (if they help; `also` others) until the incident is closed; returns how it ended."""

        def closed() -> bool:
            for one in (incident, *also) if helped else ():
                self.help(one)
            return self.has(incident, EntryType.INCIDENT_CLOSED)

        until(closed, seconds, what=f"{incident} is closed", tell=self.told(incident))
        return str(self.entries(incident, EntryType.INCIDENT_CLOSED)[0].body["ending"])

    # What must always hold.

    def sound(self, incident: str) -> None:
        """The ledger is whole, and every effect has exactly one outcome."""
        assert self.installation.store.check() == []
        assert self.doubled(incident) == []

    def pages(self, incident: str) -> Counter[tuple[str, str]]:
        """How many pages of each kind each run of the response has."""
        runs = {"flow_run_id": {"any_": [str(run["id"]) for run in self.runs(incident)]}}
        found = self.calls.call("POST", "/artifacts/filter", {"artifacts": runs, "limit": 200})
        return Counter((str(one["key"]), str(one["flow_run_id"])) for one in found)

    def doubled(self, incident: str) -> list[str]:
        """Effects with more than one receipt, or with a receipt that stands for another effect."""
        found = self.entries(incident, EntryType.EFFECT_APPLIED, EntryType.EFFECT_UNDONE)
        keys = [str(entry.body["effect"]) for entry in found]
        receipts = {
            key: Receipt.from_bytes(self.installation.vault.get(e.subject["receipt"]))
            for key, e in zip(keys, found, strict=True)
        }
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


def attacked(side: FarSide, archetype: Archetype) -> None:
    """Make the attack work on this world, and wait until it did."""
    before = attacks.ATTACKS["overbroad_goal" if archetype is Archetype.AGENTIC_MISALIGNMENT else "injected_ticket"](
        side.world
    )
    assert before.succeeded, "the attack must work before the response"


def attacked_again(side: FarSide, archetype: Archetype) -> int:
    """The very same attack for real once more; how many refunds the tool server's own book shows."""
    since = side.world.last_seq()
    if archetype is Archetype.AGENTIC_MISALIGNMENT:
        side.world.goal(attacks.overbroad_goal_text())
    else:
        text = attacks.render(
            attacks.attack_ticket()["text"], order=attacks.VICTIM_ORDER, customer=attacks.VICTIM_EMAIL
        )
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
        sides = {"one": FarSide(one), "two": FarSide(two)}
        for side in sides.values():
            stack.callback(side.close)
        yield Ground(home, sides | {"half": sides["one"], "none": sides["two"]}, papers)


def fresh_sides(ground: Ground) -> None:
    """Both worlds as before any incident."""
    for side in set(ground.sides.values()):
        side.reset()
