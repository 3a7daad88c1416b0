"""Evidence is sealed from the moment an incident stands, beside everything else and whether Prefect is there or not.

The response finds it sealed, waits for the rest of it, or, where this fell behind or failed, seals by itself: a lease
sees to it that one does.
"""

import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock, get_native_id

from runbooks.domain.errors import QuellError
from runbooks.domain.ledger import Actor
from tasks.evidence import seal_now
from tasks.installation import Installation
from tasks.warming import warm

log = logging.getLogger("quell.sealing")

SIDE_BY_SIDE = 2
NICENESS = 5
MOST_WAITING = 4
"""More are left to their responses: in a storm this process must not be what everybody waits for."""


def _stand_back() -> None:
    """On Linux a thread has a niceness of its own, and so have those that it starts: the start of the run goes first."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), NICENESS)


class EarlySealing:
    """Seals incidents as they open, a few at a time."""

    def __init__(self, installation: Installation, who: Actor) -> None:
        self._installation = installation
        self._who = who
        self._threads = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="sealing", initializer=_stand_back)
        self._lock = Lock()
        self._waiting = 0

    def prepare(self) -> None:
        """Have what sealing needs before anybody waits for it."""
        self._threads.submit(warm)

    def begin(self, incident_id: str) -> bool:
        """Seal this incident soon; False when it is left to its response."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                return False
            self._waiting += 1
        self._threads.submit(self._seal, incident_id).add_done_callback(partial(_tell, incident_id))
        return True

    def _seal(self, incident_id: str) -> None:
        try:
            seal_now(self._installation, self._installation.pen(self._who), incident_id)
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
