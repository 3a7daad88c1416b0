"""No runbook is for what was seen: somebody is called who says what it is (`quell reclassify`)."""

from runbooks.domain.ledger import EntryType
from runbooks.domain.severity import Severity
from runbooks.domain.situation import UNTIL_NAMED
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.step import here, pen, step
from tasks.telling import tell_people


@step("call somebody who can name it")
def call_for_a_name(incident_id: str) -> None:
    """On record until somebody classifies it anew; SEV1 and SEV2 are told, once, through every channel of the policy.

    A near miss waits for its review. One of a storm is told with the storm.
    """
    call(here(), pen(), incident_id)


def call(installation: Installation, writer: Pen, incident_id: str) -> None:
    """The same for any caller."""
    incident = installation.incident(incident_id)
    if incident.near_miss:
        return
    needed = f"look at it, then say what it is: quell reclassify {incident_id} (--archetype A, or --severity SEV3)"
    writer.write(
        EntryType.PERSON_NEEDED, f"unnamed/{incident_id}", incident=incident_id,
        body={"because": "no runbook is for what was seen, so nothing is taken away", "needed": needed, "until": UNTIL_NAMED},
    )  # fmt: skip
    if incident.severity.severity.rank <= Severity.SEV2.rank and incident.storm in (None, incident_id):
        where = f" on {incident.system}" if incident.known_system else ""
        tell_people(
            installation, writer, f"unnamed/{incident_id}", incident=incident_id, channels=None,
            title=f"quell: {incident_id} needs somebody who says what it is",
            text=f"{incident.severity.severity}{where}. No runbook is for it yet: evidence is kept, nothing is taken away. "
            f"Look: quell show {incident_id}; then: quell reclassify {incident_id}",
        )  # fmt: skip
