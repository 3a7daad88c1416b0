"""One real incident stays one when a person opened it first, opened it again, or said that it is of another kind."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from runbooks.domain.correlation import Correlated, KnownIncident, Standing, Verdict
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.severity import Severity
from runbooks.domain.signal import Basis, Classified, TriageOutcome
from runbooks.domain.value import digest_of
from tasks.evidence import seal_evidence
from tasks.intake.correlating import Understood
from tasks.intake.dispatching import Dispatcher, dispatcher_on
from tasks.intake.keeping import delivered_about
from tasks.ledger import clock, door_actor
from tasks.stores import open_signals, open_spool
from tests.steps.desk import Desk
from tests.steps.glass import written
from tests.steps.intake_ground import Intake, a_classified, a_judgement, a_signal, deliver, draft_of

UNNAMED = a_classified(outcome=TriageOutcome.UNCLASSIFIED, archetype=Archetype.UNCLASSIFIED)
AGENT = a_classified(outcome=TriageOutcome.AGENTIC_MISALIGNMENT, archetype=Archetype.AGENTIC_MISALIGNMENT)


def take(
    intake: Intake, name: str, seconds: int = 0, classified: Classified | None = None, **more: object
) -> Correlated:
    """One signal, received so many seconds from now, and what became of it; the ledger's news come first."""
    signal = a_signal(name, received_at=later(clock(), seconds)).model_copy(update=more)
    deliver(intake.place.settings.signals, signal, name.encode())
    intake.correlator.learn(clock())
    (said,) = intake.correlator.take_in(
        [Understood(signal.delivery, ((signal, classified or a_classified()),))], clock()
    )
    return said


@pytest.fixture
def dispatcher(intake: Intake) -> Iterator[Dispatcher]:
    made = dispatcher_on(intake.place, lambda _flow, incident, _drill: incident)
    yield made
    made.store.close()


def close(intake: Intake, incident: str) -> None:
    writer = intake.place.pen(door_actor("test"))
    writer.write(EntryType.INCIDENT_CLOSED, f"closed/{incident}", incident=incident, body={"ending": "recovered"})


def test_alerts_after_a_declaration_join_it_and_are_on_its_record(
    desk: Desk, intake: Intake, dispatcher: Dispatcher
) -> None:
    declared = desk.declare()
    said = [take(intake, "1"), take(intake, "2", entity="tenant-1"), take(intake, "3", environment="staging")]
    assert [(one.verdict, one.incident) for one in said] == [(Verdict.JOINED, declared)] * 3
    assert dispatcher.open_all() == []
    dispatcher.tell()
    assert written(desk, declared, EntryType.SIGNAL_RECEIVED)[0]["signals"] == 3


def test_a_worse_alert_raises_what_a_person_declared(desk: Desk, intake: Intake, dispatcher: Dispatcher) -> None:
    declared = desk.declare(archetype="unclassified")
    worse = UNNAMED.model_copy(update={"severity": a_judgement(Severity.SEV1)})
    assert take(intake, "1", classified=worse).incident == declared
    dispatcher.tell()
    assert intake.place.incident(declared).severity.severity is Severity.SEV1
    assert len(written(desk, declared, EntryType.SEVERITY_CHANGED)) == 1


def test_what_joined_before_the_seal_is_sealed_with_it(desk: Desk, intake: Intake) -> None:
    from runbooks.domain.evidence import EvidenceClass, Manifest
    from tasks.evidence import sealed_items

    declared = desk.declare()
    take(intake, "the very bytes")
    assert len(delivered_about(intake.place, declared)) == 1
    manifest = Manifest.from_bytes(intake.place.vault.get(seal_evidence.fn(declared)))
    assert b"the very bytes" in list(sealed_items(intake.place, manifest, EvidenceClass.J))


@pytest.mark.parametrize(
    "other",
    [
        {"system": "elsewhere"},
        {"classified": AGENT.model_copy(update={"basis": Basis.KEYWORD})},
        {"classified": a_classified(near_miss=True, outcome=TriageOutcome.NEAR_MISS)},
        {"seconds": 31 * 60},
    ],
    ids=["another system", "another kind", "stopped before harm", "long after"],
)
def test_what_people_did_not_open_it_for_opens_its_own(desk: Desk, intake: Intake, other: dict[str, object]) -> None:
    declared = desk.declare()
    said = take(intake, "1", **other)  # type: ignore[arg-type]
    assert said.verdict is Verdict.OPENED
    assert said.incident != declared


def test_what_nobody_can_name_is_not_all_the_same(desk: Desk, intake: Intake) -> None:
    declared = desk.declare(archetype="unclassified")
    outage = a_classified(outcome=TriageOutcome.SUPPLIER, archetype=Archetype.UNCLASSIFIED)
    assert take(intake, "1", classified=outage).verdict is Verdict.OPENED
    assert take(intake, "2", classified=UNNAMED).incident == declared


def test_what_may_begin_without_people_waits_for_no_declaration_and_names_it(desk: Desk, intake: Intake) -> None:
    declared = desk.declare(archetype="agentic-misalignment")
    said = take(intake, "1", classified=AGENT)
    assert said.verdict is Verdict.OPENED
    draft = draft_of(intake, str(said.incident))
    assert f"{declared} is open for the same, and there people are waited for" in draft.because
    assert take(intake, "2", classified=AGENT, source="customers").incident == said.incident, (
        "as ever: into the strong one"
    )


def test_after_its_closure_what_comes_back_is_linked(desk: Desk, intake: Intake) -> None:
    declared = desk.declare()
    assert take(intake, "1").incident == declared
    close(intake, declared)
    said = take(intake, "2", 60)
    assert (said.verdict, said.recurrence_of) == (Verdict.OPENED, declared)


def test_whoever_declares_what_is_open_already_is_told_and_gets_it_all_the_same(
    desk: Desk, intake: Intake, dispatcher: Dispatcher
) -> None:
    first = str(take(intake, "1").incident)
    dispatcher.open_all()
    words = (
        "declare",
        "--system",
        "helper",
        "--what",
        "refunds",
        "--as",
        "eve",
        "--archetype",
        "prompt-injection",
        "--drill",
    )
    ran = desk(*words, "--json")
    second = str(ran.json["incident"])
    assert second != first
    assert ran.json["also_open"] == [first]
    assert any(first in notice and "Look there first" in notice for notice in ran.json["notices"])
    assert written(desk, second, EntryType.INCIDENT_OPENED)[0]["also_open"] == [first]
    assert first in desk("show", second).out
    assert desk("show", second, "--json").json["also_open"] == [first]
    assert desk("show", first, "--json").json["also_open"] == []
    assert take(intake, "2").incident == first, "alerts go on joining the one that alerts opened"
    close(intake, first)
    assert desk(*words, "--what", "more", "--json").json["also_open"] == [second]


def test_another_system_or_kind_is_not_already_open(desk: Desk) -> None:
    desk.declare(archetype="agentic-misalignment")
    words = (
        "declare",
        "--system",
        "elsewhere",
        "--what",
        "x",
        "--as",
        "eve",
        "--archetype",
        "prompt-injection",
        "--json",
    )
    assert desk(*words).json["also_open"] == []
    ran = desk(
        "declare", "--system", "helper", "--what", "y", "--as", "eve", "--archetype", "prompt-injection", "--json"
    )
    assert ran.json["also_open"] == []


def reclassify(desk: Desk, incident: str) -> str:
    ran = desk(
        "reclassify", incident, "--archetype", "prompt-injection", "--as", "ana", "--key", str(desk.keys["ana"]),
        "--reason", "a ticket told it to", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran
    found = [e for e in desk.installation.store.entries(types=(EntryType.INCIDENT_OPENED,)) if e.body.get("continues")]
    assert found[-1].body["continues"] == incident
    return str(found[-1].incident)


@pytest.mark.parametrize("closed", [False, True], ids=["while it is open", "after it closed"])
def test_what_was_named_anew_takes_the_signals_of_both_kinds(
    desk: Desk, intake: Intake, dispatcher: Dispatcher, closed: bool
) -> None:
    first = str(take(intake, "1", classified=UNNAMED).incident)
    dispatcher.open_all()
    if closed:
        close(intake, first)
    second = reclassify(desk, first)
    assert take(intake, "2", classified=UNNAMED).incident == second
    assert take(intake, "3").incident == second
    assert intake.store.counts(first)[0] == 1
    close(intake, first)
    assert take(intake, "4", classified=UNNAMED).incident == second
    close(intake, second)
    assert take(intake, "5", 60, classified=UNNAMED).recurrence_of == second


def test_what_was_named_anew_twice_goes_to_the_last(desk: Desk, intake: Intake, dispatcher: Dispatcher) -> None:
    first = str(take(intake, "1", classified=UNNAMED).incident)
    dispatcher.open_all()
    second = reclassify(desk, first)
    ran = desk("reclassify", second, "--archetype", "agentic-misalignment", "--as", "ana", "--key", str(desk.keys["ana"]),
               "--reason", "nobody told it to", "--json")  # fmt: skip
    assert ran.code == 0, ran
    third = str(desk.installation.store.entries(types=(EntryType.INCIDENT_OPENED,))[-1].incident)
    assert {take(intake, "2", classified=UNNAMED).incident, take(intake, "3").incident} == {third}


def test_what_people_open_makes_no_storm(desk: Desk) -> None:
    desk.installation.activate_if_fresh()
    intake = Intake(desk.installation, {"storm_incidents": 2})
    for number in range(4):
        desk("declare", "--system", f"system-{number}", "--what", "x", "--as", "eve", "--archetype", "prompt-injection")
    said = take(intake, "1", system="another")
    assert said.verdict is Verdict.OPENED
    assert draft_of(intake, str(said.incident)).storm is None


def test_a_file_of_signals_from_before_is_taken_on(desk: Desk) -> None:
    desk.installation.activate_if_fresh()
    path = desk.installation.settings.signals
    open_spool(path).close()
    open_signals(path).close()
    with closing(sqlite3.connect(path)) as base:
        base.executescript("DROP TABLE reached; PRAGMA user_version = 1;")
    declared = desk.declare()
    assert take(Intake(desk.installation), "1").incident == declared


def test_one_key_has_one_open_incident_whoever_was_handed_its_signals(intake: Intake) -> None:
    """An older incident of the same key was named anew, so its signals go to the one that continues it; the next is new."""
    store = intake.store

    def known(name: str) -> KnownIncident:
        now = clock()
        return KnownIncident(
            id=name, key=digest_of(b"key"), standing=Standing.OPEN, at_once=False, severity=Severity.SEV2, opened_at=now,
            last_signal_at=now,
        )  # fmt: skip

    with store.writing():
        for name in ("INC-AAAAAAAAAA", "INC-BBBBBBBBBB"):
            store.open(known(name), b"", system="agent", made_at=clock(), recurrence_of=None, storm=None)
    standing = [found.standing for name in ("INC-AAAAAAAAAA", "INC-BBBBBBBBBB") if (found := store.find(name))]
    assert standing == [Standing.PASSED, Standing.OPEN]
