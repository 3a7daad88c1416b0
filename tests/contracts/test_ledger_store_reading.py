"""An incident that was read is not read again while nobody has written, and never is anything old handed out."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.errors import LedgerError
from tasks.stores import open_ledger
from tasks.stores._prepared import Prepared
from tests.contracts.stores.writer import NOW, a_draft
from tests.contracts.test_ledger_store_damage import CHANGES, change

OF = "INC-0001"


@pytest.fixture
def url(ledger_url: str) -> str:
    store = open_ledger(ledger_url)
    for number in range(7):
        store.append(a_draft(f"k{number}", f"INC-000{number % 2}"), NOW)
    return ledger_url


@pytest.mark.parametrize("what", ["core", "leaf", "type", "time", "run", "middle deleted"])
def test_what_is_changed_under_a_process_that_has_read_it_is_noticed(url: str, what: str) -> None:
    reading = open_ledger(url)
    assert [entry.key for entry in reading.entries(OF)] == ["k1", "k3", "k5"]
    change(url, CHANGES[what])
    with pytest.raises(LedgerError, match="contradicts itself"):
        reading.entries(OF)


def test_what_others_and_we_ourselves_wrote_is_seen_at_once(url: str) -> None:
    reading, other = open_ledger(url), open_ledger(url)
    for number, writer in enumerate((other, reading, other, reading)):
        before = len(reading.entries(OF))
        writer.append(a_draft(f"new{number}", OF), NOW)
        assert [entry.key for entry in reading.entries(OF)][before:] == [f"new{number}"]


def test_what_is_handed_out_is_the_callers_own(url: str) -> None:
    reading = open_ledger(url)
    reading.entries(OF).clear()
    assert len(reading.entries(OF)) == 3


def test_a_closed_store_reads_again_what_was_written_meanwhile(url: str) -> None:
    reading = open_ledger(url)
    reading.entries(OF)
    reading.close()
    open_ledger(url).append(a_draft("meanwhile", OF), NOW)
    assert reading.entries(OF)[-1].key == "meanwhile"


def test_a_forked_child_reads_for_itself(url: str) -> None:
    reading = open_ledger(url)
    reading.entries(OF)
    told, tell = os.pipe()
    asked, ask = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(asked, 1)
        os.write(tell, reading.entries(OF)[-1].key.encode())
        os._exit(0)
    reading.append(a_draft("after the fork", OF), NOW)
    os.write(ask, b".")
    found = os.read(told, 100)
    os.waitpid(pid, 0)
    for end in (told, tell, asked, ask):
        os.close(end)
    assert found == b"after the fork"


CLOSED_MEANWHILE = """
import sys, threading, time
from tasks.stores import open_ledger
store, ended = open_ledger(sys.argv[1]), []
until = time.monotonic() + 0.6
def read():
    while time.monotonic() < until:
        assert len(store.entries("INC-0001")) == 3
    ended.append(1)
threads = [threading.Thread(target=read) for _ in range(3)]
for thread in threads: thread.start()
while time.monotonic() < until: store.close()
for thread in threads: thread.join()
sys.exit(0 if len(ended) == 3 else 1)
"""


def test_a_store_that_is_closed_while_others_read_takes_nobody_with_it(url: str) -> None:
    """SQLite ended the process with signal 11: a keeper that stops closes its ledger while its threads look."""
    ended = subprocess.run(
        [sys.executable, "-c", CLOSED_MEANWHILE, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_opening_it_again_in_one_process_ends_no_lock_of_the_first(tmp_path: Path) -> None:
    """POSIX: whoever closes a file ends all locks that the process has on it, SQLite's too."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    first = open_ledger(url)
    first.append(a_draft("one", OF), NOW)
    open_ledger(url)
    code = "import sys; from tasks.stores import open_ledger; s = open_ledger(sys.argv[1]); s.entries(); s.close()"
    subprocess.run([sys.executable, "-c", code, url], check=True, timeout=60)
    first.append(a_draft("two", OF), NOW)
    code = code.replace("s.entries()", "print([e.key for e in s.entries()])")
    seen = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True, timeout=60)
    assert seen.stdout.strip() == "['one', 'two']"


def test_nothing_is_read_twice_while_nobody_writes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    read = Prepared.all

    def counted(self: Prepared, cursor: Any, values: Any) -> list[Any]:
        asked.append(values)
        return read(self, cursor, values)

    monkeypatch.setattr(Prepared, "all", counted)
    reading = open_ledger(url)
    for _ in range(3):
        reading.entries(OF)
    assert len(asked) == (1 if url.startswith("sqlite") else 3)
    reading.take_lease("duty", holder="h", now=NOW, seconds=9, gone=lambda _: False)
    reading.entries(OF)
    assert len(asked) == (2 if url.startswith("sqlite") else 4)
