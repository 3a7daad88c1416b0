"""How fast it is, measured on the real thing: `python -m tests.bench [NAME …]` prints one JSON object.

A measurement is a function that returns JSON; put it on the list and it is measured.
"""

import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from runbooks.domain.value import Json
from tests import bench_classification, bench_correlation, bench_evidence, bench_intake, bench_memory, bench_start

Measurement = Callable[[], dict[str, Json]]


MEASUREMENTS: dict[str, Measurement] = {
    **bench_start.MEASUREMENTS,
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
    found = {name: _measured(name) for name in names or MEASUREMENTS}
    machine = {
        "cores": os.cpu_count(), "processor": _processor(), "load": f"{os.getloadavg()[0]:.1f}",
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "system": platform.platform(), "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps({"machine": machine, **found}, indent=2))
    return 1 if any("failed" in one for one in found.values()) else 0


def _measured(name: str) -> dict[str, Json]:
    """What was found; a measurement that fails says so in its place, and costs nobody the others."""
    began = time.monotonic()
    try:
        found = MEASUREMENTS[name]()
    except Exception as error:  # noqa: BLE001  it is told in full, and makes the whole a failure
        traceback.print_exc()
        found = {"failed": f"{type(error).__name__}: {error}"}
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
