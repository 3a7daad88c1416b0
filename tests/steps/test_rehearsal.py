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


OPENED = """
import json, os, sys
from pathlib import Path
from tasks.installation import open_installation
from tasks.warming import as_configured, open_for_children
open_installation().activate_if_fresh()
open_for_children()
held = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.exists()]
print(json.dumps([one for one in held if "ledger" in one]))
sys.stdout.flush()
for _ in range(2):
    if (child := os.fork()) == 0:
        place = open_installation()
        place.active()
        place.keep(place.active())
        os._exit(0 if place.store.size() and not place.store.check() else 1)
    assert os.waitpid(child, 0)[1] == 0
print(json.dumps(open_installation().store.size()))
open_installation().settings.home.joinpath("config", "defaults.toml").write_text("worker_limit = 7")
if (child := os.fork()) == 0:
    as_configured()
    os._exit(0 if open_installation().settings.limits.worker_limit == 7 else 1)
assert os.waitpid(child, 0)[1] == 0, "what was changed since counts for the next run"
"""


def test_what_is_opened_for_children_leaves_no_connection_that_they_would_share(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    for name, told in (("people", ""), ("policy", "rights = []\n"), ("systems", "")):
        (home / "config" / f"{name}.toml").write_text(told)
    done = subprocess.run(
        [sys.executable, "-c", OPENED], env=os.environ | {"QUELL_HOME": str(home)}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    held, size = map(json.loads, done.stdout.splitlines())
    assert held == []
    assert size >= 2
