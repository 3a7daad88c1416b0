"""How fast it is, measured on the real thing: `python -m tests.bench [NAME …]` prints one JSON object.

A measurement is a function that returns JSON; put it on the list and it is measured.
"""

import json
import os
import platform
import sys
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
