"""`quell quiet`: signed by somebody who may, never without an end, never SEV1; what still fires opens at the end."""

import pytest

from runbooks.domain.correlation import Verdict
from runbooks.domain.ledger import EntryType
from runbooks.domain.severity import Severity
from runbooks.domain.signal import Signal
from tasks.ledger import clock
from tests.steps.desk import Desk, Ran
from tests.steps.intake_ground import Intake, a_classified, a_signal

WORDS = ("quiet", "--system", "helper", "--reason", "a release", "--json")


@pytest.fixture
def quiet_desk(desk: Desk) -> Desk:
    desk.change("policy.toml", "probes_in_a_row", 'quiet_roles = ["incident-commander"]\nprobes_in_a_row')
    return desk


def quiet(desk: Desk, person: str, *more: str) -> Ran:
    return desk(*WORDS, "--as", person, "--key", str(desk.keys[person]), *more)


def now_signal(key: str, **changes: object) -> Signal:
    return a_signal(key).model_copy(update={"received_at": clock(), "occurred_at": None, **changes})


def test_signals_open_nothing_until_it_is_ended_and_then_what_still_fires_does(quiet_desk: Desk) -> None:
    ran = quiet(quiet_desk, "ana", "--minutes", "30")
    assert ran.code == 0, ran
    name = ran.json["quiet"]["id"]
    intake = Intake(quiet_desk.installation)
    intake.correlator.learn(clock())
    assert intake.take(now_signal("1"))[0].verdict is Verdict.QUIET
    grave = a_classified(Severity.SEV1)
    assert intake.take(now_signal("2", entity="x"), classified=grave)[0].verdict is Verdict.OPENED
    assert [one["id"] for one in quiet_desk("quiet", "--json").json["quiet"]] == [name]
    before = intake.incidents()
    assert (
        quiet_desk("quiet", "--end", name, "--reason", "done", "--as", "ana", "--key", str(quiet_desk.keys["ana"])).code
        == 0
    )
    intake.correlator.learn(clock())
    intake.correlator.end_quiet(clock())
    assert len(intake.incidents()) == len(before) + 1
    assert quiet_desk("quiet", "--json").json["quiet"] == []
    intake.store.close()


@pytest.mark.parametrize(
    ("person", "more", "problem"),
    [
        ("ben", (), "one of the roles incident-commander"),
        ("ana", ("--minutes", "1441"), "within 24 hours"),
        ("ana", ("--minutes", "10081", "--maintenance"), "within 168 hours"),
        ("ana", ("--system", "elsewhere"), "inventory does not know"),
    ],
)
def test_what_is_refused_is_on_record(quiet_desk: Desk, person: str, more: tuple[str, ...], problem: str) -> None:
    ran = quiet(quiet_desk, person, *more)
    assert ran.code == 1
    assert problem in ran.json["error"]["problem"]
    assert len(quiet_desk.installation.store.entries(types=(EntryType.DECISION_REFUSED,))) == 1
    assert quiet_desk.installation.store.entries(types=(EntryType.SIGNALS_QUIETED,)) == []


def test_a_signature_of_somebody_else_or_none_is_refused(quiet_desk: Desk) -> None:
    stolen = quiet_desk(*WORDS, "--as", "ana", "--key", str(quiet_desk.keys["ben"]))
    assert stolen.code == 1
    assert quiet_desk(*WORDS, "--as", "ana").code == 1
    assert quiet_desk.installation.store.entries(types=(EntryType.SIGNALS_QUIETED,)) == []


def test_nobody_may_where_the_policy_names_nobody(desk: Desk) -> None:
    assert quiet(desk, "ana").code == 1
