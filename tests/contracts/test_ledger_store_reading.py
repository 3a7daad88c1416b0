"""An incident that was read is not read again while nobody has written, and never is anything old handed out."""

import os
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
