"""Exactly one live run per incident: a lease in the ledger's database, renewed while the run works.

The keeper restarts an open incident whose lease nobody holds; a second run that finds the lease held goes away.
"""

import threading
from types import TracebackType

from runbooks.domain.errors import ContainmentError, Outcome
from runbooks.domain.ledger import Actor, EntryType
from tasks.installation import Installation
from tasks.ledger import clock, is_gone, this_process
from tasks.waiting import pause


class AnotherRunWorksError(ContainmentError):
    """Another live run responds to this incident; this one goes away and changes nothing."""


def lease_name(incident_id: str) -> str:
    """The name under which the response to this incident is leased."""
    return f"response/{incident_id}"


class Presence:
    """Holds the lease while inside. Renewal runs in a thread; when it fails, `lost` is set and steps stop."""

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

    def __enter__(self) -> "Presence":
        fence = None
        for _ in range(20):
            fence = self._store.take_lease(
                self._name, holder=self._holder, now=clock(), seconds=self._seconds, gone=is_gone
            )
            if fence is not None:
                break
            pause(0.25)
        if fence is None:
            row = self._store.lease_of(self._name)
            self._pen.write(
                EntryType.RUN_SUPERSEDED, f"superseded/{self._holder}", incident=self._incident,
                body={"because": "another live run responds to this incident"},
            )  # fmt: skip
            raise AnotherRunWorksError(
                f"another run already responds to {self._incident} ({row.holder if row else 'unknown'}).",
                now="that run goes on; this one did nothing.", next_step=f"look at it: quell show {self._incident}",
                outcome=Outcome.NOT_DONE,
            )  # fmt: skip
        self._fence = fence
        self._thread = threading.Thread(target=self._renew, name="presence", daemon=True)
        self._thread.start()
        return self

    def _renew(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            if not self._store.renew_lease(
                self._name, self._holder, self._fence, now=clock(), seconds=self._seconds
            ):
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._store.release_lease(self._name, self._holder, self._fence)
