"""Group commit: one thread writes to the spool, and everything that arrived during one commit shares the next.

The caller's tickets are handed back once per commit, so that an event loop is woken once for many requests.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from runbooks.domain.errors import LedgerError
from tasks.installation import Installation
from tasks.stores import open_spool
from tasks.stores.base import Arrival, Spool

__all__ = ["Arrival", "Committer", "Spool", "spool_of"]

Ticket = TypeVar("Ticket")
MOST_IN_ONE_COMMIT = 500


def spool_of(installation: Installation) -> Spool:
    """A connection of one's own to this installation's spool."""
    return open_spool(installation.settings.signals)


class Committer(Generic[Ticket]):
    """`settled(tickets, error)` is called in the writing thread: error None means that all of them are on the disk."""

    def __init__(self, spool: Spool, settled: Callable[[list[Ticket], LedgerError | None], None]) -> None:
        self._spool, self._settled = spool, settled
        self._waiting: list[tuple[Arrival, Ticket]] = []
        self._bytes = 0
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
        self._thread.start()

    def hand_in(self, arrival: Arrival, ticket: Ticket) -> None:
        """Ask for this arrival to be stored; returns at once."""
        with self._changed:
            self._waiting.append((arrival, ticket))
            self._bytes += len(arrival.body)
            self._changed.notify()

    @property
    def queue(self) -> tuple[int, int]:
        """How many arrivals, and how many bytes of bodies, wait for their commit."""
        return len(self._waiting), self._bytes

    def alive(self) -> bool:
        """Whether the writing thread still runs."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Write what still waits, then stop."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ending:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch, self._waiting = self._waiting[:MOST_IN_ONE_COMMIT], self._waiting[MOST_IN_ONE_COMMIT:]
                self._bytes -= sum(len(arrival.body) for arrival, _ in batch)
            error: LedgerError | None = None
            try:
                self._spool.append([arrival for arrival, _ in batch])
            except LedgerError as failed:
                error = failed
            self._settled([ticket for _, ticket in batch], error)
