"""What a process does before it is needed: it works, and it leaves nothing behind."""

import gc
import tempfile
import threading
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from tasks.rehearsal import rehearse
from tasks.warming import warm


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_rehearsal_leaves_no_file_no_thread_and_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rehearse()
    gc.collect()  # what other tests left open is not closed in between
    before = _open_files(), threading.active_count()
    rehearse()
    assert (_open_files(), threading.active_count()) == before
    assert list(tmp_path.iterdir()) == []


def test_warming_twice_is_as_good_as_once() -> None:
    assert warm() == []
    before = threading.active_count()
    assert warm() == []
    assert threading.active_count() == before
    assert FlowRun.__pydantic_complete__, "its making is not left to each run"
