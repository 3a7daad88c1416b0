"""Containment first, everybody's: what can wait in one response waits while other responses have not even begun.

A page for people takes the engine as long as the start of a run. In a burst of thirty incidents on two cores the last
one would otherwise begin only when the first ones have drawn all their pages.
"""

import time
from contextlib import suppress

from runbooks.domain.errors import QuellError
from tasks.intake.outbox import others_wait_to_begin
from tasks.step import here
from tasks.waiting import pause

LONGEST_SECONDS = 10.0
"""People wait for these pages: a flood of signals holds nobody up for longer."""
GLANCE_SECONDS = 0.25


def give_way(incident_id: str) -> None:
    """Wait, for a while, until no other response waits for its run. It is a courtesy: whatever fails ends it."""
    installation, until = here(), time.monotonic() + LONGEST_SECONDS
    with suppress(QuellError):
        while time.monotonic() < until and others_wait_to_begin(installation, incident_id):
            pause(GLANCE_SECONDS)
