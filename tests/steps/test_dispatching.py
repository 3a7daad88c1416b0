"""From the outbox to the ledger and to a stand-in for Prefect: nothing waits for Prefect but the starts."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from flows.doors.dispatcher import Work
from runbooks.domain.errors import BookError, UnreachableError
from runbooks.domain.incident import Archetype, Report
from runbooks.domain.ledger import EntryType
from runbooks.domain.severity import Severity
from runbooks.domain.signal import Delivery, TriageOutcome
from runbooks.domain.sources import Source
from runbooks.domain.value import digest_of
from tasks.incident import open_incident
from tasks.installation import Installation
from tasks.intake.bell import bell_of, is_heard, ring
from tasks.intake.dispatching import Dispatcher, dispatcher_on
from tasks.intake.outbox import defects, is_dispatched, waiting_responses
from tasks.intake.understanding import Intake
from tasks.ledger import INSTALLATION
from tasks.settings import load_configuration
from tasks.stores.base import Arrival
from tests.steps.desk import Desk
from tests.steps.intake_ground import Intake as Ground
from tests.steps.intake_ground import a_classified, a_signal

SOURCES = '[sources.monitor]\nsender = "standard-webhooks"\nsecrets = [{id = "one", secret = "file:secrets/monitor"}]\n'


TRIAGE = {"outcome": TriageOutcome.PERFORMANCE, "archetype": Archetype.UNCLASSIFIED}


@dataclass
class Engine:
    """Stands in for Prefect: one run per key, and it can be away, or say no."""

    runs: dict[str, tuple[str, bool]] = field(default_factory=dict)
    away: bool = False
    refuses: set[str] = field(default_factory=set)
    loses: int = 0
    """So many answers are lost after the run was made."""

    def __call__(self, flow: str, incident: str, drill: bool) -> str:
        if self.away:
            raise UnreachableError("Prefect is away.", now="nothing", next_step="wait")
        if flow in self.refuses:
            raise BookError("no such deployment.", now="nothing", next_step="deploy")
        self.runs.setdefault(incident, (flow, drill))
        if self.loses:
            self.loses -= 1
            raise UnreachableError("the answer was lost.", now="unknown", next_step="ask again")
        return f"run-of-{incident}"


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def dispatcher(intake: Ground, engine: Engine) -> Iterator[Dispatcher]:
    made = dispatcher_on(intake.place, engine)
    yield made
    made.store.close()


def drain(dispatcher: Dispatcher) -> list[str]:
    """Open all, start all; the incidents in the order of their starts."""
    dispatcher.open_all()
    engine = dispatcher.start
    assert isinstance(engine, Engine)
    while dispatcher.start_next():
        pass
    return list(engine.runs)


def entries(place: Installation, incident: str, *kinds: EntryType) -> list[EntryType]:
    return [entry.type for entry in place.store.entries(incident, types=kinds)]


def test_an_incident_stands_in_the_ledger_once_and_starts_once(
    intake: Ground, dispatcher: Dispatcher, engine: Engine
) -> None:
    incident = str(intake.take(a_signal(text="{{ 7*7 }}"))[0].incident)
    engine.loses = 2
    assert [dispatcher.open_all(), dispatcher.open_all()] == [[incident], []]
    assert [dispatcher.start_next() for _ in range(4)] == [False, False, True, None]
    assert engine.runs == {incident: ("prompt_injection", True)}
    opened = intake.place.incident(incident)
    assert opened.origin is not None
    assert (opened.origin.source, opened.requester.name, opened.drill) == ("monitor", "source monitor", True)
    assert Report.from_bytes(intake.place.vault.get(opened.report)).what_happened == "{{ 7*7 }}"
    assert entries(intake.place, incident) == [EntryType.INCIDENT_OPENED, EntryType.SIGNAL_RECEIVED]
    told = json.dumps([entry.body for entry in intake.place.store.entries(incident)])
    assert "7*7" not in told, "a sender's words stand in the vault, not in the ledger"


def test_a_crash_between_ledger_and_outbox_opens_the_same_incident_again(
    intake: Ground, dispatcher: Dispatcher
) -> None:
    incident = str(intake.take(a_signal())[0].incident)
    row = dispatcher.store.unopened()[0]
    dispatcher.open(row)
    with intake.store.writing() as store:
        store._do("UPDATE outbox SET opened_at = NULL")
    assert drain(dispatcher) == [incident]
    assert entries(intake.place, incident, EntryType.INCIDENT_OPENED) == [EntryType.INCIDENT_OPENED]


def test_prefect_away_incidents_stand_wait_and_start_the_worst_first(
    intake: Ground, dispatcher: Dispatcher, engine: Engine, desk: Desk
) -> None:
    engine.away = True
    order = [Severity.SEV2, Severity.SEV1, Severity.SEV2, Severity.SEV1]
    for n, severity in enumerate(order):
        intake.take(a_signal(str(n), n, entity=f"e{n}"), classified=a_classified(severity, **TRIAGE))
    assert drain(dispatcher) == []
    waiting = waiting_responses(intake.place)
    assert [one.severity for one in waiting] == sorted(order)
    assert {one.problem for one in waiting[:1]} == {"Prefect is away."}
    shown = desk("inbox", "--json").json["starting"]
    assert [one["incident"] for one in shown] == [one.incident for one in waiting]
    assert "4 responses wait for Prefect" in desk("inbox").out
    assert all(intake.place.incident(one.incident) for one in waiting), "they stand all the same"
    engine.away = False
    assert drain(dispatcher) == [one.incident for one in waiting]
    assert desk("inbox", "--json").json["starting"] == []


def test_one_that_prefect_refuses_lets_the_others_pass(intake: Ground, dispatcher: Dispatcher, engine: Engine) -> None:
    engine.refuses = {"prompt_injection"}
    stuck = str(intake.take(a_signal("1"))[0].incident)
    other = a_classified(Severity.SEV2, **TRIAGE)
    free = str(intake.take(a_signal("2", 1, entity="x"), classified=other)[0].incident)
    dispatcher.open_all()
    assert [dispatcher.start_next() for _ in range(3)] == [False, True, False]
    assert list(engine.runs) == [free]
    engine.refuses = set()
    assert dispatcher.start_next() is True
    assert list(engine.runs) == [free, stuck]


def test_what_joins_is_written_down_and_what_is_worse_raises(intake: Ground, dispatcher: Dispatcher) -> None:
    incident = str(intake.take(a_signal("1"), classified=a_classified(Severity.SEV2, **TRIAGE))[0].incident)
    drain(dispatcher)
    for n in range(2, 30):
        intake.take(a_signal(str(n), n), classified=a_classified(Severity.SEV2, **TRIAGE))
    intake.take(a_signal("worse", 40), classified=a_classified(Severity.SEV1, **TRIAGE))
    dispatcher.tell()
    dispatcher.tell()
    assert intake.place.incident(incident).severity.severity is Severity.SEV1
    found = entries(intake.place, incident)
    assert found.count(EntryType.SEVERITY_CHANGED) == 1
    assert found.count(EntryType.SIGNAL_RECEIVED) == 1, "not one entry per signal"
    assert "joined" in str(intake.place.incident(incident).severity.reasons)


# The whole way, from the spool.


def configured(desk: Desk) -> Installation:
    desk.write("sources.toml", SOURCES)
    place = desk.installation
    place.activate(load_configuration(place.settings), INSTALLATION, {"proof": "test"})
    return place


def deliver(place: Installation, number: int, body: bytes, source: str = "monitor") -> None:
    from tasks.intake.receipts import receipt
    from tasks.stores import open_spool

    spool = open_spool(place.settings.signals)
    spool.append([
        Arrival(receipt(time.time_ns()), source, time.time_ns(), "application/json", (("webhook-id", f"m{number}"),),
                a_signal().strength, time.time_ns(), "one", False, bytes.fromhex(digest_of(body)[7:]), body)
    ])  # fmt: skip
    spool.close()


def alarm(**data: object) -> bytes:
    return json.dumps(
        {"type": "tool_use.untrusted", "data": {"system": "helper", "archetype": "prompt-injection", **data}}
    ).encode()


def until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_from_the_spool_to_a_started_response(desk: Desk, engine: Engine) -> None:
    place = configured(desk)
    work = Work(place, engine)
    threads = [threading.Thread(target=duty) for duty in (work.take_in, work.dispatch)]
    deliver(place, 0, alarm())
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(engine.runs) == 1)
        deliver(place, 1, alarm(system="other"))
        ring(bell_of(place.settings.home))
        until(lambda: len(engine.runs) == 2)
        engine.away = True
        deliver(place, 2, alarm(system="third"))
        deliver(place, 3, b"not json \xff")
        deliver(place, 4, b"{}", source="nobody")
        until(lambda: len(waiting_responses(place)) == 1 and len(defects(place)) == 2)
        waits = waiting_responses(place)[0].incident
        assert is_dispatched(place, waits), "the keeper leaves it to us"
        assert [one.source for one in defects(place)] == ["nobody", "monitor"]
        assert "could not be read" in desk("inbox").out
        engine.away = False
        until(lambda: len(engine.runs) == 3)
        until(lambda: not is_dispatched(place, waits))
    finally:
        work.stop.set()
        work.made.set()
        for thread in threads:
            thread.join()
    assert not is_heard(bell_of(place.settings.home))


def test_a_delivery_that_breaks_our_own_reading_is_a_defect_and_the_next_one_is_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.intake import understanding
    from tasks.intake.normalising import Normalised, normalise

    place = configured(desk)

    def breaks(delivery: Delivery, body: bytes, source: Source) -> Normalised:
        if b"poison" in body:
            raise RuntimeError("poison that nobody foresaw")
        return normalise(delivery, body, source)

    monkeypatch.setattr(understanding, "normalise", breaks)
    deliver(place, 1, alarm(text="poison"))
    deliver(place, 2, alarm())
    intake = Intake(place)
    read, said = intake.take_in()
    assert (read, [one.verdict for one in said]) == (2, ["opened"])
    assert [one.because for one in defects(place)] == ["quell itself failed to read it (RuntimeError)"]
    assert intake.take_in() == (0, [])
    intake.close()


def test_the_same_report_by_a_person_is_another_incident(intake: Ground, dispatcher: Dispatcher) -> None:
    incident = str(intake.take(a_signal())[0].incident)
    drain(dispatcher)
    report = Report.from_bytes(intake.place.vault.get(intake.place.incident(incident).report))
    typed = open_incident(
        intake.place, report, intake.place.incident(incident).archetype, drill=True, opener=INSTALLATION,
        material=report.canonical(),
    )  # fmt: skip
    assert typed.id != incident
    assert typed.origin is None, "what a signal may start, words in a form may not"


def test_what_was_delivered_is_evidence_byte_for_byte(desk: Desk, engine: Engine) -> None:
    from runbooks.domain.evidence import EvidenceClass, Manifest
    from tasks.evidence import seal_evidence, sealed_items

    place = configured(desk)
    hostile = {"text": "{{ 7*7 }} {% for x in y %} \u202e ${HOME}", "__prefect_kind": "jinja", "template": "{{ boom }}"}
    sent = [alarm(**hostile), alarm(**hostile, severity="high", alert="two") + b" \n "]
    for number, body in enumerate(sent):
        deliver(place, number, body)
    intake = Intake(place)
    _, said = intake.take_in()
    intake.close()
    dispatcher = dispatcher_on(place, engine)
    drain(dispatcher)
    dispatcher.store.close()
    incident = str(said[0].incident)
    manifest = Manifest.from_bytes(place.vault.get(seal_evidence.fn(incident)))
    items = list(sealed_items(place, manifest, EvidenceClass.J))
    assert [item for item in items if item in sent] == sent
    assert {json.loads(item)["source"] for item in items if item.startswith(b'{"body_digest"')} == {"monitor"}
    told = json.dumps([entry.body for entry in place.store.entries(incident)])
    assert "7*7" not in told
    assert "__prefect_kind" not in told
