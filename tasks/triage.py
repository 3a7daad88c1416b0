"""No runbook is for what was seen: somebody is called who says what it is (`quell reclassify`)."""

from runbooks.domain.ledger import EntryType
from runbooks.domain.situation import UNTIL_NAMED, classification_of
from tasks.announcing import announce
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.step import here, pen, step


@step("call somebody who can name it")
def call_for_a_name(incident_id: str) -> None:
    """On record until somebody classifies it anew; a near miss waits for its review."""
    call(here(), pen(), incident_id)


def call(installation: Installation, writer: Pen, incident_id: str) -> None:
    """The same for any caller. People are told here and not only by the keeper, which may come after the closing."""
    if installation.incident(incident_id).near_miss:
        return
    found = classification_of(writer.entries(incident_id))
    taken_for = f"; it was taken for {found.in_words}" if found else ""
    needed = f"look at it, then say what it is: quell reclassify {incident_id} (--archetype A, or --severity SEV3)"
    writer.write(
        EntryType.PERSON_NEEDED, f"unnamed/{incident_id}", incident=incident_id,
        body={
            "because": f"no runbook is for what was seen, so nothing is taken away{taken_for}", "needed": needed,
            "until": UNTIL_NAMED,
        },
    )  # fmt: skip
    announce(installation, writer, incident_id)
