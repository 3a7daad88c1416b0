"""How much memory it takes, each measured in a process of its own: sealing 2 GB, verifying a bundle."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from runbooks.domain.value import Json
from tasks.stores import open_vault
from tests.contracts.stores.vaults import seal

MEMORY_BYTES = 2 << 30
SCRIPT = "import runpy; sys.argv = [sys.argv[1] + '/verify.py', *sys.argv[1:]]; runpy.run_path(sys.argv[0], run_name='__main__')"
OURS = """from pathlib import Path
from runbooks.domain.checkpoint import VerifierKey
from tasks.bag import open_bag
from tasks.verification import verify_bundle
print(verify_bundle(open_bag(Path(sys.argv[1])), VerifierKey.read(sys.argv[2])).audit().sound)"""


def in_a_process(program: str, place: Path, key: str) -> dict[str, Json]:
    """What a program says, and the most memory that its process took, Python and all."""
    last = "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    command = [sys.executable, "-c", f"import atexit, resource, sys\n{last}\n{program}", str(place), key]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    *said, peak = (done.stdout + done.stderr).splitlines()
    return {
        "says": "\n".join(said)[-400:],
        "peak_mib": round(int(peak) / (2**20 if sys.platform == "darwin" else 1024)),
    }


def memory() -> dict[str, Json]:
    """The most memory that a process takes while it seals 2 GB: growth over what it had before."""
    with tempfile.TemporaryDirectory(prefix="quell-bench-") as folder:
        command = [sys.executable, "-m", "tests.bench_memory", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Json] = json.loads(done.stdout)
    return found


def _seal_much(place: Path) -> None:
    def source() -> Iterator[bytes]:
        block, total = os.urandom(1 << 20) + bytes(1 << 20), 0
        while total < MEMORY_BYTES:
            start = total // 65_536 % 1000 * 1000
            yield block[start : start + 65_536]
            total += 65_536

    vault = open_vault(str(place / "vault"), place / "keys")
    seal(vault, [os.urandom(1 << 20)] * 8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    sealed = seal(vault, source())
    took = round(time.perf_counter() - began, 3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({
        "bytes": sealed.collection.bytes, "seconds": took, "peak_mib": round(peak * unit / 2**20),
        "growth_mib": round((peak - before) * unit / 2**20),
    }))  # fmt: skip


if __name__ == "__main__":
    _seal_much(Path(sys.argv[1]))
