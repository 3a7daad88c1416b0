"""A disk without room: the ledger says so, keeps what it acknowledged, and goes on when there is room again."""

import resource
from pathlib import Path

import pytest

from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import Actor, ActorKind, Draft, EntryType
from tasks.stores import open_ledger
from tasks.stores.base import LedgerStore
from tests.contracts.stores.vaults import NOW

WHO = Actor(kind=ActorKind.KEEPER, name="keeper")


def _draft(number: int) -> Draft:
    return Draft(key=f"entry/{number}", type=EntryType.RUN_WOKEN, actor=WHO, body={"because": "x" * 20_000})


def _fill(store: LedgerStore) -> None:
    for number in range(1, 200):
        assert store.append(_draft(number), NOW).index == number


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    store = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    store.append(_draft(0), NOW)
    largest = max(file.stat().st_size for file in tmp_path.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 200_000, hard))  # no file can grow: as if the disk were full
    try:
        with pytest.raises(LedgerError) as raised:
            _fill(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    done = store.size() - 1
    assert done > 0
    assert raised.value.next_step
    again = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert [entry.key for entry in again.entries()] == [f"entry/{number}" for number in range(done + 1)]
    for one in (store, again):
        assert one.append(_draft(done + 1), NOW).index == done + 1
        assert one.check() == []
