"""What a process does before it is needed: it works, and it leaves nothing behind."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from prefect.client.schemas.objects import FlowRun

from tasks.rehearsal import rehearse
from tasks.warming import warm


def counted() -> list[int]:
    """Open files and threads of this process after one rehearsal, and after one more."""
    found = []
    for _ in range(2):
        rehearse()
        found += [len(list(Path("/proc/self/fd").iterdir())), threading.active_count()]
    return found


def test_a_rehearsal_leaves_no_file_no_thread_and_no_connection(tmp_path: Path) -> None:
    """In a process of its own: what other tests left open is closed whenever it likes."""
    program = "import json; from tests.steps.test_rehearsal import counted; print(json.dumps(counted()))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    files, threads, files_again, threads_again = json.loads(done.stdout)
    assert (files_again, threads_again) == (files, threads)
    assert threads == 1
    assert list(tmp_path.iterdir()) == []


def test_warming_twice_is_as_good_as_once() -> None:
    assert warm() == []
    before = threading.active_count()
    assert warm() == []
    assert threading.active_count() == before
    assert FlowRun.__pydantic_complete__, "its making is not left to each run"
