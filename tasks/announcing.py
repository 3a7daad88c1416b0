"""Telling people that an incident is there: once per incident and severity, once for a whole storm. A duty of the keeper.

Whom: the channels of the policy's `opening_channels`. Only quell's own words go out (law 8).
"""

from runbooks.domain.instants import milliseconds_between
from runbooks.domain.ledger import EntryType
from tasks.incident import opening_key
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.telling import tell_people

WAITED_SECONDS = 60
"""So long may an open incident be without a response before people hear of it."""


def announce(installation: Installation, writer: Pen, incident_id: str) -> None:
    """Tell whoever policy names of this open incident, and of a response that does not begin."""
    incident = installation.incident(incident_id)
    channels = installation.active().policy.opening_channels.get(incident.severity.severity, ())
    if channels and incident.storm in (None, incident.id):
        what = "a storm of incidents" if incident.storm else incident.archetype.shown
        tell_people(
            installation, writer, f"opened/{incident_id}/{incident.severity.severity}", incident=incident_id,
            channels=channels,
            title=f"quell: {incident.severity.severity} {what} on {incident.system}{' (DRILL)' if incident.drill else ''}",
            text=f"{incident_id} is open, {incident.lead} leads. Look: quell show {incident_id}",
        )  # fmt: skip
    _call_for_its_response(installation, writer, incident_id, channels)


def _call_for_its_response(
    installation: Installation, writer: Pen, incident_id: str, channels: tuple[str, ...]
) -> None:
    opened = writer.find(opening_key(incident_id))
    if opened is None or milliseconds_between(opened.at, clock()) < 1000 * WAITED_SECONDS:
        return
    if writer.last(incident_id, EntryType.RUN_STARTED) is not None:
        return
    key = f"not-begun/{incident_id}"
    writer.write(
        EntryType.PERSON_NEEDED, key, incident=incident_id,
        body={
            "because": f"its response has not begun for {WAITED_SECONDS} s: Prefect did not start it",
            "needed": "see that Prefect and the worker run (`quell up`); it then starts by itself",
        },
    )  # fmt: skip
    if channels:
        tell_people(
            installation, writer, key, incident=incident_id, channels=channels,
            title=f"quell: {incident_id} is open and its response has not begun",
            text="Prefect did not start it. See that Prefect and the worker run: quell up. Nothing is lost.",
        )  # fmt: skip
