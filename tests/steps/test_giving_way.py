"""What can wait in one response waits while others have not begun, and not for ever."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import EntryType
from tasks import giving_way
from tasks.giving_way import Calm, give_way, hold_back, holds_back, speak, step_back
from tasks.intake.bell import Listener, bell_of
from tasks.intake.dispatching import Dispatcher, dispatcher_on
from tasks.intake.outbox import others_wait_to_begin
from tasks.ledger import KEEPER
from tasks.turns import Turn
from tests.steps.intake_ground import Intake, a_signal
from tests.steps.test_dispatching import Engine

ME = "INC-ME"


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_way._Voice, "silent_until", 0.0)
    monkeypatch.setattr(giving_way._Voice, "patient_until", None)
    monkeypatch.setattr(giving_way._Voice, "turn", None)


@pytest.fixture(autouse=True)
def heard(intake: Intake) -> Iterator[Listener]:
    """A dispatcher listens."""
    listener = Listener(bell_of(intake.place.settings.home))
    yield listener
    with suppress(OSError):  # a test may have closed it
        listener.close()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def dispatcher(intake: Intake, engine: Engine) -> Iterator[Dispatcher]:
    made = dispatcher_on(intake.place, engine)
    yield made
    made.store.close()


def _gives_way() -> threading.Thread:
    thread = threading.Thread(target=give_way, args=(ME,))
    thread.start()
    thread.join(0.3)
    return thread


def test_it_waits_until_the_others_have_begun(intake: Intake, dispatcher: Dispatcher) -> None:
    assert not others_wait_to_begin(intake.place, ME), "there is nobody else"
    intake.take(a_signal())
    waits = _gives_way()
    assert waits.is_alive()
    dispatcher.open_all()
    assert dispatcher.start_next()
    waits.join(5)
    assert not waits.is_alive()


def test_it_does_not_wait_for_those_whom_prefect_does_not_start(
    intake: Intake, dispatcher: Dispatcher, engine: Engine
) -> None:
    intake.take(a_signal())
    dispatcher.open_all()
    assert others_wait_to_begin(intake.place, ME)
    engine.away = True
    assert dispatcher.start_next() is False
    assert not others_wait_to_begin(intake.place, ME)


def test_who_holds_back_speaks_when_it_gave_way_or_when_it_takes_too_long(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not holds_back()
    hold_back()
    assert holds_back()
    give_way(ME)
    assert not holds_back(), "nobody else waited"
    hold_back()
    speak()
    assert not holds_back()
    monkeypatch.setattr(giving_way, "SILENT_SECONDS", 0.05)
    hold_back()
    intake.take(a_signal())
    time.sleep(0.1)
    assert not holds_back()


def test_who_began_steps_back_only_while_others_wait(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    lowered: list[int] = []
    monkeypatch.setattr(os, "nice", lowered.append)
    step_back(ME)
    assert lowered == []
    intake.take(a_signal())
    step_back(ME)
    assert lowered == [giving_way.LOWER_BY]


def test_a_flood_holds_nobody_up_for_longer(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_way, "LONGEST_SECONDS", 0.5)
    intake.take(a_signal())
    waits = _gives_way()
    assert waits.is_alive()
    waits.join(5)
    assert not waits.is_alive()
    assert others_wait_to_begin(intake.place, ME), "they still wait"
    began = time.monotonic()
    give_way(ME)
    assert time.monotonic() - began < 0.25, "not once more for the next page"


def test_it_waits_neither_for_itself_nor_for_a_dispatcher_that_is_gone(intake: Intake, heard: Listener) -> None:
    incident = str(intake.take(a_signal())[0].incident)
    assert not others_wait_to_begin(intake.place, incident)
    assert others_wait_to_begin(intake.place, ME)
    heard.close()
    assert not others_wait_to_begin(intake.place, ME)


def test_a_file_of_signals_that_cannot_be_read_ends_the_courtesy_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def damaged(*_: object) -> bool:
        raise LedgerError("no database.", now="nothing", next_step="restore it")

    monkeypatch.setattr(giving_way, "others_wait_to_begin", damaged)
    give_way(ME)


def _waits_for_calm(calm: Calm, seconds: float = 5.0) -> threading.Thread:
    thread = threading.Thread(target=calm.wait, args=(time.monotonic() + seconds,))
    thread.start()
    thread.join(0.15)
    return thread


def test_who_works_beside_waits_while_a_response_is_begun(
    intake: Intake, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_way, "BEGINNING_SECONDS", 0.0)
    calm = Calm(intake.place)
    assert not _waits_for_calm(calm).is_alive(), "nobody is in a hurry"
    intake.take(a_signal())
    dispatcher.open_all()
    beside = _waits_for_calm(calm)
    assert beside.is_alive(), "the outbox holds a response"
    assert dispatcher.start_next()
    beside.join(5)
    assert not beside.is_alive()


def test_and_for_a_moment_after_it_was_opened_until_it_has_its_turn(
    intake: Intake, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_way, "BEGINNING_SECONDS", 1.0)
    calm = Calm(intake.place)
    intake.take(a_signal())
    dispatcher.open_all()
    assert dispatcher.start_next()
    beside = _waits_for_calm(calm)
    assert beside.is_alive(), "its run is made, and has not begun"
    beside.join(5)
    assert not beside.is_alive()


def test_and_while_a_response_has_its_turn_to_act_but_not_for_ever(intake: Intake) -> None:
    calm, turn = Calm(intake.place), Turn(intake.place.settings.home)
    turn.take()
    assert not _waits_for_calm(calm).is_alive(), "nothing was written since it was calm"
    intake.place.pen(KEEPER).write(EntryType.SIGNAL_RECEIVED, "somebody began")
    late = _waits_for_calm(calm, 0.4)
    assert late.is_alive()
    late.join(5)
    assert not late.is_alive(), "as long as it was allowed to, and no longer"
    beside = _waits_for_calm(calm)
    assert beside.is_alive()
    turn.give_back()
    beside.join(5)
    assert not beside.is_alive()
