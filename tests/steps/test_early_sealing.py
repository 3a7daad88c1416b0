"""Evidence is sealed from the moment an incident stands, by one at a time, whoever comes first."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.doors.dispatcher import Work
from runbooks.domain.errors import UnreachableError
from runbooks.domain.ledger import EntryType
from tasks import evidence
from tasks.early_sealing import MOST_WAITING, EarlySealing
from tasks.evidence import seal_early, seal_now
from tasks.in_time import InTime
from tasks.installation import Installation
from tasks.intake.dispatching import SIGNALS
from tasks.ledger import clock, flow_actor
from tests.flows.people import until
from tests.steps.desk import Desk
from tests.steps.intake_ground import Intake, a_signal

WHO = flow_actor("test")


class Endless(InTime):
    """Whatever the source is, it has no end."""

    def __iter__(self) -> Iterator[bytes]:
        self.items = itertools.repeat(b"{}")
        return super().__iter__()


def _away(flow: str, incident: str, drill: bool) -> str:
    raise UnreachableError("Prefect is away.", now=f"{flow} {incident} {drill}", next_step="wait")


def test_evidence_is_sealed_while_prefect_is_away(intake: Intake) -> None:
    work = Work(intake.place, _away)
    thread = threading.Thread(target=work.dispatch)
    thread.start()
    try:
        intake.take(a_signal("one"))
        work.made.set()
        store = intake.place.store
        sealed = until(lambda: store.entries(types=(EntryType.EVIDENCE_SEALED,)), 30, what="it is sealed")
    finally:
        work.stop.set()
        work.made.set()
        thread.join()
    assert sealed[0].actor == SIGNALS
    assert sealed[0].incident == intake.incidents()[0]
    assert store.entries(types=(EntryType.RUN_STARTED,)) == []


def test_many_who_seal_at_once_ask_each_source_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident, asked = desk.declare(), []
    ask = evidence._seal_source

    def counting(*args: object) -> object:
        asked.append(args[-1].what)  # type: ignore[attr-defined]
        return ask(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(evidence, "_seal_source", counting)
    place = desk.installation
    with ThreadPoolExecutor(6) as pool:
        digests = set(pool.map(lambda _: seal_now(place, place.pen(WHO), incident), range(6)))
    assert len(digests) == 1
    assert asked
    assert len(asked) == len(set(asked))
    assert len(desk.installation.store.entries(incident, types=(EntryType.EVIDENCE_SEALED,))) == 1


def test_who_died_while_sealing_keeps_nobody_waiting(desk: Desk) -> None:
    incident, place = desk.declare(), desk.installation
    fence = place.store.take_lease(
        f"sealing/{incident}", holder="elsewhere/boot/1/1/x", now=clock(), seconds=1, gone=lambda _: False
    )
    assert fence is not None
    assert seal_now(place, place.pen(WHO), incident).startswith("sha256:")


def test_in_a_storm_the_rest_is_left_to_the_responses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr("tasks.early_sealing.seal_early", lambda *_: go.wait(30))
    sealing = EarlySealing(desk.installation, WHO)
    taken = [sealing.begin(f"INC-{number}") for number in range(MOST_WAITING + 3)]
    assert taken == [True] * MOST_WAITING + [False] * 3
    go.set()
    until(lambda: sealing.begin("INC-X"), 10, what="there is room again")
    sealing.close()


def test_a_source_that_is_away_is_no_gap_yet(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who seals early may reach less than the response does: what fails then is asked again, what was sealed stays."""
    incident, place, away = desk.declare(), desk.installation, True
    observe = evidence._observe

    def sometimes(*args: object) -> bytes:
        if away:
            raise UnreachableError("it is away.", now="nothing", next_step="wait")
        return observe(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(evidence, "_observe", sometimes)
    assert not seal_early(place, place.pen(SIGNALS), incident)
    kept = place.store.entries(incident, types=(EntryType.COLLECTION_SEALED,))
    assert kept, "what could be had is sealed"
    assert place.store.entries(incident, types=(EntryType.EVIDENCE_SEALED,)) == []
    away = False
    seal_now(place, place.pen(WHO), incident)
    (sealed,) = place.store.entries(incident, types=(EntryType.EVIDENCE_SEALED,))
    assert not any("it is away" in gap for gap in sealed.body["gaps"])
    collections = place.store.entries(incident, types=(EntryType.COLLECTION_SEALED,))
    assert [one.leaf for one in collections[: len(kept)]] == [one.leaf for one in kept], "nothing is sealed twice"
    assert len({one.body["source"] for one in collections}) == len(collections)


def test_a_source_without_an_end_is_cut_and_named_as_a_gap(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident, place = desk.declare(), desk.installation
    limits = place.settings.limits.model_copy(update={"evidence_source_deadline_seconds": 1})
    place = Installation(place.settings.model_copy(update={"limits": limits}))
    monkeypatch.setattr(evidence, "InTime", Endless)
    assert not seal_early(place, place.pen(SIGNALS), incident), "there is a gap"
    early = place.store.entries(incident, types=(EntryType.COLLECTION_SEALED,))
    seal_now(place, place.pen(WHO), incident)
    assert place.store.entries(incident, types=(EntryType.COLLECTION_SEALED,)) == early, "nobody is asked twice"
    (sealed,) = place.store.entries(incident, types=(EntryType.EVIDENCE_SEALED,))
    assert [gap for gap in sealed.body["gaps"] if "partial" in gap and "after 1 s" in gap]
    assert int(sealed.body["items"]) > 10


def test_what_was_left_is_caught_up_with(desk: Desk) -> None:
    incidents = [desk.declare() for _ in range(MOST_WAITING + 2)]
    sealing = EarlySealing(desk.installation, WHO)

    def sealed() -> int:
        sealing.catch_up(incidents)
        return len(desk.installation.store.entries(types=(EntryType.EVIDENCE_SEALED,)))

    until(lambda: sealed() == len(incidents), 60, what="all are sealed")
    sealing.close()


def test_a_failure_is_left_to_the_response_and_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise UnreachableError("the vault is away.", now="nothing", next_step="wait")

    monkeypatch.setattr("tasks.early_sealing.seal_early", fails)
    sealing = EarlySealing(desk.installation, WHO)
    sealing.begin("INC-1")
    sealing.close()
    assert "INC-1 is left to its response: the vault is away." in caplog.text
