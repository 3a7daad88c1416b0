"""Many processes at one ledger, killed ones too: nothing acknowledged is lost, nothing is written twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import merkle_root
from tasks.stores import _database, open_ledger
from tests.contracts.stores.postgresql import Cluster
from tests.contracts.stores.writer import NOW, a_draft

ROOT = Path(__file__).parents[2]
PROCESSES = 8


@contextmanager
def writing(what: str, url: str, processes: int, last: object) -> "Iterator[subprocess.Popen[str]]":
    """The writers, in a process group of their own so that all can be killed at once; gone afterwards."""
    group = subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.stores.writer", what, url, str(processes), str(last)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield group
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group.pid, signal.SIGKILL)
        group.wait()
        if group.stdout is not None:
            group.stdout.close()


def lines_of(group: "subprocess.Popen[str]") -> list[str]:
    said, _ = group.communicate(timeout=120)
    assert group.returncode == 0
    return said.splitlines()


def test_eight_processes_write_one_gapless_log(ledger_url: str) -> None:
    with writing("append", ledger_url, PROCESSES, 25) as group:
        said = lines_of(group)
    store = open_ledger(ledger_url)
    entries = store.entries()
    assert store.check() == []
    assert [entry.index for entry in entries] == list(range(PROCESSES * 25))
    assert sorted(said) == sorted(f"{entry.key} {entry.index}" for entry in entries)
    assert store.head() == (len(entries), merkle_root([entry.leaf for entry in entries]))


def test_killed_writers_lose_nothing_acknowledged(ledger_url: str) -> None:
    with writing("append", ledger_url, 4, 1_000_000) as group:
        assert group.stdout is not None
        said = [group.stdout.readline() for _ in range(100)]
        os.killpg(group.pid, signal.SIGKILL)
        rest, _ = group.communicate()
    acknowledged = {line for line in [*said, *rest.splitlines(keepends=True)] if line.endswith("\n")}
    store = open_ledger(ledger_url)
    known = {f"{entry.key} {entry.index}\n" for entry in store.entries()}
    assert len(acknowledged) >= 100
    assert acknowledged <= known
    assert store.check() == []
    for line in known - acknowledged:  # written, but nobody heard of it: the same key finds it again
        key = line.split()[0]
        assert store.append(a_draft(key), NOW) == store.find(key)
    assert store.append(a_draft("after"), NOW).index == len(known)


@pytest.mark.parametrize("what", ["claim", "lease"])
def test_exactly_one_of_eight_gets_it(ledger_url: str, what: str) -> None:
    with writing(what, ledger_url, PROCESSES, "effect") as group:
        said = lines_of(group)
    assert sorted(said) == ["1"] + ["held"] * (PROCESSES - 1)
    assert open_ledger(ledger_url).size() == (1 if what == "claim" else 0)


def test_a_forked_child_does_not_use_its_parents_connections(ledger_url: str) -> None:
    store = open_ledger(ledger_url)
    store.append(a_draft("parent"), NOW)
    child = os.fork()
    if child == 0:
        os._exit(store.append(a_draft("child"), NOW).index)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert store.append(a_draft("parent again"), NOW).index == 2
    assert store.check() == []


def test_threads_of_one_process_share_the_line(ledger_url: str) -> None:
    store = open_ledger(ledger_url)
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda n: store.append(a_draft(f"t{n}", f"INC-000{n % 3}"), NOW), range(80)))
    assert sorted(entry.index for entry in written) == list(range(80))
    assert store.check() == []


def test_a_locked_database_is_waited_for_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_database, "PATIENCE_SECONDS", 0.2)
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = open_ledger(url)
    engine = _database.connect(url)
    with engine.connect() as other, other.begin():
        with pytest.raises(LedgerError, match="locked"):
            store.append(a_draft("key"), NOW)
        assert store.size() == 0  # readers never wait
    engine.dispose()
    assert store.append(a_draft("key"), NOW).index == 0


@pytest.mark.postgres
def test_a_server_that_restarts_is_waited_for(cluster: Cluster) -> None:
    store = open_ledger(cluster.new_database())
    store.append(a_draft("before"), NOW)
    cluster.stop()
    cluster.start()
    assert store.append(a_draft("after"), NOW).index == 1
    assert store.check() == []


@pytest.mark.postgres
def test_a_server_without_the_database_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_database, "RECONNECT_SECONDS", 0.1)
    with pytest.raises(LedgerError, match="nowhere"):
        open_ledger(cluster.url("nowhere"))


@pytest.mark.postgres
def test_durability_switched_off_for_the_role_is_switched_on(cluster: Cluster) -> None:
    url = cluster.new_database()
    database = url.split("@/")[1].split("?")[0]
    cluster.execute(f"ALTER DATABASE {database} SET synchronous_commit TO off")
    cluster.execute(f"ALTER DATABASE {database} SET default_transaction_isolation TO 'repeatable read'")
    engine = _database.connect(url)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "read committed"
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "ledger.db", "sqlite:///file:x?mode=memory"]
)
def test_what_cannot_hold_a_ledger_is_refused(url: str) -> None:
    with pytest.raises(LedgerError):
        open_ledger(url)


def test_the_file_is_for_its_owner_only_and_written_through(tmp_path: Path) -> None:
    store = open_ledger(f"sqlite:///{tmp_path}/new/ledger.db")
    store.append(a_draft("key"), NOW)
    for file in (tmp_path / "new").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    engine = _database.connect(f"sqlite:///{tmp_path}/new/ledger.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
    engine.dispose()
