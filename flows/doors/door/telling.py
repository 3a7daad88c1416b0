"""How the door is: `/health` (does it answer), `/ready` (could it take a signal now), `/metrics` (for Prometheus).

Sentences with names in them go to the log; whoever asks over the network is told one word for each problem.
"""

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from flows.doors.door.counts import family
from flows.doors.door.reception import Reception
from runbooks.domain.errors import LedgerError
from tasks.intake.defects import defect_counts

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NS = 1_000_000_000


class Telling:
    """The three routes."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    async def health(self, request: Request) -> Response:
        """200 while this process answers."""
        del request
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 when every source could be taken in and kept now, else 503 and a word for each problem."""
        del request
        problems = self._reception.problems
        shown = {"status": "unwell" if problems else "ready", "problems": problems}
        return JSONResponse(shown, 503 if problems else 200)

    async def metrics(self, request: Request) -> Response:
        """All counts in Prometheus's text form."""
        del request
        return PlainTextResponse("\n".join([*await self._lines(), ""]), media_type=METRICS_TYPE)

    async def _lines(self) -> list[str]:
        reception = self._reception
        rows, size = reception.queue
        made = reception.counts.lines()
        made += family("quell_door_uncommitted", "gauge", "Deliveries that wait for their commit.", [((), rows)])
        made += family("quell_door_uncommitted_bytes", "gauge", "Their bodies.", [((), size)])
        made += family(
            "quell_door_disk_free_ratio", "gauge", "Free part of the disk.", [((), reception.vitals.disk_free)]
        )
        made += family(
            "quell_door_problems", "gauge", "What is not well, by a word for each.",
            [((("problem", word),), 1) for word in reception.problems],
        )  # fmt: skip
        try:
            return made + await asyncio.to_thread(self._spooled)
        except LedgerError:
            return [*made, *family("quell_spool_unreadable", "gauge", "The spool cannot be read.", [((), 1)])]

    def _spooled(self) -> list[str]:
        spool, now = self._reception.reading, time.time_ns()
        count, oldest = spool.waiting()
        age = 0.0 if oldest is None else max(0.0, (now - oldest) / _NS)
        made = family("quell_spool_waiting", "gauge", "Deliveries that nobody has read yet.", [((), count)])
        made += family("quell_spool_oldest_seconds", "gauge", "How long the oldest of them has waited.", [((), age)])
        last = [(name, spool.last_from(name)) for name in self._reception.admitted]
        defects = dict.fromkeys(self._reception.admitted, 0) | defect_counts(self._reception.installation)
        made += family(
            "quell_intake_defects", "gauge", "Deliveries of a source that could not be read, or not wholly.",
            [((("source", name),), count) for name, count in defects.items()],
        )  # fmt: skip
        return made + family(
            "quell_source_silent_seconds", "gauge", "Since a source's newest delivery.",
            [((("source", name),), (now - at) / _NS) for name, at in last if at is not None],
        )  # fmt: skip
