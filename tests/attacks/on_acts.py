"""Attacks below the gate: on what was approved, on the files behind it, on the right to act."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from runbooks.domain.approval import Purpose, Standing
from runbooks.domain.containment import ContainmentAction, ContainmentStatus
from runbooks.domain.errors import GrantRefusedError, QuellError
from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of, verdict_on
from tasks.authority import LedgerAuthority, grant_for
from tasks.containment import act
from tasks.ledger import flow_actor
from tasks.undoing import undo_acts
from tests.attacks.ground import Ground, let_go, processes
from tests.attacks.table import ALONE, attack


def _grant(g: Ground, incident: str, *people: str, step: str = "refund-tool") -> None:
    """People approve, and nobody rings: the attacker is faster than the run."""
    for person in people:
        g.submit(g.say(g.request(incident, step), person))


def _perform(g: Ground, action: ContainmentAction) -> str:
    """Straight at the connector, past every flow; the refusal must be on record."""
    place = g.installation
    pen = place.pen(flow_actor("attack"))
    before = len(g.entries(action.incident, EntryType.EFFECT_REFUSED))
    grant = grant_for(place, pen, plan_of(place, action.incident).action(action.id), Purpose.CONTAIN)
    connector = place.connector(action.system, action.connector, place.active())
    with pytest.raises(GrantRefusedError):
        connector.perform(action, grant, LedgerAuthority(place, pen))
    refused = g.entries(action.incident, EntryType.EFFECT_REFUSED)
    assert len(refused) == before + 1
    return str(refused[-1].body["because"])


@attack("Call the connector without consent", "refused by the connector base, on record", EntryType.EFFECT_REFUSED)
def without_consent(g: Ground) -> str:
    return _perform(g, plan_of(g.installation, g.waiting).action("refund-tool"))


@attack("Call the connector with one of two approvals", "refused, on record", EntryType.EFFECT_REFUSED)
def with_half(g: Ground) -> str:
    incident = g.declare()
    _grant(g, incident, "ana")
    return _perform(g, plan_of(g.installation, incident).action("refund-tool"))


@attack("Change one parameter of the approved act (each in turn)", "refused, on record", EntryType.EFFECT_REFUSED)
def changed_parameter(g: Ground) -> str:
    reasons = set()
    action = plan_of(g.installation, g.waiting).action("refund-tool")
    for changes in (
        {"target": "tool.lookup_order.enabled"}, {"desired": {"x": "y"}}, {"verb": "block_client"}, {"attempt": 2},
        {"deadline_seconds": 1}, {"drill": False}, {"blast_radius": "none"},
    ):  # fmt: skip
        said = _perform(g, ContainmentAction.model_validate(action.model_dump() | changes))
        assert "a parameter was changed" in said
        reasons.add("a parameter was changed")
    return "; ".join(reasons) + " (7 of 7)"


@attack(
    "Change the approved act where it is stored (vault)",
    "refused: it is addressed by its digest",
    EntryType.EFFECT_FAILED,
)
def in_the_vault(g: Ground) -> str:
    incident = g.declare()
    approved = plan_of(g.installation, incident).actions[0]
    planned = g.entries(incident, EntryType.PLAN_MADE)[-1].subject["plan"].removeprefix("sha256:")
    files = [
        f
        for f in Path(g.installation.settings.vault_path).rglob("*")
        if f.is_file() and planned in f.as_posix().replace("/", "")
    ]
    assert files, "the plan's file"
    data = files[0].read_bytes()
    files[0].chmod(0o600)
    files[0].write_bytes(data.replace(b"tool.issue_refund.enabled", b"tool.lookup_order.enabled"))
    assert files[0].read_bytes() != data, "it was changed"
    try:
        status = act(g.installation, g.installation.pen(flow_actor("attack")), approved)
    finally:
        files[0].write_bytes(data)
    (failed,) = g.entries(incident, EntryType.EFFECT_FAILED)
    assert status is ContainmentStatus.FAILED
    assert not g.entries(incident, EntryType.EFFECT_CLAIMED)
    return str(failed.body["because"])[:160]


@attack(
    "Change the approved act in the ledger's database",
    "nothing is read from an entry that was changed; the check of the log is the record of it",
    lane=ALONE,
)
def in_the_database(g: Ground) -> str:
    incident = g.declare()
    entry, other = g.entries(incident, EntryType.PLAN_MADE)[-1], g.entries(g.waiting, EntryType.PLAN_MADE)[-1]
    with contextlib.closing(sqlite3.connect(g.home / "ledger.db", timeout=30)) as database:
        (core,) = database.execute('SELECT core FROM quell_entries WHERE "index" = ?', (entry.index,)).fetchone()
        changed = core.replace(entry.subject["plan"].encode(), other.subject["plan"].encode())
        assert changed != core
        change = 'UPDATE quell_entries SET core = ? WHERE "index" = ?'
        database.execute(change, (changed, entry.index))
        database.commit()
        try:
            with pytest.raises(QuellError) as refused:
                act(
                    g.installation,
                    g.installation.pen(flow_actor("attack")),
                    plan_of(g.installation, incident).actions[0],
                )
            found = g.installation.store.check()
            assert [fault.index for fault in found] == [entry.index]
        finally:
            database.execute(change, (core, entry.index))
            database.commit()
    return f"{refused.value.problem}; the check of the whole log names entry {found[0].index}: {found[0].what}"


ACT = """
import sys
from tasks.approval import plan_of
from tasks.containment import act
from tasks.installation import open_installation
from tasks.ledger import flow_actor
place = open_installation()
action = plan_of(place, sys.argv[1]).action("refund-tool")
print("ready", flush=True)
sys.stdin.readline()
print(act(place, place.pen(flow_actor("worker")), action), flush=True)
"""
"""A worker of its own, past every flow and its lease."""


@attack(
    "Use one grant in three processes at once, and once more when it is consumed",
    "exactly one effect",
    EntryType.EFFECT_CLAIMED,
    lane=ALONE,
)
def consumed(g: Ground) -> str:
    incident = g.declare()
    place = g.installation
    action = plan_of(place, incident).action("refund-tool")
    with processes(ACT, incident, count=3, environment=dict(os.environ)) as workers:
        _grant(g, incident, "ana", "cleo")
        let_go(workers)
        said = [str(process.stdout.readline()).strip() for process in workers if process.stdout]
        assert [process.wait(timeout=60) for process in workers] == [0, 0, 0]
    assert said == ["effective"] * 3, said
    again = act(place, place.pen(flow_actor("again")), action)
    sent = g.entries(incident, EntryType.EFFECT_SENDING)
    done = g.entries(incident, EntryType.EFFECT_APPLIED)
    assert (len(sent), len(done)) == (1, 1)
    assert verdict_on(place, g.request(incident)).standing is Standing.GRANTED
    give_back(g, incident, action.id)
    return f"3 processes and one more: sent {len(sent)}, receipts {len(done)}, afterwards {again}"


def give_back(g: Ground, incident: str, step: str) -> None:
    """So that the far side is again as it was: as `quell undo` does it, with consent."""
    place = g.installation
    undo_acts(place, place.pen(flow_actor("test")), incident, only=step)
    request = g.request(incident)
    for person in ("dora", "cleo"):
        g.submit(g.say(request, person))
    (line,) = undo_acts(place, place.pen(flow_actor("test")), incident, only=step)
    assert line.outcome == "undone", line
