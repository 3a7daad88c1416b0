"""How many signed deliveries a second the door takes, and how long the slowest wait, beside the bare limit in the same run.

wrk (from the distribution) sends the same signed body of 1.2 KB from 64 connections. Every 200 of the door is a row on
the disk, and that is counted afterwards.
"""

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runbooks.domain.value import Json
from tests.steps.doorstep import ROOT, a_door, furnish, signed

CONNECTIONS = 64
SECONDS = 6
ROUNDS = 3
BODY_BYTES = 1200
GOAL_OF_LIMIT, GOAL_P99_MS = 0.9, 25
LUA = 'wrk.method = "POST"\nwrk.body = {body}\nwrk.headers["Content-Type"] = "application/json"\n{headers}'
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def a_body() -> bytes:
    """An alert of 1.2 KB."""
    filler = json.dumps({"status": "firing", "labels": {"alertname": "Refunds", "system": "support-agent"}, "text": ""})
    return filler.replace('"text": ""', f'"text": "{"x" * (BODY_BYTES - len(filler))}"').encode()


def _worked(pid: int) -> float:
    """Seconds of processor time that a process took so far."""
    file = Path(f"/proc/{pid}/stat")
    if not file.exists():
        return 0.0  # not Linux: not measured
    fields = file.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(url: str, folder: Path, pid: int, connections: int = CONNECTIONS, seconds: int = SECONDS) -> dict[str, float]:
    """What wrk saw: requests a second, p50 and p99 in milliseconds, answers that were not 2xx, broken connections.

    Beside it the processor time per request, which a busy machine changes least.
    """
    body = a_body()
    lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in signed(body).items()]
    script = folder / "load.lua"
    before = _worked(pid)
    script.write_text(LUA.format(body=json.dumps(body.decode()), headers="\n".join(lines)))
    said = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    answered = int(re.findall(r"(\d+) requests in", said)[0])
    return {
        "per_second": float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]),
        **{f"p{at}_ms": float(n) * _MS[unit] for at, n, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", said)},
        "answered": answered, "cpu_us_each": round((_worked(pid) - before) / answered * 1e6),
        "refused": int(bad[1]) if bad else 0, "broken": sum(map(int, broken.groups())) if broken else 0,
    }  # fmt: skip


@contextmanager
def bare(*words: str) -> Iterator[tuple[str, int]]:
    """The bare server, in a process of its own; its address and number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tests.bench_bare", str(port), *words], cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/signals/detector", process.pid
    finally:
        process.terminate()
        process.wait(20)


def intake() -> dict[str, Json]:
    """Bare HMAC, bare HMAC with group commit, and the door, in turns."""
    rounds: dict[str, list[dict[str, float]]] = {"hmac": [], "hmac_and_commit": [], "door": []}
    with tempfile.TemporaryDirectory(prefix="quell-bench-") as name:
        folder = Path(name)
        with a_door(furnish(folder / "home")) as door:
            address = f"http://127.0.0.1:{door.port}/signals/detector"
            pid = door.process.pid
            load(address, folder, pid, seconds=1)
            for number in range(ROUNDS):
                with bare() as (url, other):
                    rounds["hmac"].append(load(url, folder, other))
                with bare(str(folder / f"bare-{number}.db")) as (url, other):
                    rounds["hmac_and_commit"].append(load(url, folder, other))
                rounds["door"].append(load(address, folder, pid))
            calm = load(address, folder, pid, connections=8, seconds=3)
            kept = len(door.kept)
    best = {key: max(found, key=lambda one: one["per_second"]) for key, found in rounds.items()}
    share = best["door"]["per_second"] / best["hmac_and_commit"]["per_second"]
    p99 = statistics.median(one["p99_ms"] for one in rounds["door"])
    answered = sum(one["answered"] for one in rounds["door"])
    return {
        "connections": CONNECTIONS, "body_bytes": BODY_BYTES, "best_of": ROUNDS, **best, "door_with_8_connections": calm,
        "share_of_limit": round(share, 3), "goal_share": GOAL_OF_LIMIT, "share_met": share >= GOAL_OF_LIMIT,
        "p99_ms": p99, "goal_p99_ms": GOAL_P99_MS, "p99_met": p99 <= GOAL_P99_MS,
        "every_answer_is_a_row": kept >= answered,
    }  # fmt: skip


MEASUREMENTS: dict[str, Callable[[], dict[str, Json]]] = {"intake": intake}
