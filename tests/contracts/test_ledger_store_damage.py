"""Somebody with the database in their hands changes it: what the ledger store notices by itself, and what it cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import EntryType, leaf_hash
from runbooks.domain.value import canonical
from tasks.stores import _database, open_ledger
from tasks.stores._schema import entries, head
from tests.contracts.stores.writer import NOW, a_draft

COUNT = 7
LAST = COUNT - 1


def change(url: str, work: Callable[[Connection], Any]) -> Any:
    engine = _database.connect(url)
    try:
        return _database.transact(engine, work)
    finally:
        engine.dispose()


@pytest.fixture
def url(ledger_url: str) -> str:
    store = open_ledger(ledger_url)
    for number in range(COUNT):
        store.append(a_draft(f"k{number}", f"INC-000{number % 2}"), NOW)
    return ledger_url


def at(index: int, **values: Any) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(update(entries).where(entries.c.index == index).values(**values))


def without(index: int) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(delete(entries).where(entries.c.index == index))


def swapped(connection: Connection) -> None:
    for old, new in ((2, 100), (4, 2), (100, 4)):
        connection.execute(update(entries).where(entries.c.index == old).values(index=new))


def forged(connection: Connection) -> None:
    """An entry with another decision and a leaf hash that fits it."""
    core = connection.execute(select(entries.c.core).where(entries.c.index == 3)).scalar_one()
    other = bytes(core).replace(b"effect_applied", b"effect_refused")
    connection.execute(
        update(entries).where(entries.c.index == 3).values(core=other, leaf=leaf_hash(other), type="effect_refused")
    )


CHANGES = {
    "core": at(3, core=canonical({"type": "effect_applied"})),
    "core no JSON": at(3, core=b"\xff"),
    "leaf": at(3, leaf="sha256:" + "0" * 64),
    "leaf no digest": at(3, leaf="none"),
    "a forged entry": forged,
    "type": at(3, type=EntryType.EFFECT_REFUSED.value),
    "incident": at(3, incident="INC-0009", incident_seq=0),
    "time": at(3, at=NOW.replace("2026", "2025")),
    "run": at(3, flow_run_id="another"),
    "first deleted": without(0),
    "middle deleted": without(3),
    "last deleted": without(LAST),
    "swapped": swapped,
    "head size": lambda c: c.execute(update(head).values(size=COUNT - 1)),
    "head root": lambda c: c.execute(update(head).values(root="sha256:" + "0" * 64)),
    "head frontier": lambda c: c.execute(update(head).values(frontier=bytes(96))),
    "head deleted": lambda c: c.execute(delete(head)),
    "head layout": lambda c: c.execute(update(head).values(layout=2)),
    "all deleted": lambda c: c.execute(delete(entries)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_database_is_found_by_the_check(url: str, what: str) -> None:
    assert open_ledger(url).check() == []
    change(url, CHANGES[what])
    assert open_ledger(url, even_forked=True).check() != []


@pytest.mark.parametrize("what", [name for name in CHANGES if name not in ("type", "incident", "time", "run")])
def test_what_was_changed_between_two_starts_is_found_by_the_next(url: str, what: str) -> None:
    """The columns that only repeat the core are compared whenever an entry is read."""
    open_ledger(url).demand_whole()
    change(url, CHANGES[what])
    with pytest.raises(LedgerError, match="contradicts itself"):
        open_ledger(url, even_forked=True).demand_whole()


@pytest.mark.parametrize("what", ["core", "leaf", "type", "incident", "time", "run"])
def test_a_changed_entry_is_not_handed_out(url: str, what: str) -> None:
    change(url, CHANGES[what])
    with pytest.raises(LedgerError, match=r"entry 3"):
        open_ledger(url).entries()
    with pytest.raises(LedgerError, match=r"entry 3"):
        open_ledger(url).find("k3")


def test_an_incident_with_a_hole_is_not_handed_out(url: str) -> None:
    change(url, without(3))
    with pytest.raises(LedgerError, match="taken out"):
        open_ledger(url).entries("INC-0001")
    assert len(open_ledger(url).entries("INC-0000")) == 4


@pytest.mark.parametrize("what", ["last deleted", "head size", "head deleted", "head layout", "all deleted"])
def test_a_forked_ledger_does_not_open_and_is_not_written(url: str, what: str) -> None:
    change(url, CHANGES[what])
    with pytest.raises(LedgerError):
        open_ledger(url)
    with pytest.raises(LedgerError):
        open_ledger(url, even_forked=True).append(a_draft("new"), NOW)


@pytest.mark.parametrize("what", ["head root", "head frontier"])
def test_a_changed_head_is_never_built_upon(url: str, what: str) -> None:
    change(url, CHANGES[what])
    with pytest.raises(LedgerError, match="head"):
        open_ledger(url, even_forked=True).append(a_draft("new"), NOW)


def test_a_rollback_under_a_running_process_is_noticed_even_when_others_wrote_on(url: str) -> None:
    watching = open_ledger(url)
    old_head = dict(change(url, lambda c: c.execute(select(head)).one()._asdict()))
    watching.append(a_draft("decision"), NOW)

    def roll_back(connection: Connection) -> None:
        connection.execute(delete(entries).where(entries.c.index == COUNT))
        connection.execute(update(head).values(**old_head))

    change(url, roll_back)
    with pytest.raises(LedgerError, match="rolled back"):
        watching.head()
    fresh = open_ledger(url)  # a process without memory cannot know: this is what anchored checkpoints are for
    assert fresh.check() == []
    fresh.append_all([a_draft("other"), a_draft("more")], NOW)
    for attempt in (watching.head, lambda: watching.append(a_draft("late"), NOW)):
        with pytest.raises(LedgerError, match="rolled back"):
            attempt()


KINDS = {
    "core as text": """UPDATE quell_entries SET core = CAST(core AS TEXT) WHERE "index" = 3""",
    "leaf as bytes": """UPDATE quell_entries SET leaf = CAST(leaf AS BLOB) WHERE "index" = 3""",
    "leaf as a number": """UPDATE quell_entries SET leaf = 7 WHERE "index" = 3""",
    "type no text at all": """UPDATE quell_entries SET type = CAST(x'ff' AS TEXT) WHERE "index" = 3""",
    "sequence as bytes": """UPDATE quell_entries SET incident_seq = x'01' WHERE "index" = 3""",
    "frontier as text": "UPDATE quell_head SET frontier = 'the right edge'",
    "size as text": "UPDATE quell_head SET size = 'seven'",
    "root as bytes": "UPDATE quell_head SET root = x'00'",
}


@pytest.mark.parametrize("what", KINDS)
def test_sqlite_keeps_a_value_of_another_kind_and_the_check_names_it(tmp_path: Path, what: str) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = open_ledger(url)
    for number in range(COUNT):
        store.append(a_draft(f"k{number}", f"INC-000{number % 2}"), NOW)
    change(url, lambda connection: connection.exec_driver_sql(KINDS[what]))
    assert open_ledger(url, even_forked=True).check() != []
    with pytest.raises(LedgerError):
        store.entries() if "entries" in KINDS[what] else store.append(a_draft("new"), NOW)
