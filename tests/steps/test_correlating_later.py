"""What time and people change: quiet that ends, storms, closures, a mapping that was corrected."""

from runbooks.domain.correlation import Correlated, IncidentDraft, Quiet, Standing, Verdict
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.severity import Severity
from tasks.ledger import clock, door_actor
from tests.steps.intake_ground import NOW, Intake, a_classified, a_signal, draft_of, resolved

HOUR = 3600


def a_quiet(intake: Intake, until: int) -> None:
    intake.store.keep_quiet(
        Quiet(
            id="QUIET-1",
            system="helper",
            since=NOW,
            until=later(NOW, until),
            maintenance=True,
            person="ana",
            reason="r",
        )
    )


def test_what_still_fires_when_the_quiet_ends_opens_then(intake: Intake) -> None:
    a_quiet(intake, HOUR)
    said = intake.take(
        a_signal("still", 10, alert="a"), a_signal("gone", 20, alert="b"), resolved("b-over", 30, alert="b"),
        a_signal("elsewhere", 40, system="other"),
    )  # fmt: skip
    assert [one.verdict for one in said] == ["quiet", "quiet", "resolved", "opened"]
    assert intake.correlator.end_quiet(later(NOW, HOUR - 1)) == 0
    before = intake.incidents()
    assert intake.correlator.end_quiet(later(NOW, HOUR)) == 2
    opened = [one for one in intake.incidents() if one not in before]
    assert [draft_of(intake, one).report.system for one in opened] == ["helper"]
    assert [kept.signal.alert for kept in intake.store.signals_of(opened[0], 9)] == ["a"]
    assert intake.correlator.end_quiet(later(NOW, 2 * HOUR)) == 0
    assert intake.take(a_signal("still", HOUR + 1)) == [], "the repeat is known"


def test_what_is_worse_than_foreseen_opens_in_spite_of_quiet(intake: Intake) -> None:
    a_quiet(intake, HOUR)
    assert intake.take(a_signal(), classified=a_classified(Severity.SEV1))[0].verdict is Verdict.OPENED


def test_a_storm_opens_one_parent_and_keeps_counting(intake: Intake) -> None:
    said = [intake.take(a_signal(f"s{n}", n, system=f"system-{n}"))[0] for n in range(45)]
    assert {one.verdict for one in said} == {Verdict.OPENED}
    drafts = {row.incident: IncidentDraft.from_bytes(row.draft) for row in intake.store.waiting()}
    assert len(drafts) == 46, "45 incidents, none of them dropped, and one that stands for the storm"
    parents = {draft.storm for draft in drafts.values() if draft.storm}
    assert len(parents) == 1
    parent = parents.pop()
    children = [one for one, draft in drafts.items() if draft.storm == parent and one != parent]
    assert children == [one.incident for one in said[20:]]
    assert (drafts[parent].report.system, drafts[parent].archetype) == ("several-systems", Archetype.UNCLASSIFIED)
    calm = intake.take(a_signal("later", HOUR, system="system-x"))[0]
    assert draft_of(intake, str(calm.incident)).storm is None


def test_a_corrected_mapping_places_a_known_event_where_it_belongs(intake: Intake) -> None:
    wrong = a_signal(system=None)
    first = str(intake.take(wrong)[0].incident)
    right = wrong.model_copy(update={"system": "helper", "mapping": "sha256:" + "6" * 64})
    assert intake.take(wrong) == []
    said = intake.take(right)[0]
    assert said.verdict is Verdict.OPENED
    assert said.incident != first
    assert draft_of(intake, str(said.incident)).report.system == "helper"
    assert intake.take(right, wrong.model_copy(update={"mapping": right.mapping, "system": "helper"})) == []


def test_a_signal_in_the_very_instant_of_the_closure_is_judged_again(intake: Intake) -> None:
    first = str(intake.take(a_signal("1"), a_signal("2", 10))[0].incident)
    writer = intake.place.pen(door_actor("test"))
    closed = writer.write(EntryType.INCIDENT_CLOSED, f"closed/{first}", incident=first, body={"ending": "recovered"})
    racing = a_signal("3").model_copy(update={"received_at": later(closed.at, 1)})
    intake.store.join(first, racing.received_at)
    said = Correlated(verdict=Verdict.JOINED, incident=first, because="the incident is open")
    intake.store.keep(racing, a_classified(), "sha256:" + "0" * 64, said)
    intake.correlator.learn(racing.received_at)
    second = [one for one in intake.incidents() if one != first]
    assert [draft_of(intake, one).recurrence_of for one in second] == [first]
    assert intake.store.signals_of(second[0], 9)[0].signal.event_key == racing.event_key
    intake.correlator.learn(racing.received_at)
    assert len(intake.incidents()) == 2


def test_alerts_that_go_on_after_an_end_without_any_act_are_counted_and_open_nothing(intake: Intake) -> None:
    """The inventory does not know the system: the response seals and ends in seconds, and the alerts do not stop."""
    first = str(intake.take(a_signal("first", system="elsewhere", received_at=clock()))[0].incident)
    writer = intake.place.pen(door_actor("test"))
    body = {"ending": "evidence_only"}
    ended = writer.write(EntryType.INCIDENT_CLOSED, f"closed/{first}", incident=first, body=body).at
    intake.correlator.learn(ended)
    after = [a_signal(str(n), system="elsewhere", received_at=later(ended, n * 60)) for n in range(1, 40)]
    assert {one.incident for one in intake.take(*after)} == {first}
    assert intake.store.counts(first)[0] == 40
    again = a_signal("again", system="elsewhere", received_at=later(ended, 39 * 60 + 31 * 60))
    assert intake.take(again)[0].verdict is Verdict.OPENED, "after half an hour of silence it is news"


def test_what_a_mapping_placed_elsewhere_and_the_next_one_back_is_of_the_incident_that_it_opened(
    intake: Intake,
) -> None:
    """An incident is named by its first event and its key: a second one would have the same name, and stop all intake."""
    event = a_signal("e", -72 * HOUR)
    opened = intake.take(event, at=-72 * HOUR)[0].incident
    intake.store.end(str(opened), Standing.CLOSED, later(NOW, -71 * HOUR))
    elsewhere = event.model_copy(update={"mapping": "sha256:" + "6" * 64, "system": "wrong"})
    assert intake.take(elsewhere, at=100)[0].verdict is Verdict.OPENED
    back = event.model_copy(update={"mapping": "sha256:" + "5" * 64, "received_at": later(NOW, 300)})
    (said,) = intake.take(back, at=300)
    assert (said.verdict, said.incident) == (Verdict.LATE, opened)
    assert intake.take(a_signal("next", 400, system="other"))[0].verdict is Verdict.OPENED


def test_a_storm_that_goes_on_is_another_one_after_an_hour(intake: Intake) -> None:
    storms = []
    for n in range(0, 70 * 60, 12):
        incident = str(intake.take(a_signal(str(n), n, entity=f"e{n}"))[0].incident)
        storms.append(draft_of(intake, incident).storm)
    assert storms[:20] == [None] * 20
    assert len(set(storms[20:])) == 2
    first, second = storms[20], storms[-1]
    assert storms.index(second) - storms.index(first) == 60 * 60 // 12
    assert intake.store.find(str(second)) is not None
