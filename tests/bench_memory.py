"""How much memory it takes, each measured in a process of its own: sealing 2 GB, verifying a bundle."""

import inspect
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
    source = inspect.getsource(peak_mib) + "\natexit.register(lambda: print(peak_mib()))"
    begin = "import atexit, resource, sys\nfrom pathlib import Path\n"
    command = [sys.executable, "-c", f"{begin}{source}\n{program}", str(place), key]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    *said, peak = (done.stdout + done.stderr).splitlines()
    return {"says": "\n".join(said)[-400:], "peak_mib": int(peak)}


def peak_mib() -> int:
    """The most memory that this process had so far. Linux's ru_maxrss will not do: it is inherited from the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20


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
    before = peak_mib()
    began = time.perf_counter()
    sealed = seal(vault, source())
    took = round(time.perf_counter() - began, 3)
    peak = peak_mib()
    told = {"bytes": sealed.collection.bytes, "seconds": took, "peak_mib": peak, "growth_mib": peak - before}
    print(json.dumps(told))


if __name__ == "__main__":
    _seal_much(Path(sys.argv[1]))
