"""How soon after a signal, or a decision, the harmful ability is gone: through door, Prefect, worker, connector and probe.

Each measured incident is on a system of its own; all of these are one practice agent, put back to how it was before each.
Beside quell's worker, in the same run, Prefect's own process worker starts the same deployments.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.doors import practice
from flows.doors.commands._bell import ring_bell
from flows.doors.door.address import door_url
from flows.doors.drill import opened_by
from flows.doors.engine_server import EngineCalls
from flows.doors.processes import start_mark
from flows.doors.sender import send
from flows.doors.up import attach, start_in_background, stop
from flows.doors.worker_line import socket_of
from runbooks.domain.approval import Answer
from runbooks.domain.instants import Instant, instant_from_ns, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.severity import Severity
from runbooks.domain.value import Json
from tasks.approval import eligible, requests_of, verdict_on
from tasks.decisions import statement_for, submit_decision
from tasks.installation import Installation, open_installation
from tasks.ledger import INSTALLATION, door_actor
from tasks.proofs import sign_ssh
from tasks.settings import load_configuration, load_settings
from tests.bench_worker import stock_worker
from tests.flows.far_sides import FarSide
from tests.flows.ground import COMMANDS
from tests.flows.papers import paper
from tests.flows.people import until
from tests.steps.test_telling import Receiver

STARTS, COLD, STOCK_STARTS = 20, 2, 3
"""Measured starts; those before them, which find caches cold; those of the stock worker."""
BURST, STORM = 30, 10_000
QUIET_SECONDS = 20
GOAL_P95_MS, GOAL_FIRST_S, GOAL_LAST_S = 500, 1.0, 5.0
LABEL = "mass-tool-use"


def percentiles(milliseconds: list[int]) -> dict[str, Json]:
    """p50, p95 and all of them, in milliseconds."""
    ordered = sorted(milliseconds)
    at95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)) - 1)] if ordered else 0
    return {
        "n": len(ordered), "p50_ms": round(statistics.median(ordered)) if ordered else 0, "p95_ms": at95,
        "all_ms": list(milliseconds),
    }  # fmt: skip


@dataclass
class Ground:
    """Everything up, one practice agent behind many systems, and systems on paper."""

    home: Path
    place: Installation
    side: FarSide

    def signal(self, system: str, **more: object) -> str:
        """One signed webhook, as the agent's monitor sends it; returns the receipt."""
        data = {"system": system, "labels": [LABEL], "text": "it refunds everybody", **more}
        url, secret = f"{door_url(self.home)}/signals/{practice.MONITOR}", practice.monitor_secret(self.home)
        return str(json.loads(send(url, secret, "tool_use.mass", data))["receipt"])

    def entries(self, incident: str, *types: EntryType) -> list[LedgerEntry]:
        return self.place.store.entries(incident, types=types)

    def wait(self, incident: str, kind: EntryType, seconds: float = 120, **body: Json) -> LedgerEntry:
        """The first entry of this kind with this in its body, once it stands."""

        def found() -> list[LedgerEntry]:
            return [one for one in self.entries(incident, kind) if body.items() <= one.body.items()]

        first: LedgerEntry = until(found, seconds, what=f"{kind} of {incident}")[0]
        return first

    def approve(self, incident: str, step: str) -> Instant:
        """Everybody who is needed says yes to this act; the instant of the deciding answer. The bell is rung after it."""
        request = next(one for one in requests_of(self.place, incident) if one.step == step)
        for person in eligible(self.place, request):
            statement = statement_for(self.place, request, Answer.APPROVE, person, "bench")
            signature = sign_ssh(statement, practice.key_file(self.home, person))
            submit_decision(self.place, statement, door=door_actor("bench"), signature=signature)
            if verdict_on(self.place, request).still_needed == 0:
                break
        ring_bell(self.place, incident)  # as `quell approve` does
        return self.entries(incident, EntryType.DECISION_RECORDED)[-1].at


@contextmanager
def standing(systems: tuple[str, ...], papers: tuple[str, ...] = (), pager: str = "") -> Iterator[Ground]:
    """All of it, gone afterwards. What policy pre-authorises holds for all these systems. `pager`: who hears of openings."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quell-bench-"))) / "home"
        world = stack.enter_context(practice.prepare(home, 7, prompt_cache_seconds=1.0))
        os.environ["QUELL_HOME"] = str(home)
        (home / "config" / "defaults.toml").write_text("")  # the limits that are shipped, not a drill's shorter ones
        side = FarSide(world)
        stack.callback(side.close)
        place, base = open_installation(home), load_configuration(load_settings(home))
        rule = base.policy.preauthorised[0].model_copy(
            update={"systems": (*systems, *papers), "incidents_per_hour": 1000}
        )
        (home / "secrets" / "pager").write_text(pager)
        told: dict[str, object] = {
            "channels": {"pager": "file:secrets/pager"}, "opening_channels": dict.fromkeys(Severity, ("pager",)),
        }  # fmt: skip
        configuration = base.model_copy(
            update={
                "systems": dict.fromkeys(systems, base.systems["support-agent"])
                | {name: paper(home, name) for name in papers},
                "policy": base.policy.model_copy(update={"preauthorised": (rule,)} | (told if pager else {})),
            }
        )
        place.activate(configuration, INSTALLATION, {"proof": "a bench's own configuration"})
        stack.callback(stop, home)
        start_in_background(home, 240, commands=COMMANDS)
        until(socket_of(home).exists, what="the worker listens")
        yield Ground(home, place, side)


def start() -> dict[str, Json]:
    """Signed POST to the first act probed effective, and a decision to its act, with both workers in one run."""
    ours = tuple(f"agent-{number}" for number in range(COLD + STARTS))
    theirs = tuple(f"stock-{number}" for number in range(STOCK_STARTS))
    with standing((*ours, *theirs)) as ground:
        effective, applied = _measured(ground, ours)
        with stock_worker(ground.home, "agentic_misalignment"):
            effective_stock, applied_stock = _measured(ground, theirs)
        drawn = tasks_drawn(ground.home)
    found = percentiles(effective[COLD:])
    decided = percentiles(applied[COLD:])
    return {
        "signed_post_to_probed_effective": found, "goal_p95_ms": GOAL_P95_MS,
        "met": int(str(found["p95_ms"])) <= GOAL_P95_MS, "cold_ms": list(effective[:COLD]),
        "tasks_drawn": drawn, "decision_to_applied": decided, "decision_met": int(str(decided["p95_ms"])) <= GOAL_P95_MS,
        "stock_process_worker": {
            "signed_post_to_probed_effective": percentiles(effective_stock),
            "decision_to_applied": percentiles(applied_stock),
        },
    }  # fmt: skip


def tasks_drawn(home: Path) -> int:
    """Tasks that Prefect shows: a response that tells it nothing is quick, and no response."""
    drawn = int(EngineCalls(home).call("POST", "/task_runs/count", {}))
    if not drawn:
        raise RuntimeError("Prefect shows no task of any response: what was measured is not what people get")
    return drawn


def _measured(ground: Ground, systems: tuple[str, ...]) -> tuple[list[int], list[int]]:
    """For each system: milliseconds from sending to the first act that is known to be effective; from decision to act."""
    effective, applied = [], []
    for system in systems:
        ground.side.reset()
        time.sleep(1.0)  # the agent's caches have seen it, and the last response sleeps
        began = instant_from_ns(time.time_ns())
        incident = opened_by(ground.place, ground.signal(system))
        effective.append(
            milliseconds_between(began, ground.wait(incident, EntryType.PROBES_JUDGED, status="effective").at)
        )
        ground.wait(incident, EntryType.RUN_SUSPENDED)
        time.sleep(1.0)
        decided = ground.approve(incident, "system-prompt")
        act = ground.wait(incident, EntryType.EFFECT_APPLIED, action="system-prompt")
        applied.append(milliseconds_between(decided, act.at))
        ground.wait(incident, EntryType.RUN_SUSPENDED, form="gate-1")
    return effective, applied


def burst() -> dict[str, Json]:
    """So many different incidents at once: from the first sending to the first and to the last run that responds."""
    names = tuple(f"burst-{number}" for number in range(BURST))
    with standing((), ("warm-up", *names)) as ground:
        ground.wait(opened_by(ground.place, ground.signal("warm-up")), EntryType.INCIDENT_CLOSED)
        began = instant_from_ns(time.time_ns())
        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(ground.signal, names))
        incidents = [opened_by(ground.place, receipt) for receipt in receipts]
        starts = [milliseconds_between(began, ground.wait(one, EntryType.RUN_STARTED).at) / 1000 for one in incidents]
        proofs = [milliseconds_between(began, ground.wait(one, EntryType.PROBES_JUDGED).at) / 1000 for one in incidents]
        runs = sum(len({e.flow_run_id for e in ground.entries(one, EntryType.RUN_STARTED)}) for one in incidents)
        drawn = tasks_drawn(ground.home)
    return {
        "incidents": len(set(incidents)), "runs": runs, "tasks_drawn": drawn, "first_start_s": min(starts), "last_start_s": max(starts),
        "first_proven_s": min(proofs), "last_proven_s": max(proofs), "lost": BURST - len(set(incidents)),
        "goal_first_s": GOAL_FIRST_S, "goal_last_s": GOAL_LAST_S,
        "met": min(starts) <= GOAL_FIRST_S and max(starts) <= GOAL_LAST_S,
    }  # fmt: skip


def storm() -> dict[str, Json]:
    """Ten thousand alerts of one cause: how many incidents, runs and pages they become. A pager of our own counts."""
    pager = Receiver()
    with standing(("storm",), (), pager.address) as ground, ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        receipts = list(pool.map(lambda number: ground.signal("storm", alert=f"a-{number % 100}"), range(STORM)))
        sent = time.monotonic() - began
        # which of the first eight it was that opened it is not for us to say
        incident = str(until(lambda: _opened(ground.place), what="an incident")[0].incident)

        def counted() -> bool:
            seen = ground.entries(incident, EntryType.SIGNAL_RECEIVED)
            return bool(seen) and int(seen[-1].body["signals"]) == STORM

        until(counted, 300, what="every signal is counted")
        took = time.monotonic() - began
        opened = _opened(ground.place)
        runs = {entry.flow_run_id for entry in ground.entries(incident, EntryType.RUN_STARTED)}
    pager.close()
    return {
        "alerts": len(set(receipts)), "incidents": len(opened), "runs": len(runs), "pages": len(pager.heard),
        "sent_s": round(sent, 1), "counted_s": round(took, 1),
        "met": (len(set(receipts)), len(opened), len(runs), len(pager.heard)) == (STORM, 1, 1, 1),
    }  # fmt: skip


def _opened(place: Installation) -> list[LedgerEntry]:
    return place.store.entries(types=(EntryType.INCIDENT_OPENED,))


def idle() -> dict[str, Json]:
    """What each process costs while nothing happens: percent of one core, and megabytes."""
    with standing((), ("nothing",)) as ground:
        status = attach(ground.home)
        assert status is not None
        pids = {name: int(child["pid"]) for name, child in status.children.items()}
        time.sleep(QUIET_SECONDS)  # the start itself is over
        before = {name: sum(map(_worked, _family(pid))) for name, pid in pids.items()}
        time.sleep(QUIET_SECONDS)
        return {
            name: {
                "core_percent": round(100 * (sum(map(_worked, _family(pid))) - before[name]) / QUIET_SECONDS, 1),
                "megabytes": round(sum(map(_private, _family(pid))) / 1024),
            }
            for name, pid in pids.items()
        }


def _family(pid: int) -> list[int]:
    from tests.flows.ground import family

    return [one for one in family(pid) if start_mark(one)]


def _worked(pid: int) -> float:
    """Seconds of processor time, with those of children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _private(pid: int) -> int:
    """Kilobytes, what is shared between forked processes divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


MEASUREMENTS: dict[str, Callable[[], dict[str, Json]]] = {
    "start": start, "burst": burst, "storm": storm, "idle": idle,
}  # fmt: skip
