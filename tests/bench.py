"""How fast it is, measured on the real thing: `python -m tests.bench [NAME …]` prints one JSON object.

A measurement is a function that returns JSON; put it on the list and it is measured.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from runbooks.domain.value import Json
from tests import bench_classification, bench_correlation, bench_evidence, bench_intake, bench_memory

Measurement = Callable[[], dict[str, Json]]
APPROVALS = 12


def percentiles(milliseconds: list[int]) -> dict[str, Json]:
    """p50, p95 and all of them, in milliseconds."""
    ordered = sorted(milliseconds)
    at95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)) - 1)] if ordered else 0
    return {
        "n": len(ordered),
        "p50_ms": round(statistics.median(ordered)),
        "p95_ms": at95,
        "all_ms": list(milliseconds),
    }


def approval() -> dict[str, Json]:
    """From the decision's entry to the receipt's entry, through `quell approve`, the bell and the warm worker."""
    from flows.doors.drill import command
    from runbooks.domain.instants import milliseconds_between
    from runbooks.domain.ledger import EntryType
    from tests.attacks.ground import standing, until
    from tests.attacks.on_acts import give_back

    took: list[int] = []
    with tempfile.TemporaryDirectory(prefix="quell-bench-") as folder, standing(Path(folder) / "home") as ground:
        os.environ["QUELL_HOME"] = str(ground.home)
        for _ in range(APPROVALS):
            incident = ground.declare()
            request = ground.request(incident)
            since = 0
            for person in ("ana", "cleo"):  # the second decides; the run waits again when they answer
                ground.gate(incident, since)
                since = ground.installation.store.size()
                command("approve", request.id, "--as", person, "--key", str(ground.key(person)), "--reason", "bench")
            done = until(lambda i=incident: ground.entries(i, EntryType.EFFECT_APPLIED), "it is applied", 30)[0]  # type: ignore[misc]
            decided = ground.entries(incident, EntryType.DECISION_RECORDED)[-1]
            took.append(milliseconds_between(decided.at, done.at))
            ground.gate(incident, done.index)
            give_back(ground, incident, "refund-tool")
    return {"goal_p95_ms": 500, **percentiles(took)}


MEASUREMENTS: dict[str, Measurement] = {
    "approval": approval,
    **bench_evidence.MEASUREMENTS,
    **bench_classification.MEASUREMENTS,
    **bench_intake.MEASUREMENTS,
    **bench_correlation.MEASUREMENTS,
    "memory": bench_memory.memory,
}


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main(names: list[str]) -> int:
    """Measure these, or all."""
    unknown = sorted(set(names) - set(MEASUREMENTS))
    if unknown:
        print(f"expected of {', '.join(MEASUREMENTS)}; found {', '.join(unknown)}", file=sys.stderr)
        return 2
    found = {name: MEASUREMENTS[name]() for name in names or MEASUREMENTS}
    machine = {
        "cores": os.cpu_count(), "processor": _processor(), "load": f"{os.getloadavg()[0]:.1f}",
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "system": platform.platform(), "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps({"machine": machine, **found}, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
