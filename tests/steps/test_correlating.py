"""Signals become incidents: replays, twins, flapping, disorder, quiet, storms; nothing is lost and nothing doubled."""

import random
import sqlite3
import threading
from pathlib import Path

import pytest

from runbooks.domain.correlation import Standing, Verdict
from runbooks.domain.errors import LedgerError
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import later
from runbooks.domain.severity import Severity
from runbooks.domain.signal import Strength, TriageOutcome
from tasks.stores import open_signals, open_spool
from tests.steps.desk import Desk
from tests.steps.intake_ground import NOW, Intake, a_classified, a_signal, deliver, draft_of, resolved

MINUTE, HOUR = 60, 3600


def test_the_same_event_again_in_any_number_is_one_signal_and_one_incident(intake: Intake) -> None:
    first = intake.take(a_signal())
    assert [said.verdict for said in first] == [Verdict.OPENED]
    again = [a_signal(seconds=n, delivery=a_signal("x", n).delivery) for n in range(1, 40)]
    assert intake.take(*again) == []
    assert intake.incidents() == [first[0].incident]
    assert intake.store.counts(str(first[0].incident))[0] == 1


def test_twins_of_a_highly_available_sender_are_one_event_in_one_batch_too(intake: Intake) -> None:
    twin = a_signal(delivery=a_signal("other").delivery)
    said = intake.take(a_signal(), twin)
    assert len(said) == 1


def test_the_same_key_of_another_source_is_another_event_of_the_same_incident(intake: Intake) -> None:
    first, second = intake.take(a_signal(), a_signal(source="customers", strength=Strength.TOKEN))
    assert (first.verdict, second.verdict) == (Verdict.OPENED, Verdict.JOINED)
    assert second.incident == first.incident


def test_flapping_is_one_incident_and_its_alert_stands_as_it_is_now(intake: Intake) -> None:
    said = intake.take(
        a_signal("fire-1", 0, alert="a"), resolved("over-1", 60, alert="a"), a_signal("fire-2", 120, alert="a"),
        resolved("over-2", 180, alert="a"), a_signal("fire-1", 190, alert="a"), a_signal("fire-3", 240, alert="a"),
    )  # fmt: skip
    assert [one.verdict for one in said] == ["opened", "resolved", "joined", "resolved", "joined"]
    incident = str(said[0].incident)
    assert len(intake.incidents()) == 1
    assert intake.store.alerts(incident) == {"firing": 1}
    intake.take(resolved("over-3", 300, alert="a"))
    assert intake.store.alerts(incident) == {"resolved": 1}
    known = intake.store.find(incident)
    assert known is not None
    assert known.standing is Standing.OPEN, "all resolved is advice; people close"


def test_a_resolved_signal_alone_opens_nothing_and_the_late_firing_does(intake: Intake) -> None:
    assert intake.take(resolved("over", 60, alert="a", occurred_at=NOW))[0].verdict is Verdict.RESOLVED
    assert intake.incidents() == []
    said = intake.take(a_signal("fire", 61, alert="a", occurred_at=NOW))[0]
    assert said.verdict is Verdict.OPENED
    assert intake.store.alerts(str(said.incident)) == {"resolved": 1}, "out of order: it was over before we heard of it"


def test_any_order_and_any_batching_of_deliveries_gives_the_same_incidents(desk: Desk) -> None:
    signals = [
        a_signal(f"{system}-{n}", n * 30, system=system, alert=f"{system}-{n}", **({} if n % 3 else {"source": "customers"}))
        for system in ("helper", "other", "third") for n in range(12)
    ] + [resolved(f"over-{n}", n * 30 + 5, alert=f"helper-{n}") for n in range(12)]  # fmt: skip
    chance, found = random.Random(5), []  # noqa: S311 - the same shuffles every time
    desk.installation.activate_if_fresh()
    for turn in range(4):
        path = desk.home / f"turn-{turn}.db"
        intake = Intake(desk.installation)
        intake.store = intake.correlator.store = open_signals(path)
        order = signals + signals
        if turn:
            chance.shuffle(order)
        while order:
            size = chance.randint(1, 9)
            batch, order = order[:size], order[size:]
            intake.take(*batch, at=400)
        rows = [(draft_of(intake, one).report.system, intake.store.counts(one)[0]) for one in intake.incidents()]
        found.append(sorted(rows))
    assert found[0] == [("helper", 12), ("other", 12), ("third", 12)]
    assert found == found[:1] * 4


def test_after_the_window_a_new_incident_is_linked_and_the_old_one_takes_no_more(intake: Intake) -> None:
    first = str(intake.take(a_signal("1"))[0].incident)
    second = intake.take(a_signal("2", 31 * MINUTE))[0]
    assert second.verdict is Verdict.OPENED
    assert draft_of(intake, str(second.incident)).recurrence_of == first
    old = intake.store.find(first)
    assert old is not None
    assert (old.standing, old.ended_at) == (Standing.PASSED, NOW)
    assert intake.take(a_signal("3", 32 * MINUTE))[0].incident == second.incident
    late = intake.take(a_signal("4", -1), at=33 * MINUTE)[0]
    assert (late.verdict, late.incident) == (Verdict.JOINED, second.incident), "the newest one of the key takes it"


def test_what_was_received_before_the_closure_joins_and_what_comes_after_opens(intake: Intake) -> None:
    first = str(intake.take(a_signal("1"))[0].incident)
    intake.store.end(first, Standing.CLOSED, later(NOW, HOUR))
    late = intake.take(a_signal("2", HOUR - 1), at=HOUR + 5)[0]
    assert (late.verdict, late.incident) == (Verdict.LATE, first)
    new = intake.take(a_signal("3", HOUR + 1))[0]
    assert (new.verdict, draft_of(intake, str(new.incident)).recurrence_of) == (Verdict.OPENED, first)


def test_an_alert_that_nobody_can_name_and_that_keeps_coming_is_one_incident(intake: Intake) -> None:
    """Its response keeps the evidence and closes within a second; the next thousand alerts are no further incidents."""
    unnamed = a_classified(Severity.SEV2, outcome=TriageOutcome.UNCLASSIFIED, archetype=Archetype.UNCLASSIFIED)
    first = str(intake.take(a_signal("1"), classified=unnamed)[0].incident)
    intake.store.end(first, Standing.CLOSED, later(NOW, 1))
    for minute in range(1, 200, 20):
        said = intake.take(a_signal(f"again-{minute}", minute * MINUTE), classified=unnamed)[0]
        assert (said.verdict, said.incident) == (Verdict.LATE, first)
    assert intake.incidents() == [first]
    assert intake.store.counts(first)[0] == 11


def test_a_worse_signal_raises_and_a_milder_one_never_lowers(intake: Intake) -> None:
    other = {"outcome": TriageOutcome.PERFORMANCE, "archetype": Archetype.UNCLASSIFIED}
    mild, grave = a_classified(Severity.SEV2, **other), a_classified(Severity.SEV1, **other)
    incident = str(intake.take(a_signal("1"), classified=mild)[0].incident)
    rank = intake.store.waiting()[0].rank
    intake.take(a_signal("2", 1), classified=grave)
    intake.take(a_signal("3", 2), classified=mild)
    known = intake.store.find(incident)
    assert known is not None
    assert known.severity is Severity.SEV1
    assert (rank, intake.store.waiting()[0].rank) == (2, 1)
    intake.store.opened(incident, NOW)
    assert [(one, worse.severity.severity) for one, worse in intake.store.worse()] == [(incident, Severity.SEV1)]


AGENT = a_classified(
    Severity.SEV1, outcome=TriageOutcome.AGENTIC_MISALIGNMENT, archetype=Archetype.AGENTIC_MISALIGNMENT
)


def test_a_weak_report_that_came_first_does_not_delay_what_policy_allows_at_once(intake: Intake) -> None:
    weak = intake.take(a_signal("1", source="customers", strength=Strength.UNPROVEN), classified=AGENT)[0]
    strong = intake.take(a_signal("2", 1), classified=AGENT)[0]
    assert (weak.verdict, strong.verdict) == (Verdict.OPENED, Verdict.OPENED)
    origin = draft_of(intake, str(strong.incident)).origin
    assert origin is not None
    assert (origin.source, origin.fresh) == ("monitor", True)
    joined = intake.take(a_signal("3", 2, source="customers", strength=Strength.UNPROVEN), classified=AGENT)[0]
    assert joined.incident == strong.incident, "from now on complaints meet in the strong one"


def test_where_policy_allows_nothing_at_once_weak_and_strong_are_one(intake: Intake) -> None:
    weak, strong = intake.take(a_signal("1", source="customers", strength=Strength.UNPROVEN), a_signal("2", 1))
    assert weak.incident == strong.incident


def test_what_an_incident_is_opened_with(intake: Intake) -> None:
    hostile = "{{ 7*7 }} </script> rm -rf \x1b[31m" + "x" * 30_000
    said = intake.take(a_signal(text=hostile, occurred_at="1970-01-01T00:00:00.000000000Z"))[0]
    draft = draft_of(intake, str(said.incident))
    assert draft.report.what_happened == hostile[:20_000]
    assert (draft.report.began_at, draft.report.lead) == (None, "ana"), "a clock that cannot be right is not believed"
    assert (draft.report.reporter, draft.report.reporter_proven) == ("source monitor", True)
    assert draft.drill is True, "the system is a practice one"
    nowhere = intake.take(a_signal("2", system=None, source="customers", strength=Strength.TOKEN))[0]
    draft = draft_of(intake, str(nowhere.incident))
    assert (draft.report.system, draft.report.reporter_proven, draft.drill) == ("unknown-system", False, False)


def test_ten_thousand_alerts_of_one_cause_are_one_incident(intake: Intake) -> None:
    signals = [a_signal(str(n), n // 100, alert=str(n)) for n in range(10_000)]
    for start in range(0, 10_000, 500):
        intake.take(*signals[start : start + 500])
    assert len(intake.incidents()) == 1
    assert intake.store.counts(intake.incidents()[0]) == (10_000, 0)


def test_a_delivery_is_done_when_its_signals_stand_and_not_before(intake: Intake) -> None:
    path, signal = intake.place.settings.signals, a_signal()
    deliver(path, signal)
    unreadable = a_classified().model_copy(update={"rule": "\ud800"})
    with pytest.raises(ValueError, match="surrogate"):
        intake.take(a_signal("before"), signal, classified=unreadable)
    assert (intake.incidents(), len(open_spool(path).unread(9))) == ([], 1)
    intake.take(signal)
    assert (len(intake.incidents()), open_spool(path).unread(9)) == (1, [])


def test_two_at_once_open_one_incident(desk: Desk) -> None:
    """Two dispatchers read the same deliveries; whoever is second finds what the first one did."""
    desk.installation.activate_if_fresh()
    signals = [a_signal(str(n), n, system=f"s{n % 3}") for n in range(60)]
    faults: list[BaseException] = []

    def work() -> None:
        try:
            intake = Intake(desk.installation)
            for start in range(0, 60, 7):
                intake.take(*signals[start : start + 7])
        except (LedgerError, sqlite3.Error, AssertionError) as error:
            faults.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    intake = Intake(desk.installation)
    assert len(intake.incidents()) == 3
    assert [intake.store.counts(one)[0] for one in intake.incidents()] == [20, 20, 20]


def test_the_database_itself_refuses_a_second_open_incident_and_a_second_event(intake: Intake) -> None:
    incident = str(intake.take(a_signal())[0].incident)
    with sqlite3.connect(intake.place.settings.signals) as base:
        with pytest.raises(sqlite3.IntegrityError, match=r"incident\.key"):
            base.execute(
                "INSERT INTO incident SELECT 'INC-OTHER', key, standing, at_once, severity, opened_at, last_signal_at,"
                " ended_at, made_at, system, signals, noted, recurrence_of, storm FROM incident WHERE id = ?",
                (incident,),
            )
        with pytest.raises(sqlite3.IntegrityError, match=r"signal\.event_key"):
            base.execute(
                "INSERT INTO signal SELECT 999, delivery, source, event_key, mapping, key, received_at, verdict, incident,"
                " quiet, because, signal, classified FROM signal"
            )
    base.close()


def test_several_who_open_a_new_file_in_the_same_instant_all_get_it(tmp_path: Path) -> None:
    """SQLite refuses one of them at once, in about one of fifteen such rounds, without asking its busy timeout."""
    faults: list[LedgerError] = []

    def opened(file: Path, gate: threading.Barrier) -> None:
        gate.wait()
        try:
            open_signals(file).close()
        except LedgerError as error:
            faults.append(error)

    for number in range(60):
        gate = threading.Barrier(4)
        threads = [threading.Thread(target=opened, args=(tmp_path / f"{number}.db", gate)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []
