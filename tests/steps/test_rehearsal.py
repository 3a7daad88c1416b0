"""What a process does before it is needed: it works, and it leaves nothing behind."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect.flows
import pytest
from prefect import flow
from prefect._internal.pydantic.validated_func import ValidatedFunction
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.events import Event
from prefect.exceptions import ParameterTypeError
from pydantic import ConfigDict

from tasks.rehearsal import rehearse
from tasks.warming import remember_signatures, warm


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
    assert Event.__pydantic_complete__


def test_the_model_of_a_flows_parameters_is_made_once_and_says_no_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Counted(ValidatedFunction):
        def __init__(self, function: Callable[..., Any], config: ConfigDict | None = None) -> None:
            made.append(function)
            super().__init__(function, config=config)

    monkeypatch.setitem(vars(prefect.flows), "ValidatedFunction", Counted)
    remember_signatures()
    remember_signatures()

    @flow(name="of a test")
    def counts(number: int) -> int:
        return number

    assert [counts.validate_parameters({"number": told}) for told in ("1", 2)] == [{"number": 1}, {"number": 2}]
    with pytest.raises(ParameterTypeError):
        counts.validate_parameters({"number": "many"})
    assert len(made) == 1


COLLECTED = """
import gc
from tasks.collecting import COLLECT_AFTER, collect_rarely
collect_rarely()
assert gc.get_freeze_count() > 1000 and gc.get_threshold() == COLLECT_AFTER and gc.isenabled()
"""


def test_what_stands_is_not_gone_through_again() -> None:
    subprocess.run([sys.executable, "-c", COLLECTED], check=True, timeout=120)


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
