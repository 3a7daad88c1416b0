"""Containment first, everybody's: what can wait in one response waits while other responses have not even begun.

A page for people takes the engine as long as the start of a run. In a burst of thirty incidents on two cores the last
one would otherwise begin only when the first ones have drawn all their pages.
"""

import time

from tasks.intake.outbox import others_wait_to_begin
from tasks.step import here
from tasks.waiting import pause

LONGEST_SECONDS = 10.0
"""People wait for these pages: a flood of signals holds nobody up for longer."""
GLANCE_SECONDS = 0.25


def give_way() -> None:
    """Wait, for a while, until no other response waits to begin."""
    installation, until = here(), time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < until and others_wait_to_begin(installation):
        pause(GLANCE_SECONDS)
