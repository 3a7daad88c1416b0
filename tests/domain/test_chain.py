"""The chains of the ledger: whatever is changed, taken out, put in or moved is a fault that names its place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.instants import later
from runbooks.domain.ledger import Actor, ActorKind, ChainFault, Draft, EntryType, LedgerEntry, check_entries, leaf_hash
from tests.domain.cast import NOW

ACTOR = Actor(kind=ActorKind.FLOW, name="response")


def written(incidents: list[str | None]) -> list[LedgerEntry]:
    """A log in which entry by entry belongs to these incidents (None: to none)."""
    log: list[LedgerEntry] = []
    for index, incident in enumerate(incidents):
        mine = [entry for entry in log if entry.incident == incident] if incident else []
        draft = Draft(key=f"k/{index}", type=EntryType.RUN_STARTED, actor=ACTOR, incident=incident, body={"n": index})
        log.append(
            LedgerEntry.write(
                draft,
                index=index,
                at=later(NOW, index),
                incident_seq=len(mine) if incident else None,
                incident_prev=mine[-1].leaf if mine else None,
            )
        )
    return log


def relabelled(entries: list[LedgerEntry]) -> list[LedgerEntry]:
    return [entry.model_copy(update={"index": index}) for index, entry in enumerate(entries)]


def rehashed(entry: LedgerEntry, **changes: object) -> LedgerEntry:
    changed = entry.model_copy(update=changes)
    return changed.model_copy(update={"leaf": leaf_hash(changed.core())})


TWO = ["INC-AAAA", "INC-BBBB", "INC-AAAA", None, "INC-BBBB", "INC-AAAA"]
logs = st.lists(st.sampled_from(["INC-AAAA", "INC-BBBB", None]), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(logs)
def test_what_is_written_has_no_fault(incidents: list[str | None]) -> None:
    log = written(incidents)
    assert check_entries(log) == []
    assert [LedgerEntry.model_validate_json(entry.model_dump_json()) for entry in log] == log


CHANGES: dict[str, object] = {
    "type": EntryType.RUN_ENDED, "at": later(NOW, 999), "actor": Actor(kind=ActorKind.PERSON, name="mallory"),
    "incident_seq": 7, "incident_prev": None, "flow_run_id": "other", "subject": {"x": "sha256:" + "0" * 64},
    "body": {"n": 99}, "leaf": "sha256:" + "0" * 64,
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_field_is_found(field: str) -> None:
    log = written(TWO)
    log[2] = log[2].model_copy(update={field: CHANGES[field]})
    assert any(fault.index == 2 and "was changed" in fault.what for fault in check_entries(log))


@pytest.mark.parametrize("field", sorted(set(CHANGES) - {"leaf"}))
def test_a_changed_field_under_a_new_hash_breaks_the_chain_behind_it(field: str) -> None:
    log = written(TWO)
    log[2] = rehashed(log[2], **{field: CHANGES[field]})
    assert any("chain of INC-AAAA is broken" in fault.what for fault in check_entries(log))


def test_an_entry_taken_out_is_found_twice() -> None:
    for gone in (0, 1, 2):
        log = written(TWO)
        del log[gone]
        faults = check_entries(log)
        assert faults[0] == ChainFault(index=gone + 1, what=f"expected index {gone}: an entry is missing or moved")
        assert any("was taken out" in fault.what for fault in check_entries(relabelled(log)))


def test_an_entry_twice_or_moved_is_found() -> None:
    log = written(TWO)
    assert check_entries(relabelled([*log[:3], log[2], *log[3:]]))
    assert check_entries(relabelled([log[2], log[1], log[0], *log[3:]]))
    assert check_entries([log[1], log[0], *log[2:]])


def test_an_entry_moved_to_another_incident_is_found() -> None:
    log = written(TWO)
    log[5] = rehashed(log[5], incident="INC-BBBB")
    assert [fault.index for fault in check_entries(log)] == [5]


@settings(max_examples=30, deadline=None)
@given(logs, st.integers(0, 7), st.integers(0, 7))
def test_swapping_two_entries_of_one_incident_is_found(incidents: list[str | None], one: int, other: int) -> None:
    log = written(incidents)
    one, other = one % len(log), other % len(log)
    if one != other and log[one].incident and log[one].incident == log[other].incident:
        log[one], log[other] = log[other], log[one]
        assert check_entries(relabelled(log))


def test_what_the_chains_alone_cannot_see() -> None:
    """A cut tail, a whole incident taken out, the order between incidents: for those there are tree and checkpoint."""
    log = written(TWO)
    assert check_entries(log[:-1]) == []
    assert check_entries(relabelled([entry for entry in log if entry.incident != "INC-BBBB"])) == []
    assert check_entries(relabelled([log[1], log[0], *log[2:]])) == []
