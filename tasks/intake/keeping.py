"""What was delivered about an incident, for its evidence: the bytes as they came, and a list of what each became."""

from collections.abc import Iterator
from contextlib import closing

from runbooks.domain.value import canonical
from tasks.installation import Installation
from tasks.intake.outbox import looking
from tasks.stores import open_spool

MOST_WHOLE = 50
"""Deliveries that are sealed whole. Of the rest the list has receipt and digest, and the spool the bytes."""
MOST_LISTED = 10_000


def receipts_of(installation: Installation, incident: str) -> list[str]:
    """Deliveries that signals of this incident came in, in the order in which they were taken in; each once."""
    with looking(installation) as store:
        found = [] if store is None else store.signals_of(incident, MOST_LISTED)
    return list(dict.fromkeys(one.delivery for one in found))


def bodies(installation: Installation, receipts: list[str]) -> Iterator[bytes]:
    """The bytes of these deliveries, exactly as they were received."""
    with closing(open_spool(installation.settings.signals)) as spool:
        for receipt in receipts[:MOST_WHOLE]:
            found = spool.read(receipt)
            if found is not None:
                yield found[1]


def listed(installation: Installation, receipts: list[str]) -> Iterator[bytes]:
    """One line of JSON per delivery: all that is known of it but its body."""
    with closing(open_spool(installation.settings.signals)) as spool:
        for receipt in receipts:
            found = spool.read(receipt)
            if found is not None:
                yield canonical(found[0].as_json())
