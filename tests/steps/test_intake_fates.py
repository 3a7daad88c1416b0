"""What the person who sent something is told of it: one word, and only for the receipt of that source."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from runbooks.domain.correlation import Standing
from runbooks.domain.instants import later
from runbooks.domain.signal import Signal
from tasks.intake.committing import spool_of
from tasks.intake.correlating import Understood
from tasks.intake.fates import Fate, fate_of
from tasks.intake.outbox import defects
from tests.steps.desk import Desk
from tests.steps.intake_ground import NOW, Intake, a_classified, a_signal, deliver, resolved


@pytest.fixture
def intake(desk: Desk) -> Iterator[Intake]:
    desk.installation.activate_if_fresh()
    found = Intake(desk.installation)
    yield found
    found.store.close()


def fate(intake: Intake, signal: Signal, source: str = "monitor") -> Fate | None:
    with closing(spool_of(intake.place)) as spool:
        return fate_of(intake.place, spool, signal.delivery, source)


def test_from_received_to_over(intake: Intake) -> None:
    signal = a_signal("one")
    assert fate(intake, signal) is None
    deliver(intake.place.settings.signals, signal)
    assert fate(intake, signal) is Fate.RECEIVED
    assert fate(intake, signal, "customers") is None, "a receipt of another source opens nothing"
    intake.take(signal)
    assert fate(intake, signal) is Fate.RESPONDING
    (incident,) = intake.incidents()
    for standing, expected in ((Standing.PASSED, Fate.RESPONDING), (Standing.CLOSED, Fate.OVER)):
        with intake.store.writing():
            intake.store.end(incident, standing, later(NOW, 5))
        assert fate(intake, signal) is expected


def test_what_opened_nothing_and_what_could_not_be_read(intake: Intake) -> None:
    over, unread = resolved("over"), a_signal("unread", 1)
    for signal in (over, unread):
        deliver(intake.place.settings.signals, signal)
    intake.take(over)
    assert fate(intake, over) is Fate.NOTED
    intake.correlator.take_in([Understood(unread.delivery, (), "no mapping is for it")], later(NOW, 2))
    assert fate(intake, unread) is Fate.UNREAD


def test_what_was_read_in_part_is_not_called_unreadable(intake: Intake) -> None:
    signal = a_signal("half")
    deliver(intake.place.settings.signals, signal)
    half = Understood(signal.delivery, ((signal, a_classified()),), "1 of 2 items could not be read")
    intake.correlator.take_in([half], later(NOW, 2))
    assert fate(intake, signal) is Fate.RESPONDING
    assert [one.because for one in defects(intake.place)] == ["1 of 2 items could not be read"]
