"""Which moves of a run in Prefect were our own, by what the keeper wrote down before it made them.

A message proves nothing: whoever forces a state writes its message too. Ours is, and nothing else:
1. CANCELLED out of the very state that an entry says the keeper would put aside (or out of the crash that followed it).
   An older entry tells the state by its name only.
2. SCHEDULED out of the very state that an entry says the run begins again from.
3. CANCELLED out of PAUSED after the incident was closed: nobody needs to answer there any more.
"""

from datetime import datetime, timedelta

from runbooks.domain.instants import moment
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Json

State = dict[str, Json]
"""A state as Prefect tells it: `id`, `type`, `name`, `timestamp`, `message`."""

_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_CLOCKS_DIFFER = timedelta(seconds=5)
"""The engine's clock makes the times of states, ours the times of entries."""


def in_order(states: list[State]) -> list[State]:
    """The states of one run as they followed one another."""
    return sorted(states, key=lambda one: datetime.fromisoformat(str(one["timestamp"])))


def is_ours(entries: list[LedgerEntry], run: str, states: list[State], place: int) -> bool:
    """Whether the keeper moved the run to the state at this place (of `in_order`, never the first).

    `entries`: the incident's, and those of the run from before the incident stood.
    """
    before, after = states[place - 1], states[place]
    left = [before]
    if before["type"] == "CRASHED" and place > 1:
        left.append(states[place - 2])
    restarts = [entry for entry in entries if entry.type is EntryType.RESPONSE_RESTARTED]
    if after["type"] == "CANCELLED" and before["type"] not in _ENDED:
        if any(_put_aside(entry, run, one) for entry in restarts for one in left):  # 1
            return True
        return before["type"] == "PAUSED" and _closed_by(entries, str(after["timestamp"]))  # 3
    if after["type"] == "SCHEDULED":
        return any(entry.flow_run_id == run and _begins_again(entry, before) for entry in restarts)  # 2
    return False


def _put_aside(entry: LedgerEntry, run: str, left: State) -> bool:
    if "set_aside" in entry.body:
        return bool(entry.body["set_aside"].get(run) == left["id"])
    return entry.incident is not None and f"{run}: {left['name']}" in entry.body["engine_said"]


def _begins_again(entry: LedgerEntry, left: State) -> bool:
    if "begun_from" in entry.body:
        return bool(entry.body["begun_from"] == left["id"])
    return entry.incident is None and left["type"] not in _ENDED


def _closed_by(entries: list[LedgerEntry], timestamp: str) -> bool:
    closed = next((entry.at for entry in entries if entry.type is EntryType.INCIDENT_CLOSED), None)
    return closed is not None and datetime.fromisoformat(timestamp) >= moment(closed) - _CLOCKS_DIFFER
