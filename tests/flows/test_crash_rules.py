"""The small rules behind the crash tests, each alone and quick: who is dead, who may go on, when to start again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.doors.looking import waiting_form
from flows.doors.pausing import LONGEST_PAUSE_SECONDS, SETTLE_SECONDS, pause_before_restart
from runbooks.domain.ledger import Actor, ActorKind, EntryType, LedgerEntry
from runbooks.domain.limits import Limits
from tasks.installation import Installation
from tasks.ledger import KEEPER, clock, flow_actor, is_gone, this_process
from tasks.presence import AnotherRunWorksError, Presence, demand_presence, lease_name
from tasks.settings import Settings
from tests.flows.people import until

FLOW = flow_actor("prompt-injection")


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    return Installation(Settings(home=tmp_path, config=tmp_path, limits=Limits(run_lease_seconds=3)))


def test_who_is_certainly_dead() -> None:
    here = this_process("me")
    host, where, pid, started, _ = here.split("/", 4)
    boot, _, space = where.partition(".")
    assert not is_gone(here)
    assert is_gone(f"{host}/{where}/{pid}/1{started}/somebody with our number before us")
    assert is_gone(f"{host}/another.{space}/{pid}/{started}/before the machine started again")
    assert not is_gone(f"elsewhere/{where}/{pid}/{started}/on another machine")
    assert not is_gone(f"{host}/{boot}.{space}1/{pid}/1{started}/in another container with our host's name")
    assert not is_gone("nonsense")


def test_a_zombie_is_dead() -> None:
    """It acts no more, even if nobody ever takes note of its end."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        host, where, *_ = this_process("").split("/")
        name = f"{host}/{where}/{child.pid}/{stat[19]}/child"
        assert not is_gone(name)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still not taken note of
        assert is_gone(name)
    finally:
        child.kill()
        child.wait()


def test_who_lost_the_lease_begins_no_further_step(place: Installation) -> None:
    with Presence(place, "INC-0001", FLOW, "first"):
        demand_presence()
        name = lease_name("INC-0001")
        assert place.store.take_lease(name, holder="other", now=clock(), seconds=60, gone=lambda _: True) is not None
        until(_refused, 10, what="the loss is noticed")
        assert place.store.entries("INC-0001", types=(EntryType.RUN_SUPERSEDED,))
    row = place.store.lease_of(name)
    assert row is not None, "leaving took the lease from its new holder"
    assert row.holder == "other"
    demand_presence()


def _refused() -> bool:
    try:
        demand_presence()
    except AnotherRunWorksError:
        return True
    return False


def test_a_lease_that_nobody_took_meanwhile_is_ours_again(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a machine that slept: the lease ran out, and the step asks for it again."""
    with Presence(place, "INC-0001", FLOW, "first") as presence:
        monkeypatch.setattr(presence, "_until", clock())
        demand_presence()
        assert presence._until > clock()


def test_the_second_run_goes_away(place: Installation) -> None:
    with Presence(place, "INC-0001", FLOW, "first"), pytest.raises(AnotherRunWorksError):
        Presence(place, "INC-0001", FLOW, "second").__enter__()


def entries(*made: tuple[EntryType, Actor]) -> list[LedgerEntry]:
    leaf = "sha256:" + "0" * 64
    return [
        LedgerEntry(
            index=number, key=str(number), type=kind, at=clock(), actor=actor, incident="INC-0001",
            incident_seq=number, incident_prev=None, flow_run_id="run", subject={}, body={}, leaf=leaf,
        )
        for number, (kind, actor) in enumerate(made)
    ]  # fmt: skip


def test_the_pause_before_a_restart_grows_only_when_restarts_lead_nowhere() -> None:
    began = [(EntryType.INCIDENT_OPENED, Actor(kind=ActorKind.DOOR, name="cli"))]
    died = [(EntryType.RESPONSE_RESTARTED, KEEPER), (EntryType.RUN_STARTED, FLOW)]
    failed = [*died, (EntryType.PERSON_NEEDED, FLOW)]
    no_sleep = [
        *died,
        (EntryType.HISTORY_MIRRORED, FLOW),
        (EntryType.RUN_SUSPENDED, FLOW),
        (EntryType.PERSON_NEEDED, FLOW),
    ]
    assert pause_before_restart(entries(*began), begun=False) == SETTLE_SECONDS
    assert pause_before_restart(entries(*began), begun=True) == 0
    assert pause_before_restart(entries(*began, *died, (EntryType.PLAN_MADE, FLOW)), begun=True) == 0
    assert pause_before_restart(entries(*began, *died, (EntryType.RUN_SUSPENDED, FLOW)), begun=True) == 0
    for dead_end in (died, failed, no_sleep):
        pauses = [pause_before_restart(entries(*began, *dead_end * times), begun=True) for times in range(8)]
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[1], pauses[-1]) == (0, 1, LONGEST_PAUSE_SECONDS)
    assert LONGEST_PAUSE_SECONDS + 10 < 60, "an open incident has a run again within a minute"


def test_which_run_waits_on_a_form() -> None:
    slept = [(EntryType.RUN_STARTED, FLOW), (EntryType.RUN_SUSPENDED, FLOW)]
    assert waiting_form(entries(*slept)) is not None
    assert waiting_form(entries(*slept, (EntryType.PERSON_NEEDED, KEEPER))) is not None
    for over in ((EntryType.RUN_WOKEN, FLOW), (EntryType.RESPONSE_RESTARTED, KEEPER), (EntryType.PERSON_NEEDED, FLOW)):
        assert waiting_form(entries(*slept, over)) is None
