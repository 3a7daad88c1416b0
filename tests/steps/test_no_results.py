"""A run that fails leaves nothing on disk and no warning about a result: nobody keeps results."""

import asyncio
import logging
from pathlib import Path

import pytest
from prefect.results import ResultStore
from prefect.states import exception_to_failed_state

from flows.doors.no_results import NO_RESULTS


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.chdir(tmp_path)
    return ResultStore(result_storage=NO_RESULTS)


def test_what_a_failed_run_raised_is_kept_nowhere_and_nobody_is_warned(
    store: ResultStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        state = asyncio.run(exception_to_failed_state(ValueError("why"), result_store=store, write_result=True))
    assert state.is_failed()
    assert "why" in str(state.message)
    assert [record.getMessage() for record in caplog.records] == []
    assert list(tmp_path.iterdir()) == []


def test_a_synchronous_flow_keeps_nothing_either(store: ResultStore) -> None:
    record = store.create_result_record("returned", key="k")
    store.persist_result_record(record)
    with pytest.raises(ValueError, match="does not exist"):
        ResultStore(result_storage=NO_RESULTS).read(str(record.metadata.storage_key))
