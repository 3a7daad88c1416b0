"""Small signals that recur are lifted: the incident that they open, and the one that they join."""

from runbooks.domain.incident import Archetype
from runbooks.domain.severity import Factors, Floor, Severity
from runbooks.domain.signal import TriageOutcome
from tasks.intake.dispatching import dispatcher_on
from tests.steps.desk import Desk
from tests.steps.intake_ground import NOW, Intake, a_classified, a_signal, draft_of, resolved

HOUR = 3600


def test_recurring_small_signals_lift_the_severity_of_what_they_open(desk: Desk) -> None:
    desk.installation.activate_if_fresh()
    intake = Intake(desk.installation, {"recurring_signals": 4})
    for n in range(3):
        incident = str(intake.take(a_signal(str(n), n * HOUR))[0].incident)
        assert Floor.SILENT_RECURRENCE not in draft_of(intake, incident).report.floors
    fourth = str(intake.take(a_signal("3", 3 * HOUR))[0].incident)
    assert Floor.SILENT_RECURRENCE in draft_of(intake, fourth).report.floors


SMALL = a_classified(
    Severity.SEV4, outcome=TriageOutcome.PERFORMANCE, archetype=Archetype.UNCLASSIFIED,
    factors=Factors.model_validate(dict.fromkeys(Factors.model_fields, 0)),
)  # fmt: skip


def test_small_signals_that_recur_lift_the_incident_that_they_join(desk: Desk) -> None:
    desk.installation.activate_if_fresh()
    intake = Intake(desk.installation, {"recurring_signals": 4, "recurrence_days": 1})
    incident = str(intake.take(a_signal("0"), classified=SMALL)[0].incident)
    intake.store.opened(incident, NOW)
    intake.take(
        resolved("0-over", 1), resolved("0-over-again", 2), a_signal("1", 3), a_signal("2", 4), classified=SMALL
    )
    assert intake.store.worse() == [], "three so far: what ends an alert is none more"
    for n in range(3, 9):
        intake.take(a_signal(str(n), 5 + n), classified=SMALL)
    known = intake.store.find(incident)
    assert known is not None
    assert known.severity is Severity.SEV2
    ((told, worse),) = intake.store.worse()
    assert (told, worse.severity.severity) == (incident, Severity.SEV2)
    assert worse.delivery == a_signal("3", 8).delivery, "the fourth one, and once"
    assert worse.because == "4 signals of its kind within 1 days: they recur"
    assert "silent recurrence: one level up, SEV2" in worse.severity.reasons


def test_what_recurs_now_and_then_over_a_longer_time_lifts_nothing(desk: Desk) -> None:
    desk.installation.activate_if_fresh()
    intake = Intake(
        desk.installation, {"recurring_signals": 4, "recurrence_days": 1, "oldest_hours": 720, "join_minutes": 1440}
    )
    for n in range(8):
        said = intake.take(a_signal(str(n), n * 9 * HOUR), classified=SMALL)[0]
    known = intake.store.find(str(said.incident))
    assert known is not None
    assert known.severity is Severity.SEV4
    assert intake.store.counts(known.id)[0] == 8


def test_what_recurs_raises_in_the_ledger_with_the_reason(desk: Desk) -> None:
    desk.installation.activate_if_fresh()
    intake = Intake(desk.installation, {"recurring_signals": 3})
    incident = str(intake.take(a_signal("1"), classified=SMALL)[0].incident)
    dispatcher = dispatcher_on(intake.place, lambda _flow, incident, _drill: incident)
    dispatcher.open_all()
    intake.take(a_signal("2", 1), a_signal("3", 2), classified=SMALL)
    dispatcher.tell()
    dispatcher.store.close()
    now = intake.place.incident(incident).severity
    assert now.severity is Severity.SEV2
    assert now.reasons[-1] == "3 signals of its kind within 14 days: they recur"
