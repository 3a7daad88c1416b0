"""Exactly one live run per incident: a lease in the ledger's database, renewed while the run works.

The keeper restarts an open incident whose lease nobody holds; a second run that finds the lease held goes away. A run
that lost its lease (it was stopped for a while, and another one took over) goes away too: every step asks first.
"""

import logging
import threading
from types import TracebackType
from typing import Self

from runbooks.domain.errors import ContainmentError, LedgerError, Outcome
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import Actor, EntryType
from tasks.installation import Installation
from tasks.ledger import clock, is_gone, this_process
from tasks.waiting import pause

log = logging.getLogger("quell.presence")


class AnotherRunWorksError(ContainmentError):
    """Another live run responds to this incident; this one goes away and changes nothing."""


def lease_name(incident_id: str) -> str:
    """The name under which the response to this incident is leased."""
    return f"response/{incident_id}"


class Presence:
    """Holds the lease while inside. A thread renews it; when somebody else has taken it, no further step begins."""

    def __init__(self, installation: Installation, incident_id: str, who: Actor, flow_run_id: str) -> None:
        self._store = installation.store
        self._name = lease_name(incident_id)
        self._incident = incident_id
        self._seconds = installation.settings.limits.run_lease_seconds
        self._holder = this_process(flow_run_id)
        self._pen = installation.pen(who, flow_run_id)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._fence = 0
        self._until: Instant = ""
        self._lost = False

    def __enter__(self) -> Self:
        fence = None
        for _ in range(20):
            now = clock()
            fence = self._store.take_lease(
                self._name, holder=self._holder, now=now, seconds=self._seconds, gone=is_gone
            )
            if fence is not None:
                break
            pause(0.25)
        if fence is None:
            raise self._superseded()
        self._fence, self._until = fence, later(now, self._seconds)
        self._thread = threading.Thread(target=self._renew, name="presence", daemon=True)
        self._thread.start()
        _here.append(self)
        return self

    def demand(self) -> None:
        """AnotherRunWorksError unless this run is still the one that responds.

        A lease that ran out while this process was stopped, or while the ledger was away, is ours again only if
        nobody took it meanwhile.
        """
        if not self._lost and clock() >= self._until:
            self._prolong()
        if self._lost:
            raise self._superseded()

    def _superseded(self) -> AnotherRunWorksError:
        row = self._store.lease_of(self._name)
        self._pen.write(
            EntryType.RUN_SUPERSEDED, f"superseded/{self._holder}", incident=self._incident,
            body={"because": "another live run responds to this incident"},
        )  # fmt: skip
        return AnotherRunWorksError(
            f"another run already responds to {self._incident} ({row.holder if row else 'it has just ended'}).",
            now="that run goes on; this one does nothing more.", next_step=f"look at it: quell show {self._incident}",
            outcome=Outcome.NOT_DONE,
        )  # fmt: skip

    def _renew(self) -> None:
        """Until we leave or it is lost. A ledger that is away for a moment is met again at the next turn."""
        while not self._lost and not self._stop.wait(self._seconds / 3):
            try:
                self._prolong()
            except LedgerError as error:
                log.warning("the lease of %s could not be renewed: %s", self._incident, error.problem)

    def _prolong(self) -> None:
        now = clock()
        if self._store.renew_lease(self._name, self._holder, self._fence, now=now, seconds=self._seconds):
            self._until = later(now, self._seconds)
        else:
            self._lost = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _here.remove(self)
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._store.release_lease(self._name, self._holder, self._fence)


_here: list[Presence] = []
"""The presence of the run in this process; a process serves one run."""


def demand_presence() -> None:
    """What every step asks before it begins: is this run, if it is a response, still the one that responds?"""
    for presence in _here:
        presence.demand()
