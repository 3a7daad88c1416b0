"""What every route of the door shares: who may come in, the spool and its writer, how well the door is."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flows.doors.door.answers import Refusal, unwell
from flows.doors.door.counts import Counts
from flows.doors.door.reading import Held
from flows.doors.door.vitals import CONFIGURATION, SECRET, WRITER, Vitals
from runbooks.domain.errors import LedgerError, QuellError
from runbooks.domain.limits import Limits
from tasks.installation import Installation
from tasks.intake.admitting import Admitted, admit
from tasks.intake.committing import Arrival, Committer, spool_of

log = logging.getLogger("quell.door")

LOOK_SECONDS, LONGEST_LOOK_SECONDS = 1.0, 10.0
"""How often configuration, secrets and the disk are looked at: so old may a removed secret become."""
SKEW_SECONDS = 120.0
MOST_WAITING = 5_000
MOST_WAITING_BYTES = 64 * 1024 * 1024
"""Of arrivals that wait for their commit."""

Ticket = asyncio.Future[None]


class Allowance:
    """So many per minute for each name, all of them at once if need be."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, name: str, per_minute: int) -> bool:
        """Whether there was one left."""
        now = time.monotonic()
        left, at = self._left.get(name, (float(per_minute), now))
        left = min(float(per_minute), left + (now - at) * per_minute / 60)
        self._left[name] = (left - 1 if left >= 1 else left, now)
        return left >= 1


@dataclass
class Reception:
    """One door's shared things; used in one event loop."""

    installation: Installation
    committed: Callable[[], None] = lambda: None
    """Called after each commit: rings whoever reads the deliveries."""
    admitted: dict[str, Admitted] = field(default_factory=dict)
    vitals: Vitals = field(default_factory=Vitals)
    counts: Counts = field(default_factory=Counts)
    held: Held = field(default_factory=Held)

    def __post_init__(self) -> None:
        self.limits: Limits = self.installation.settings.limits
        self.spool = spool_of(self.installation)
        self.reading = spool_of(self.installation)
        self._allowance = Allowance()
        self._far: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._committer = Committer[Ticket](self.spool, self._settled)
        with self._going_on():
            self.admitted, self.vitals = self._look()

    async def store(self, arrival: Arrival) -> None:
        """Returns when it is on the disk; Refusal 503 when it could not be put there."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        ticket = self._loop.create_future()
        self._committer.hand_in(arrival, ticket)
        try:
            await ticket
        except LedgerError as error:
            log.error("%s", error.problem)  # noqa: TRY400 - the sentence says it all
            raise unwell("not stored") from error

    def demand_room(self, admitted: Admitted) -> None:
        """Refusal 503 when one more delivery could not be kept soon, or anybody at all sends more than is sensible."""
        obstacle = self._obstacle()
        if obstacle:
            raise unwell(obstacle)
        if admitted.source.unproven and not self._allowance.take(admitted.name, self.limits.door_unproven_per_minute):
            raise unwell("too many")

    def _obstacle(self) -> str:
        """A word for what stands in the way of every delivery at this moment; empty where nothing does."""
        rows, size = self._committer.queue
        if not self._committer.alive():
            return "writer"
        if rows >= MOST_WAITING or size >= MOST_WAITING_BYTES:
            return "busy"
        return "disk" if self.vitals.disk_low else ""

    @property
    def problems(self) -> list[str]:
        """A word for each thing that is not well: what stands in the way at this moment, and what was seen at the last look."""
        return sorted({self._obstacle(), *(word for word, _ in self.vitals.problems)} - {""})

    def find(self, name: str) -> Admitted:
        """The source of this name; Refusal where there is none."""
        found = self.admitted.get(name)
        if found is None:
            raise self.unknown("unknown source")
        return found

    def unknown(self, word: str) -> Refusal:
        """404; 503 while the configuration cannot be read: what is final for a sender must be true."""
        return unwell(CONFIGURATION) if self.vitals.blind else Refusal(404, word, close=True)

    async def look_again(self) -> None:
        """Who may come in, and how well we are: every second, off the loop."""
        told = Vitals()
        while True:
            self.vitals.tell(told)
            told = self.vitals
            self._tell_clocks()
            await asyncio.sleep(LOOK_SECONDS)
            with self._going_on():
                look = asyncio.create_task(asyncio.to_thread(self._look))
                if not (await asyncio.wait([look], timeout=LONGEST_LOOK_SECONDS))[0]:
                    self.vitals = self.vitals.stuck(LONGEST_LOOK_SECONDS)
                    self.vitals.tell(told)
                    told = self.vitals
                self.admitted, self.vitals = await look

    def _tell_clocks(self) -> None:
        """Once for each source whose clock is far from ours: a little further, and what it signs is refused as old."""
        far = {name for name, skew in self.counts.skew.items() if abs(skew) > SKEW_SECONDS}
        for name in far - self._far:
            log.warning("clock: the source %s signs %.0f s beside our time", name, self.counts.skew[name])
        self._far = far

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Whatever a look trips over is a problem until the next one: it ends neither the looking nor the door."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a door that looks no more takes removed secrets for ever
            self.vitals = self.vitals.tripped(error)

    def _look(self) -> tuple[dict[str, Admitted], Vitals]:
        """One look; what cannot be read now stays as it was, and is a problem."""
        problems, admitted = [], self.admitted
        try:
            admitted = admit(self.installation)
        except QuellError as error:
            problems.append((CONFIGURATION, error.problem))
        for one in admitted.values():
            problems += [
                (SECRET, f"the secret {name} of the source {one.name} cannot be used: see `quell check`")
                for name in one.unreadable
            ]
        if not self._committer.alive():
            problems.append((WRITER, "the thread that writes the spool has died; start the door again"))
        home, wanted = self.installation.settings.home, self.limits.door_disk_free_percent
        return admitted, self.vitals.after(problems, home, wanted)

    @property
    def queue(self) -> tuple[int, int]:
        """How many arrivals, and how many bytes of bodies, wait for their commit."""
        return self._committer.queue

    def end(self) -> None:
        """Write what still waits; then let the file go."""
        self._committer.end()
        self.spool.close()
        self.reading.close()

    def _settled(self, tickets: list[Ticket], error: LedgerError | None) -> None:
        assert self._loop is not None  # noqa: S101 - a ticket is made in it
        self._loop.call_soon_threadsafe(_settle, tickets, error)
        if error is None:
            self.committed()


def _settle(tickets: list[Ticket], error: LedgerError | None) -> None:
    for ticket in tickets:
        if ticket.done():
            continue
        if error is None:
            ticket.set_result(None)
        else:
            ticket.set_exception(error)
