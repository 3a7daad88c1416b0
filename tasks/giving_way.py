"""Containment first, everybody's: what can wait in one response waits while other responses have not even begun.

A page for people takes the engine as long as the start of a run, and so do ten of the events by which it draws a run's
tasks. In a burst of thirty incidents on two cores the last one would otherwise begin only when the first ones have drawn
all their pages.

A process that is to act at once holds back what it has to tell the engine beside its response (events of its tasks, lines
of its log) until its first acts are done and it has given way to others; never for longer than `SILENT_SECONDS`.
"""

import os
import time
from contextlib import suppress

from runbooks.domain.errors import QuellError
from runbooks.domain.instants import milliseconds_between
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation
from tasks.intake.outbox import others_wait_to_begin
from tasks.ledger import clock
from tasks.step import here
from tasks.turns import Turn
from tasks.waiting import pause

LONGEST_SECONDS, SILENT_SECONDS = 10.0, 20.0
"""People wait for these pages: a flood of signals holds no process up for longer, however often it gives way, and its log
and its tasks are told after that time at the latest (it may have waited for its turn before)."""
GLANCE_SECONDS = 0.25
LOOK_SECONDS, BEGINNING_SECONDS = 0.05, 0.5
"""Between two looks whether it is calm; and how long a new response may take to its turn, once Prefect has its run."""
LOWER_BY = 5
"""A third of the processor that another process gets which wants it at the same time."""


class Calm:
    """For a process beside the responses, such as the keeper: its questions keep the engine from whoever begins and acts."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._size = installation.store.size()
        """Of the ledger, when nobody was in a hurry: who begins writes there."""

    def wait(self, until: float) -> None:
        """Until no response begins, or does its first acts; not beyond `until` (monotonic seconds). A courtesy."""
        with suppress(QuellError):
            while time.monotonic() < until and self._is_somebody_in_a_hurry():
                pause(LOOK_SECONDS)

    def _is_somebody_in_a_hurry(self) -> bool:
        store, home = self._installation.store, self._installation.settings.home
        size = store.size()
        if size == self._size:
            return False
        if Turn(home).somebody_acts() or others_wait_to_begin(self._installation, ""):
            return True
        opened = store.entries(since=self._size, types=(EntryType.INCIDENT_OPENED,))
        if opened and 0 <= milliseconds_between(opened[-1].at, clock()) < 1000 * BEGINNING_SECONDS:
            return True
        self._size = size
        return False


class _Voice:
    """Of this process, which serves one run."""

    silent_until = 0.0
    turn: Turn | None = None
    patient_until: float | None = None
    """Since it first had to wait for others."""


def hold_back() -> None:
    """From now on this process tells the engine only what its response needs, until it gave way once, or for a while."""
    _Voice.silent_until = time.monotonic() + SILENT_SECONDS


def holds_back() -> bool:
    """Whether it still does."""
    return time.monotonic() < _Voice.silent_until


def speak() -> None:
    """Hold nothing back any more."""
    _Voice.silent_until = 0.0


def others_come_first(incident_id: str) -> bool:
    """Whether other responses wait for their run, or for their turn, now."""
    with suppress(QuellError):
        return Turn(here().settings.home).somebody_waits() or others_wait_to_begin(here(), incident_id)
    return False


def step_back(incident_id: str) -> None:
    """In a burst, those that have not begun have the processor first; this process keeps its lower place to its end.

    Those that have begun act a few at a time; one that is sealed already, or asked people, waits for nobody.
    """
    if others_come_first(incident_id):
        os.nice(LOWER_BY)
    if not here().store.entries(incident_id, types=(EntryType.EVIDENCE_SEALED, EntryType.RUN_SUSPENDED)):
        _Voice.turn = Turn(here().settings.home)
        _Voice.turn.take()


def end_turn() -> None:
    """The first acts are done: others may do theirs."""
    if _Voice.turn is not None:
        _Voice.turn.give_back()


def give_way(incident_id: str) -> None:
    """Wait, for a while, until no other response waits for its run or its turn. A courtesy: whatever fails ends it."""
    end_turn()
    while others_come_first(incident_id):
        if _Voice.patient_until is None:
            _Voice.patient_until = time.monotonic() + LONGEST_SECONDS
        if time.monotonic() >= _Voice.patient_until:
            break
        pause(GLANCE_SECONDS)
    speak()
