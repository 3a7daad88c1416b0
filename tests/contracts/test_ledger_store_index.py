"""The index by type: it is only speed, and an older ledger gets it, or goes without."""

import pytest
from sqlalchemy import Connection, Index, create_engine, inspect, text

from runbooks.domain.ledger import EntryType
from tasks.stores import open_ledger
from tests.contracts.stores.writer import NOW, a_draft


def test_a_ledger_from_before_the_index_by_type_gets_it_and_reads_the_same(ledger_url: str) -> None:
    """Who asks for one type (an activation, of which every act asks) must not go through everybody's entries."""
    store = open_ledger(ledger_url)
    for number in range(4):
        kind = EntryType.EFFECT_CLAIMED if number % 2 else EntryType.CONFIGURATION_ACTIVATED
        store.append(a_draft(f"k{number}", None, kind=kind), NOW)
    before = store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
    store.close()
    engine = create_engine(ledger_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX quell_entries_by_type"))
    again = open_ledger(ledger_url)
    assert "quell_entries_by_type" in {one["name"] for one in inspect(engine).get_indexes("quell_entries")}
    engine.dispose()
    assert [entry.index for entry in before] == [0, 2]
    assert again.entries(types=(EntryType.CONFIGURATION_ACTIVATED,)) == before
    assert again.entries(types=(EntryType.CONFIGURATION_ACTIVATED,), since=1) == before[1:]
    assert again.entries(types=(EntryType.CONFIGURATION_ACTIVATED, EntryType.EFFECT_CLAIMED)) == again.entries()


def test_a_role_that_may_make_no_index_opens_an_older_ledger_all_the_same(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_ledger(ledger_url)
    store.append(a_draft("key"), NOW)
    store.close()

    def refused(self: Index, bind: Connection, **_: object) -> None:
        del self
        bind.execute(text("SELECT * FROM a_table_that_is_not_there"))

    monkeypatch.setattr(Index, "create", refused)
    again = open_ledger(ledger_url)
    assert [entry.key for entry in again.entries(types=(EntryType.EFFECT_APPLIED,))] == ["key"]
    again.append(a_draft("another"), NOW)
    assert (again.size(), again.check()) == (2, [])
