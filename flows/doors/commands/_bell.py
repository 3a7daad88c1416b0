"""Ringing: tell the waiting run that the record has news. A dead engine loses nothing: the keeper rings later."""

from importlib import import_module

from flows.doors.engine_server import EngineUnreachable, engine_url
from runbooks.domain.errors import UnreachableError
from tasks.installation import Installation
from tasks.waiting import pause

TRIES = 8
AGAIN_SECONDS = 0.12
"""A run that is just going to sleep cannot be woken yet; it hears the bell a moment later."""


def ring_bell(installation: Installation, incident: str) -> tuple[bool, str]:
    """Whether a waiting run was woken, and what to tell the person."""
    try:
        engine_url(installation.settings.home)
        ring = import_module("tasks.engine").ring  # Prefect: 1.5 s, only when there is one
        for _ in range(TRIES):
            if ring(incident):
                return True, "The waiting run was woken and goes on now."
            pause(AGAIN_SECONDS)
    except EngineUnreachable:
        return False, "Prefect was never started here: it is in the record, and the response goes on after `quell up`."
    except UnreachableError:
        return False, "Prefect does not answer: it is in the record, and the keeper wakes the response when it is back."
    return False, "No run waits right now; the response reads the record when it comes to it."
