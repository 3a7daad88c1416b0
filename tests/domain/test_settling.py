"""Whether the keeper moved a run is told by what it wrote before it did, never by the words on the state."""

from typing import Any

import pytest

from runbooks.domain.history import compare, endings_of_the_living
from runbooks.domain.ledger import Actor, ActorKind, EntryType, LedgerEntry
from runbooks.domain.settling import in_order, is_ours

RUN = "d6151ec2-16c9-4098-8a18-bdd07900562a"
INCIDENT = "INC-7K2QF9"
WORDS = "no process works on it; generation 1 goes on"


def _entry(kind: EntryType, *, incident: str | None = INCIDENT, run: str | None = None, **body: Any) -> LedgerEntry:
    return LedgerEntry(
        index=9, key="practice", leaf="sha256:" + "0" * 64, type=kind, at="2026-11-21T07:32:05.000000000Z",
        actor=Actor(kind=ActorKind.KEEPER, name="keeper"), incident=incident, incident_seq=1 if incident else None,
        incident_prev=None, flow_run_id=run, subject={}, body=body,
    )  # fmt: skip


def _restarted(**body: Any) -> LedgerEntry:
    return _entry(EntryType.RESPONSE_RESTARTED, engine_said=[f"{RUN}: Suspended"], **body)


def _states(*kinds: str, at: int = 4) -> list[dict[str, Any]]:
    """One state a second, the last one at this second."""
    names = {"PAUSED": "Suspended"}
    return [
        {"id": f"s{n}", "type": kind, "name": names.get(kind, kind.capitalize()), "message": WORDS,
         "timestamp": f"2026-11-21T07:32:{at - len(kinds) + 1 + n:02d}.5Z"}
        for n, kind in enumerate(kinds)
    ]  # fmt: skip


SETTLED: dict[str, tuple[list[LedgerEntry], list[dict[str, Any]], bool]] = {
    "put aside": ([_restarted(set_aside={RUN: "s1"})], _states("RUNNING", "PAUSED", "CANCELLED"), True),
    "put aside after it crashed": (
        [_restarted(set_aside={RUN: "s1"})], _states("RUNNING", "PAUSED", "CRASHED", "CANCELLED"), True,
    ),
    "another state of it": ([_restarted(set_aside={RUN: "s0"})], _states("RUNNING", "PAUSED", "CANCELLED"), False),
    "another run": ([_restarted(set_aside={"x": "s1"})], _states("RUNNING", "PAUSED", "CANCELLED"), False),
    "no run": ([_restarted(set_aside={})], _states("RUNNING", "PAUSED", "CANCELLED"), False),
    "never restarted": ([], _states("RUNNING", "PAUSED", "CANCELLED"), False),
    "another end": ([_restarted(set_aside={RUN: "s1"})], _states("RUNNING", "PAUSED", "FAILED"), False),
    "out of an end": ([_restarted(set_aside={RUN: "s1"})], _states("RUNNING", "COMPLETED", "CANCELLED"), False),
    "an older entry": ([_restarted()], _states("RUNNING", "PAUSED", "CANCELLED"), True),
    "an older entry, found cancelled": (
        [_entry(EntryType.RESPONSE_RESTARTED, engine_said=[f"{RUN}: Cancelled"])],
        _states("RUNNING", "PAUSED", "CANCELLED"), False,
    ),
    "begun again": (
        [_entry(EntryType.RESPONSE_RESTARTED, incident=None, run=RUN, engine_said=[], begun_from="s1")],
        _states("PENDING", "CRASHED", "SCHEDULED"), True,
    ),
    "begun again from another state": (
        [_entry(EntryType.RESPONSE_RESTARTED, incident=None, run=RUN, engine_said=[], begun_from="s0")],
        _states("PENDING", "CRASHED", "SCHEDULED"), False,
    ),
    "another run begun again": (
        [_entry(EntryType.RESPONSE_RESTARTED, incident=None, run="x", engine_said=[], begun_from="s1")],
        _states("PENDING", "CRASHED", "SCHEDULED"), False,
    ),
    "an older beginning again": (
        [_entry(EntryType.RESPONSE_RESTARTED, incident=None, run=RUN, engine_said=[])],
        _states("PENDING", "CRASHED", "SCHEDULED"), True,
    ),
    "left over, ended after the closure": (
        [_entry(EntryType.INCIDENT_CLOSED)], _states("RUNNING", "PAUSED", "CANCELLED", at=30), True,
    ),
    "ended long before the closure": (
        [_entry(EntryType.INCIDENT_CLOSED)],
        [{**one, "timestamp": one["timestamp"].replace("07:32", "07:31")} for one in _states("RUNNING", "PAUSED", "CANCELLED")],
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTLED)
def test_what_the_keeper_did_is_known_by_its_entries(name: str) -> None:
    entries, states, ours = SETTLED[name]
    place = len(states) - 1
    assert is_ours(entries, RUN, in_order(states), place) is ours
    page = {"states": states, "task_runs": []}
    said = [one.what for one in compare(entries, [], {RUN: page}, frozenset())]
    moves = [words for words in said if "which no response and no keeper did" in words]
    assert moves == [] if ours and name != "put aside after it crashed" else len(moves) == 1


def test_an_end_of_a_run_at_work_is_the_keepers_only_where_it_is_on_record() -> None:
    states = _states("RUNNING", "CANCELLED")
    assert endings_of_the_living([_restarted(set_aside={RUN: "s0"})], RUN, states) == []
    assert endings_of_the_living([_restarted(set_aside={})], RUN, states) == [states[1]]
    assert endings_of_the_living([], RUN, states) == [states[1]]
