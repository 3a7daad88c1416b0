"""Telling people that an incident is there: once per incident and severity, once for a whole storm. A duty of the keeper.

A storm is as severe as the worst in it, so whoever makes many cheap incidents hides none that matters. Its own triage is
done within seconds; what comes after that is still of the storm, and told when it is worse than all before it.

And calling them when a response cannot go on, or ended, without what it wanted: on record and told, once each.

Whom: the channels of the policy's `opening_channels`. Only quell's own words go out (law 8).
"""

from runbooks.domain.incident import Archetype, Incident
from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.severity import Severity
from runbooks.domain.situation import classification_of
from runbooks.domain.value import Digest, Json
from tasks.incident import opening_key, raise_severity
from tasks.installation import Installation
from tasks.ledger import KEEPER, Pen
from tasks.telling import tell_people

WAITED_SECONDS = 60
"""So long may an open incident be without a response before people hear of it."""


def announce(installation: Installation, writer: Pen, incident_id: str) -> None:
    """Tell whoever policy names that this incident is there, and how severe; of a storm once for all of it."""
    incident = installation.incident(incident_id)
    severity = incident.severity.severity
    if incident.storm not in (None, incident.id):
        _announce_in_storm(installation, writer, incident, str(incident.storm))
        return
    tell_people(
        installation, writer, f"opened/{incident_id}/{severity}", incident=incident_id,
        channels=_channels(installation, incident_id),
        title=_title(incident, severity),
        text=f"{incident_id} is open, {incident.lead} leads.{_taken_for(installation, incident)} "
        f"Look: quell show {incident_id}",
    )  # fmt: skip


def _title(incident: Incident, severity: Severity) -> str:
    what = "a storm of incidents" if incident.storm == incident.id else incident.archetype.shown
    return f"quell: {severity} {what} on {incident.system}{' (DRILL)' if incident.drill else ''}"


def _announce_in_storm(installation: Installation, writer: Pen, incident: Incident, storm: str) -> None:
    """Only what makes the storm worse; a closed one keeps its severity, so this incident itself is then shown for it."""
    severity = incident.severity.severity
    if writer.last(storm, EntryType.INCIDENT_CLOSED) is None:
        because = f"{incident.id}, which is one of it, is {severity}"
        worse = incident.severity.model_copy(update={"reasons": ()})
        if raise_severity(installation, writer, storm, worse, f"worse-in-storm/{storm}/{severity}", because):
            announce(installation, writer, storm)
        return
    whole = installation.incident(storm)
    severity = severity.worse_of(whole.severity.severity)
    channels = installation.active().policy.opening_channels.get(severity, ())
    tell_people(
        installation, writer, f"opened/{storm}/{severity}", incident=incident.id, channels=channels,
        title=_title(whole, severity),
        text=f"{incident.id} is open, which is one of {storm}; {incident.lead} leads. Look: quell show {incident.id}",
    )  # fmt: skip


def _taken_for(installation: Installation, incident: Incident) -> str:
    """What was found, where the archetype does not say it already."""
    if incident.archetype is not Archetype.UNCLASSIFIED:
        return ""
    found = classification_of(installation.store.entries(incident.id))
    return f" It was taken for {found.in_words}." if found else ""


def call_people(
    installation: Installation, writer: Pen, incident_id: str, key: str, body: dict[str, Json], *, what: str,
    subject: dict[str, Digest] | None = None,
) -> LedgerEntry:  # fmt: skip
    """Write that a person is needed, and tell whoever policy names, of each `what` once; in a storm once per severity.

    `what` is a kind of call, or `kind/which`. `needed` in `body` goes out, so it holds only quell's own words.
    """
    entry = writer.write(EntryType.PERSON_NEEDED, key, incident=incident_id, subject=subject, body=body)
    incident = installation.incident(incident_id)
    severity = incident.severity.severity
    kind = what.partition("/")[0]
    once = f"{what}/{incident_id}" if incident.storm is None else f"{kind}/{incident.storm}/{severity}"
    tell_people(
        installation, writer, f"called/{once}", incident=incident_id, channels=_channels(installation, incident_id),
        title=f"quell: {incident_id} needs a person{' (DRILL)' if incident.drill else ''}",
        text=f"{body['needed']}. Look: quell show {incident_id}",
    )  # fmt: skip
    return entry


def _channels(installation: Installation, incident_id: str) -> tuple[str, ...]:
    severity = installation.incident(incident_id).severity.severity
    return installation.active().policy.opening_channels.get(severity, ())


class Announcer:
    """Remembers what is settled, so that a thousand open incidents cost a round nothing."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._pen = installation.pen(KEEPER)
        self._begun: set[str] = set()

    def announce(self, incident_id: str, now: Instant) -> None:
        """Tell whoever policy names of this open incident, and of a response that does not begin."""
        if self._installation.active().policy.opening_channels:
            announce(self._installation, self._pen, incident_id)
        if incident_id not in self._begun:
            self._call_for_its_response(incident_id, now)

    def _call_for_its_response(self, incident_id: str, now: Instant) -> None:
        if self._pen.last(incident_id, EntryType.RUN_STARTED) is not None:
            self._begun.add(incident_id)
            return
        opened = self._pen.find(opening_key(incident_id))
        if opened is None or milliseconds_between(opened.at, now) < 1000 * WAITED_SECONDS:
            return
        key = f"not-begun/{incident_id}"
        self._pen.write(
            EntryType.PERSON_NEEDED, key, incident=incident_id,
            body={
                "because": f"its response has not begun for {WAITED_SECONDS} s: Prefect did not start it",
                "needed": "see that Prefect and the worker run (`quell up`); it then starts by itself",
            },
        )  # fmt: skip
        tell_people(
            self._installation, self._pen, key, incident=incident_id, channels=_channels(self._installation, incident_id),
            title=f"quell: {incident_id} is open and its response has not begun",
            text="Prefect did not start it. See that Prefect and the worker run: quell up. Nothing is lost.",
        )  # fmt: skip
