"""After the acknowledgement: deliveries become signals, signals incidents, and their responses are started.

Two threads that only share the file of signals: one takes deliveries in, the other opens incidents in the ledger, lets
their evidence be sealed beside it, and asks Prefect to start them, one at a time. When Prefect is away the first goes on and the second waits. The door's bell
wakes the first within a millisecond; both look by themselves as well. Two dispatchers at once do no harm.
"""

import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from runbooks.domain.errors import QuellError
from runbooks.domain.ledger import EntryType
from tasks.early_sealing import EarlySealing
from tasks.installation import Installation, open_installation
from tasks.intake.bell import Listener, bell_of
from tasks.intake.dispatching import SIGNALS, Dispatcher, Start, dispatcher_on
from tasks.intake.understanding import Intake

if TYPE_CHECKING:
    from tasks.starting import Starter

log = logging.getLogger("quell.dispatcher")

SWITCH_SECONDS = 0.001
"""How long one thread keeps the interpreter while another waits for it; Python's own 5 ms add up in a hurry."""
LOOK_SECONDS = 1.0
"""Without a bell, and for what only time brings."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0
"""After a start that came to nothing; with chance, so that two dispatchers do not keep step."""


@dataclass
class Work:
    """Both threads' loops, and the word that ends them."""

    installation: Installation
    start: Start
    settle: Callable[[], object] = lambda: None
    """Looks after starts whose outcome is not known yet."""
    stop: threading.Event = field(default_factory=threading.Event)
    made: threading.Event = field(default_factory=threading.Event)
    """Set when an incident was made."""
    pause: Callable[[float], object] = field(init=False)
    sealing: EarlySealing = field(init=False)
    _said: str = ""
    """What was logged last: an outage is one line, not one a second."""

    def __post_init__(self) -> None:
        self.pause = self.stop.wait
        self.sealing = EarlySealing(self.installation, SIGNALS)

    def take_in(self) -> None:
        """Deliveries to incidents, until asked to stop; everything that is there is taken in first."""
        intake, listener = Intake(self.installation), Listener(bell_of(self.installation.settings.home))
        try:
            while not self.stop.is_set():
                if not self._survives(lambda: self._take_in_all(intake)):
                    self.pause(LOOK_SECONDS)
                if not listener.wait(LOOK_SECONDS):
                    self._survives(intake.look_again)
        finally:
            intake.close()
            listener.close()

    def _take_in_all(self, intake: Intake) -> None:
        while not self.stop.is_set():
            read, said = intake.take_in()
            if any(one.incident for one in said):
                self.made.set()
            if not read:
                return

    def dispatch(self) -> None:
        """Incidents to responses, until asked to stop. While Prefect is away new incidents still stand at once."""
        dispatcher = dispatcher_on(self.installation, self.start)
        pause, next_try = FIRST_PAUSE_SECONDS, 0.0
        try:
            while not self.stop.is_set():
                self.made.clear()
                started: bool | None = None
                if self._survives(lambda: self._open_all(dispatcher)) and time.monotonic() >= next_try:
                    started = self._tried(dispatcher)
                if started:
                    pause = FIRST_PAUSE_SECONDS
                    continue
                if started is False:
                    next_try = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self._survives(self.settle)
                self._survives(dispatcher.tell)
                self._survives(lambda: self.sealing.catch_up(row.incident for row in dispatcher.store.waiting()))
                self.made.wait(max(0.0, min(LOOK_SECONDS, next_try - time.monotonic())) or LOOK_SECONDS)
        finally:
            dispatcher.store.close()
            self.sealing.close()

    def _open_all(self, dispatcher: Dispatcher) -> None:
        for incident in dispatcher.open_all():
            self.sealing.begin(incident)

    def _tried(self, dispatcher: Dispatcher) -> bool | None:
        """Whether one more response was started; None when none is due."""
        said: list[bool | None] = []
        return said[0] if self._survives(lambda: said.append(dispatcher.start_next())) else False

    def _survives(self, duty: Callable[[], object]) -> bool:
        try:
            duty()
        except QuellError as error:
            if error.problem != self._said:
                log.warning("%s", error.problem)
            self._said = error.problem
            return False
        return True


def _look_for_engine(home: Path) -> None:
    """Prefect may have been started after us, or on another port."""
    import_module("flows.doors.cli").know_engine(home)


def _starter(installation: Installation) -> "Starter":
    home = installation.settings.home
    places = import_module("flows.doors.handing").Places(home)
    look, began = partial(_look_for_engine, home), partial(has_begun, installation)
    starter: Starter = import_module("tasks.starting").Starter(look, places, began)
    return starter


def has_begun(installation: Installation, flow_run_id: str) -> bool:
    """Whether the record holds that this run has begun."""
    return bool(installation.store.entries(types=(EntryType.RUN_STARTED,), flow_run_id=flow_run_id))


def run_dispatcher(home: Path, start: Start | None = None) -> int:
    """Dispatch until SIGTERM or SIGINT. `start` stands in for Prefect."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    installation = open_installation(home)
    os.environ["PREFECT_CLIENT_MAX_RETRIES"] = (
        "0"  # its pauses double from two seconds; ours begin at fifty milliseconds
    )
    if start is not None:
        work = Work(installation, start)
    else:
        starter = _starter(installation)
        work = Work(installation, starter, starter.settle)
    work.sealing.prepare()
    sys.setswitchinterval(SWITCH_SECONDS)

    def asked(number: int, frame: FrameType | None) -> None:
        del number, frame
        work.stop.set()
        work.made.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    threads = [threading.Thread(target=duty, name=duty.__name__) for duty in (work.take_in, work.dispatch)]
    for thread in threads:
        thread.start()
    broken = False
    while not work.stop.wait(LOOK_SECONDS):
        broken = not all(thread.is_alive() for thread in threads)
        if broken:
            log.error("one of the two threads ended; the other is stopped, and `quell up` starts both again")
            asked(0, None)
    for thread in threads:
        thread.join()
    return 3 if broken else 0
