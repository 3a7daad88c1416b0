"""People hear of an incident once per severity, of a storm once, and of a response that does not begin."""

from collections.abc import Iterator

import pytest

from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.replay import Outcome, Replay
from runbooks.domain.severity import Severity
from tasks.announcing import Announcer
from tasks.intake.dispatching import Dispatcher, dispatcher_on
from tasks.ledger import INSTALLATION, clock, flow_actor
from tasks.proofs import listed_fingerprints
from tests.steps.desk import Desk
from tests.steps.intake_ground import Intake, a_classified, a_signal
from tests.steps.test_dispatching import TRIAGE
from tests.steps.test_telling import Receiver


@pytest.fixture
def chat(desk: Desk) -> Iterator[Receiver]:
    found = Receiver()
    (desk.home / "secrets" / "chat").write_text(found.address)
    policy = (desk.home / "config" / "policy.toml").read_text()
    more = '[channels]\nchat = "file:secrets/chat"\n[opening_channels]\nSEV1 = ["chat"]\nSEV2 = ["chat"]\n'
    desk.write("policy.toml", f"{policy}\n{more}")
    desk.installation.activate_if_fresh()
    yield found
    found.close()


def dispatch(intake: Intake) -> Dispatcher:
    dispatcher = dispatcher_on(intake.place, lambda flow, incident, drill: f"run {flow} {incident} {drill}")
    dispatcher.open_all()
    dispatcher.tell()
    return dispatcher


def test_once_per_incident_and_severity(chat: Receiver, intake: Intake) -> None:
    incident = str(
        intake.take(a_signal("1", text="{{ boom }}"), classified=a_classified(Severity.SEV2, **TRIAGE))[0].incident
    )
    dispatcher, announcer = dispatch(intake), Announcer(intake.place)
    for _ in range(3):
        announcer.announce(incident, clock())
    assert [one["title"] for one in chat.heard] == ["quell: SEV2 unclassified on helper (DRILL)"]
    intake.take(a_signal("2", 1), classified=a_classified(Severity.SEV1, **TRIAGE))
    dispatcher.tell()
    for _ in range(3):
        Announcer(intake.place).announce(incident, clock())
    assert [one["title"][:11] for one in chat.heard] == ["quell: SEV2", "quell: SEV1"]
    assert "boom" not in str(chat.heard)
    dispatcher.store.close()


def test_a_storm_is_told_once(chat: Receiver, intake: Intake) -> None:
    for n in range(26):
        intake.take(a_signal(str(n), n, entity=f"e{n}"))
    dispatcher, announcer = dispatch(intake), Announcer(intake.place)
    for incident in intake.incidents():
        announcer.announce(incident, clock())
    titles = [one["title"] for one in chat.heard]
    assert len(titles) == 21, "twenty by themselves, and one for the storm and all that follows"
    assert sum("a storm" in title for title in titles) == 1
    dispatcher.store.close()


def test_a_storm_is_as_severe_as_the_worst_in_it(desk: Desk, chat: Receiver, intake: Intake) -> None:
    """Whoever can make twenty cheap incidents must not hide the one that matters."""
    desk.change("policy.toml", 'SEV2 = ["chat"]\n', "")
    place = desk.installation
    place.activate(place.proposed(), INSTALLATION, {"proof": "a test's own"})
    cheap = a_classified(Severity.SEV3, **TRIAGE)
    for n in range(24):
        intake.take(a_signal(str(n), n, entity=f"e{n}"), classified=cheap)
    dispatcher, announcer = dispatch(intake), Announcer(place)
    for incident in intake.incidents():
        announcer.announce(incident, clock())
    assert chat.heard == [], "a storm of what is not severe goes to nobody here"
    for n in (24, 25):
        intake.take(a_signal(str(n), n, entity=f"e{n}"), classified=a_classified(Severity.SEV1))
    dispatcher.open_all()
    for _ in range(2):
        for incident in intake.incidents():
            announcer.announce(incident, clock())
    assert [one["title"] for one in chat.heard] == ["quell: SEV1 a storm of incidents on helper (DRILL)"]
    (storm,) = {
        str(e.body["storm"]) for e in place.store.entries(types=(EntryType.INCIDENT_OPENED,)) if "storm" in e.body
    }
    house = place.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
    steps = Replay(place.store.entries(storm), house, place.vault.get, listed_fingerprints).steps()
    assert [step.differences for step in steps if step.outcome is Outcome.DIFFERS] == []
    place.pen(flow_actor("test")).write(
        EntryType.INCIDENT_CLOSED, "closed", incident=storm, body={"ending": "evidence_only"}
    )
    intake.take(a_signal("26", 26, entity="e26"), classified=a_classified(Severity.SEV1))
    dispatcher.open_all()
    for incident in set(intake.incidents()) - {storm}:
        announcer.announce(incident, clock())
    assert len(chat.heard) == 1, "its own triage is done within seconds, and the storm goes on"
    dispatcher.store.close()


def test_what_is_worse_than_a_storm_whose_triage_is_done_is_told_once(chat: Receiver, intake: Intake) -> None:
    for n in range(21):
        intake.take(a_signal(str(n), n, entity=f"e{n}"), classified=a_classified(Severity.SEV2, **TRIAGE))
    dispatcher, announcer, place = dispatch(intake), Announcer(intake.place), intake.place
    (storm,) = {
        str(e.body["storm"]) for e in place.store.entries(types=(EntryType.INCIDENT_OPENED,)) if "storm" in e.body
    }
    announcer.announce(storm, clock())
    place.pen(flow_actor("test")).write(
        EntryType.INCIDENT_CLOSED, "closed", incident=storm, body={"ending": "evidence_only"}
    )
    for n in (21, 22):
        intake.take(a_signal(str(n), n, entity=f"e{n}"), classified=a_classified(Severity.SEV1))
    dispatcher.open_all()
    for _ in range(2):
        for incident in intake.incidents():
            if incident != storm and place.incident(incident).storm == storm:
                announcer.announce(incident, clock())
    assert [one["title"] for one in chat.heard] == [
        "quell: SEV2 a storm of incidents on helper (DRILL)",
        "quell: SEV1 a storm of incidents on helper (DRILL)",
    ]
    dispatcher.store.close()


def test_a_storm_of_a_drill_hides_nothing_real(desk: Desk, chat: Receiver, intake: Intake) -> None:
    desk.write(
        "systems.toml",
        (desk.home / "config" / "systems.toml").read_text()
        + '\n[systems.shop-bot]\ntitle = "Shop bot"\nowner = "dora"\nlead = "ana"\n',
    )
    place = desk.installation
    place.activate(place.proposed(), INSTALLATION, {"proof": "a test's own"})
    intake = Intake(place)
    for n in range(22):
        intake.take(a_signal(str(n), n, entity=f"e{n}"))
    real = str(intake.take(a_signal("real", 30, system="shop-bot"))[0].incident)
    dispatcher, announcer = dispatch(intake), Announcer(place)
    assert place.incident(real).storm is None
    announcer.announce(real, clock())
    assert [one["title"] for one in chat.heard] == ["quell: SEV1 prompt-injection on shop-bot"]
    dispatcher.store.close()


def test_a_response_that_does_not_begin_calls_for_people_once(chat: Receiver, intake: Intake) -> None:
    incident = str(intake.take(a_signal())[0].incident)
    dispatcher, announcer = dispatch(intake), Announcer(intake.place)
    announcer.announce(incident, later(clock(), 50))
    assert intake.place.store.entries(incident, types=(EntryType.PERSON_NEEDED,)) == []
    for _ in range(2):
        announcer.announce(incident, later(clock(), 61))
    calls = intake.place.store.entries(incident, types=(EntryType.PERSON_NEEDED,))
    assert [entry.body["because"] for entry in calls] == [
        "its response has not begun for 60 s: Prefect did not start it"
    ]
    assert [one["title"] for one in chat.heard][1:] == [f"quell: {incident} is open and its response has not begun"]
    dispatcher.store.close()


def test_a_response_that_began_calls_for_nobody(chat: Receiver, intake: Intake) -> None:
    incident = str(intake.take(a_signal())[0].incident)
    dispatcher, announcer = dispatch(intake), Announcer(intake.place)
    intake.place.pen(flow_actor("test")).write(EntryType.RUN_STARTED, "run", incident=incident)
    announcer.announce(incident, later(clock(), 3600))
    assert intake.place.store.entries(incident, types=(EntryType.PERSON_NEEDED,)) == []
    assert len(chat.heard) == 1
    dispatcher.store.close()
