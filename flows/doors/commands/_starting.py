"""The response to an incident that has just been opened. Prefect down loses nothing: the keeper starts it later."""

from importlib import import_module

from flows.doors.engine_server import EngineUnreachable, engine_url
from runbooks.domain.errors import UnreachableError
from runbooks.domain.incident import Incident
from tasks.installation import Installation


def start_response(installation: Installation, incident: Incident) -> tuple[bool, str]:
    """Whether it was started now, and what to tell the person."""
    later = "The incident is open and on record; the response starts by itself as soon as quell is up (`quell up`)."
    try:
        engine_url(installation.settings.home)
        starting = import_module("tasks.starting")  # Prefect: 1.5 s, only when there is one
        starting.start_response_run(str(incident.archetype), incident.id, 0, drill=incident.drill)
    except (EngineUnreachable, UnreachableError):
        return False, f"Prefect does not answer. {later}"
    return True, "The response has started: evidence is sealed first."
