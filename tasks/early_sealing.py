"""Evidence is sealed from the moment an incident stands, beside everything else and whether Prefect is there or not.

The response finds it sealed, waits for the rest of it, or, where this fell behind or a source failed, seals by itself.
"""

import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock, get_native_id

from runbooks.domain.errors import QuellError
from runbooks.domain.ledger import Actor
from tasks.collecting import collect_rarely
from tasks.evidence import seal_early
from tasks.installation import Installation
from tasks.warming import warm

log = logging.getLogger("quell.sealing")

SIDE_BY_SIDE = 2
NICENESS = 5
MOST_WAITING = 4
"""More wait for their responses, or for the next look: in a storm this process must not be what everybody waits for."""
AGAIN_SECONDS = 30.0
"""After one try at an incident."""


def _stand_back() -> None:
    """On Linux a thread has a niceness of its own, and so have those that it starts: the start of the run goes first."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)


def _prepare() -> None:
    warm()
    collect_rarely()


class EarlySealing:
    """Seals incidents as they open, a few at a time."""

    def __init__(self, installation: Installation, who: Actor) -> None:
        self._installation = installation
        self._who = who
        self._threads = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="sealing", initializer=_stand_back)
        self._lock = Lock()
        self._waiting = 0
        self._tried: dict[str, float] = {}

    def prepare(self) -> None:
        """Have what sealing needs before anybody waits for it."""
        self._threads.submit(_prepare)

    def begin(self, incident_id: str) -> bool:
        """Seal this incident soon; False when it is left alone for now."""
        now = time.monotonic()
        with self._lock:
            if self._waiting >= MOST_WAITING or now - self._tried.get(incident_id, -AGAIN_SECONDS) < AGAIN_SECONDS:
                return False
            self._tried = {one: at for one, at in self._tried.items() if now - at < AGAIN_SECONDS} | {incident_id: now}
            self._waiting += 1
        self._threads.submit(self._seal, incident_id).add_done_callback(partial(_tell, incident_id))
        return True

    def catch_up(self, incidents: Iterable[str]) -> None:
        """What waits for Prefect and is not sealed: a storm's rest, what a killed dispatcher left, a source that was away."""
        pen = self._installation.pen(self._who)
        for incident_id in incidents:
            if self._waiting >= MOST_WAITING:
                return
            if pen.find(f"sealed/{incident_id}") is None:
                self.begin(incident_id)

    def _seal(self, incident_id: str) -> None:
        try:
            if not seal_early(self._installation, self._installation.pen(self._who), incident_id):
                log.warning("%s: not every source answered; its response asks again", incident_id)
        except QuellError as error:
            log.warning("%s is left to its response: %s", incident_id, error.problem)
        finally:
            with self._lock:
                self._waiting -= 1

    def close(self) -> None:
        """What has begun is finished; what waits is left to the responses."""
        self._threads.shutdown(cancel_futures=True)


def _tell(incident_id: str, sealing: Future[None]) -> None:
    """A fault that nobody foresaw is not lost with its thread."""
    if not sealing.cancelled() and (error := sealing.exception()) is not None:
        log.error("%s is left to its response", incident_id, exc_info=error)
