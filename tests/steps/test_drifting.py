"""The drift watch: what somebody turns on again while people are waited for is found, told, and seen to be off again."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from flows.doors import keeper
from flows.doors.looking import Look
from runbooks.domain.case import action_rows
from runbooks.domain.containment import ContainmentStatus, ProbeResult
from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of
from tasks.connectors._signals import NotDoneError
from tasks.connectors.memory import Memory
from tasks.drifting import DriftWatch
from tasks.installation import Installation
from tasks.ledger import flow_actor
from tasks.presence import Presence
from tests.contracts.bundle.ground import settings
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, judged_again, policy_plus, smash
from tests.steps.test_telling import Receiver

TOOL = "refund-tool"
CHANNELS = (
    '\n[channels]\nchat = "file:secrets/chat"\n[opening_channels]\nSEV1 = ["chat"]\nSEV2 = ["chat"]\nSEV3 = ["chat"]\n'
)


@pytest.fixture
def heard(desk: Desk) -> Iterator[list[dict[str, str]]]:
    receiver = Receiver()
    (desk.home / "secrets" / "chat").write_text(receiver.address)
    policy_plus(desk, GLASS + CHANNELS)
    yield receiver.heard
    receiver.close()


class Minutes:
    """A watch, and a clock that moves a minute per look."""

    def __init__(self, desk: Desk) -> None:
        self.now = 0.0
        self._watch = DriftWatch(desk.installation, lambda: self.now)

    def look(self, incident: str, seconds: float = 60.0) -> None:
        self.now += seconds
        self._watch.watch(incident)


def contained(desk: Desk) -> str:
    incident = desk.declare()
    desk.respond(incident)
    desk.contain(incident)
    return incident


def turn(desk: Desk, word: str) -> None:
    """Somebody sets the flag by hand."""
    world = desk.world
    world["targets"]["refunds"]["status"] = word
    (desk.home / "world.json").write_text(json.dumps(world))


def stands(desk: Desk, incident: str) -> ContainmentStatus:
    rows = action_rows(plan_of(desk.installation, incident), desk.installation.store.entries(incident))
    return next(row.status for row in rows if row.action == TOOL)


def needed(desk: Desk, incident: str) -> str:
    rows = desk("incidents", "--json").json["incidents"]
    return str(next(row["needed"] for row in rows if row["incident"] == incident))


def test_what_somebody_turns_on_again_is_found_told_and_seen_to_be_off_again(
    desk: Desk, heard: list[dict[str, str]]
) -> None:
    incident = contained(desk)
    watch, size = Minutes(desk), desk.installation.store.size
    quiet = size()
    for _ in range(5):
        watch.look(incident)
    assert size() == quiet, "nothing changed, nothing is written"

    turn(desk, "on")
    watch.look(incident)
    assert stands(desk, incident) is ContainmentStatus.APPLIED
    assert needed(desk, incident).startswith(f"{TOOL} was taken away and works again")
    assert len(heard) == 1
    found = size()
    for _ in range(3):
        watch.look(incident)
    assert size() == found, "it is on record"
    assert len(heard) == 1

    turn(desk, "off")
    watch.look(incident)
    assert stands(desk, incident) is ContainmentStatus.EFFECTIVE
    assert "works again" not in needed(desk, incident)
    turn(desk, "on")
    watch.look(incident)
    assert stands(desk, incident) is ContainmentStatus.APPLIED
    assert len(heard) == 2
    assert judged_again(desk, incident) == []


def test_one_look_a_minute_and_the_first_a_minute_after_it_was_seen(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident, looks = contained(desk), list[str]()
    probe = Memory._probe

    def counted(memory: Memory, name: str, settings: dict[str, object], mark: str) -> ProbeResult:
        looks.append(mark)
        return probe(memory, name, settings, mark)

    monkeypatch.setattr(Memory, "_probe", counted)
    watch = Minutes(desk)
    for _ in range(12):
        watch.look(incident, 10.0)
    assert len(looks) == 1, "the first came after 60 s, the second would come at 130"


def test_what_cannot_be_seen_is_no_drift(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = contained(desk)
    watch, before = Minutes(desk), desk.installation.store.size()

    def silent(memory: Memory, name: str, settings: object, mark: str) -> ProbeResult:
        raise NotDoneError(f"{memory.place.name} is silent: {name} {settings} {mark}")

    monkeypatch.setattr(Memory, "_probe", silent)
    watch.look(incident)
    watch.look(incident)
    assert desk.installation.store.size() == before
    assert stands(desk, incident) is ContainmentStatus.EFFECTIVE


def test_what_happened_while_it_looked_is_not_taken_for_drift(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident, place = contained(desk), desk.installation
    watch = Minutes(desk)
    watch.look(incident)
    turn(desk, "on")
    probe, meanwhile = Memory._probe, list[Callable[[], None]]()

    def slow(memory: Memory, name: str, settings: dict[str, object], mark: str) -> ProbeResult:
        meanwhile[-1]()
        return probe(memory, name, settings, mark)

    monkeypatch.setattr(Memory, "_probe", slow)
    response = Presence(place, incident, flow_actor("test"), "run")

    def wakes() -> None:
        response.__enter__()

    meanwhile.append(wakes)
    watch.look(incident)
    assert stands(desk, incident) is ContainmentStatus.EFFECTIVE, "the response woke: it may be giving back"
    response.__exit__(None, None, None)
    meanwhile.append(lambda: None)
    watch.look(incident)
    assert stands(desk, incident) is ContainmentStatus.APPLIED


def test_what_one_person_took_away_alone_is_watched_too(desk: Desk, heard: list[dict[str, str]]) -> None:
    incident = desk.declare()
    smash(desk, incident, minutes="30")
    watch = Minutes(desk)
    watch.look(incident)
    turn(desk, "on")
    watch.look(incident)
    assert stands(desk, incident) is ContainmentStatus.APPLIED
    assert any("works again" in one["message"] for one in heard)
    assert judged_again(desk, incident) == []


def test_the_keeper_looks_only_where_the_response_sleeps_and_its_rounds_wait_for_no_far_side(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, _ = contained(desk), contained(desk)
    place = desk.installation
    settings(place, keeper_interval_seconds=1)
    place.pen(flow_actor("test"), "run").write(
        EntryType.RUN_SUSPENDED, "suspended", incident=asleep, body={"form": "gate-0", "seen": 0}
    )
    rounds, watched, began, hang = list[bool](), list[str](), threading.Event(), threading.Event()

    class Hanging:
        def __init__(self, installation: Installation) -> None:
            del installation

        def watch(self, incident: str) -> None:
            watched.append(incident)
            began.set()
            hang.wait(60)

    class Counting:
        def __init__(self, installation: Installation) -> None:
            del installation

        def tidy(self) -> None:
            rounds.append(began.is_set())
            if rounds[-1] or len(rounds) > 20:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(keeper, "DriftWatch", Hanging)
    monkeypatch.setattr(keeper, "Leftovers", Counting)
    monkeypatch.setattr(Look, "of_round", lambda *_: None)
    for duty in ("keep", "take_up", "keep_the_way_clear"):
        monkeypatch.setattr(keeper, duty, lambda *_, **__: None)
    before = [(one, signal.getsignal(one)) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert keeper.run_keeper(desk.home) == 0
        assert rounds[-1], "a round came while the watch was at it"
        assert watched == [asleep]
    finally:
        hang.set()
        for one, handler in before:
            signal.signal(one, handler)
