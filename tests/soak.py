"""Responses, over and over, while things die at random: `python -m tests.soak --minutes 10 --seed 1`.

Each round has four incidents at once: one on each of two practice worlds, two on paper. Each response's process is
killed a few times, at random instants of its work, and once a round the worker, the keeper, the server, or everything.
What happened at the far sides (counted outside quell) is then compared with the receipts in the record:

doubled   more effects than receipts      lost    fewer effects than receipts, or no sealed evidence
stuck     not closed in time              faults  of the whole ledger, `store.check()`

Exit 1 when anything is doubled, lost, stuck or faulty; the home is kept then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from examples.support_agent.supervisor import WorldError
from flows.doors.engine_server import EngineUnreachable
from flows.doors.up import attach
from runbooks.domain.containment import Receipt, Verb
from runbooks.domain.incident import Archetype
from runbooks.domain.ledger import EntryType
from tasks.ledger import clock
from tests.flows.ground import Ground, attacked, fresh_sides, standing
from tests.flows.killer import Kill, back_after, kill_worker
from tests.flows.papers import effects_on_paper, paper

PAPERS = ("sheet", "leaf")
PARTS = ("worker", "keeper", "server", "everything")
CLOSE_SECONDS = 420
WORK_SECONDS = 3.0
"""A response's process is killed at most so long after it began to work; so every attempt gets somewhere."""


@dataclass
class Doomed:
    """One incident of a round: how often its process still is to die, and when next."""

    incident: str
    system: str
    left: int
    due: float | None = None


@dataclass
class Soak:
    """The whole of it."""

    ground: Ground
    luck: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    resumed: int = 0

    def round(self) -> None:
        """Four incidents, until all are closed or it is too late."""
        ground, sides = self.ground, self.ground.sides
        fresh_sides(ground)
        for name in PAPERS:
            (ground.home / f"{name}.json").unlink(missing_ok=True)
        attacked(sides["one"], Archetype.PROMPT_INJECTION)
        attacked(sides["two"], Archetype.AGENTIC_MISALIGNMENT)
        before = {name: sides[name].counts() for name in ("one", "two")}
        doomed = [self._open(name, Archetype.PROMPT_INJECTION) for name in ("one", *PAPERS)]
        doomed.append(self._open("two", Archetype.AGENTIC_MISALIGNMENT))
        part, due = self.luck.choice(PARTS), time.monotonic() + self.luck.uniform(2, 25)
        deaths: list[tuple[str, Kill]] = []
        waiting, deadline = list(doomed), time.monotonic() + CLOSE_SECONDS
        while waiting and time.monotonic() < deadline:
            for one in waiting:
                with contextlib.suppress(EngineUnreachable):
                    ground.help(one.incident)
                deaths += [(one.incident, kill) for kill in self._maybe_kill(one)]
            if part and time.monotonic() >= due:
                self._kill_part(part)
                part = ""
            waiting = [one for one in waiting if not ground.has(one.incident, EntryType.INCIDENT_CLOSED)]
            time.sleep(0.01)
        for incident, kill in deaths:
            after = back_after(ground, incident, kill)
            self.resumed += after is not None
            self.slowest = max(self.slowest, (after or 0) / 1000)
        for one in doomed:
            self._judge(one, before.get(one.system))

    def _open(self, system: str, archetype: Archetype) -> Doomed:
        incident = self.ground.open(system, archetype, run=False)
        with contextlib.suppress(EngineUnreachable):
            self.ground.respond(incident, archetype)
        return Doomed(incident, system, self.luck.randint(1, 4))

    def _maybe_kill(self, one: Doomed) -> list[Kill]:
        if one.left and one.due is None and self.ground.worker_of(one.incident) is not None:
            one.due = time.monotonic() + self.luck.uniform(0, WORK_SECONDS)
        if one.due is None or time.monotonic() < one.due:
            return []
        one.due = None
        if not kill_worker(self.ground, one.incident):
            return []
        one.left -= 1
        self.kills["flow run"] += 1
        return [Kill("at random", clock(), self.ground.installation.store.size())]

    def _kill_part(self, part: str) -> None:
        status = attach(self.ground.home)
        self.kills[part] += 1
        if part == "everything" or status is None:
            if status is not None:
                self.ground.kill_everything()
            self.ground.up()
        else:
            os.kill(int(status.children[part]["pid"]), signal.SIGKILL)

    def _judge(self, one: Doomed, before: dict[str, int] | None) -> None:
        ground = self.ground
        closed = ground.entries(one.incident, EntryType.INCIDENT_CLOSED)
        self.endings[str(closed[0].body["ending"]) if closed else "open"] += 1
        self.found["stuck"] += not closed
        self.found["lost"] += not ground.has(one.incident, EntryType.EVIDENCE_SEALED)
        self.found["doubled"] += len(ground.doubled(one.incident))
        done = self._receipts(one.incident)
        if before is None:
            seen = {"paper": len(effects_on_paper(ground.home, one.system))}
            wanted = {"paper": sum(done.values())}
        else:
            seen = ground.sides[one.system].since(before)
            wanted = {
                "flag file written": done[Verb.DISABLE_TOOL], "label moved": done[Verb.ROLL_BACK_PROMPT],
                "client version": done[Verb.BLOCK_CLIENT],
            }  # fmt: skip
            self.found["lost"] += done[Verb.REVOKE_TOKEN] > seen.get("token revoked", 0)
        for what, number in wanted.items():
            self.found["doubled"] += max(0, seen.get(what, 0) - number)
            self.found["lost"] += max(0, number - seen.get(what, 0))

    def _receipts(self, incident: str) -> Counter[Verb]:
        """Effects that the record says were done, by verb; both doing and undoing."""
        done: Counter[Verb] = Counter()
        for entry in self.ground.entries(incident, EntryType.EFFECT_APPLIED, EntryType.EFFECT_UNDONE):
            receipt = Receipt.from_bytes(self.ground.installation.vault.get(entry.subject["receipt"]))
            done[receipt.verb] += not receipt.noop
        return done

    def table(self, seconds: float) -> str:
        """What came of it."""
        self.found["ledger faults"] = len(self.ground.installation.store.check())
        rows = [("minutes", f"{seconds / 60:.1f}")]
        rows += [(f"kills: {kind}", str(self.kills[kind])) for kind in ("flow run", *PARTS)]
        rows += [("incidents", str(self.endings.total()))]
        rows += [(f"  ended {ending}", str(number)) for ending, number in sorted(self.endings.items())]
        rows += [("resumed after a kill", str(self.resumed)), ("slowest to resume", f"{self.slowest:.1f} s")]
        rows += [(name, str(self.found[name])) for name in ("doubled", "lost", "stuck", "ledger faults")]
        rows += [("ledger entries", str(self.ground.installation.store.size()))]
        return "\n".join(f"{name:<22} {value:>9}" for name, value in rows)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no new round after so long (default 10)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the luck of the kills (default: the time)")
    args = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="quell-soak-")) / "home"
    began = time.monotonic()
    print(f"seed {args.seed}, home {home}", flush=True)
    try:
        with standing(home, {name: paper(home, name) for name in PAPERS}, seed=args.seed % 1000) as ground:
            soak = Soak(ground, random.Random(args.seed))  # noqa: S311 - luck that can be repeated
            while time.monotonic() - began < 60 * args.minutes or not soak.endings:
                soak.round()
                print(f"{time.monotonic() - began:6.0f} s  kills {dict(soak.kills)}  {dict(soak.endings)}", flush=True)
            print(soak.table(time.monotonic() - began))
    except WorldError as error:
        print(error, file=sys.stderr)
        return 3
    bad = any(soak.found.values())
    if bad:
        print(f"kept for looking at: {home}")
    else:
        shutil.rmtree(home.parent, ignore_errors=True)
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(main())
