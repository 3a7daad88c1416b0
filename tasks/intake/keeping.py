"""What was delivered about an incident, for its evidence: the bytes as they came, and a list of what each became."""

from collections.abc import Iterator
from contextlib import closing

from runbooks.domain.value import Json, canonical
from tasks.installation import Installation
from tasks.intake.outbox import looking
from tasks.stores import open_spool
from tasks.stores.base import TakenSignal

MOST_WHOLE = 50
"""Deliveries that are sealed whole. Of the rest the list has receipt and digest, and the spool the bytes."""
MOST_LISTED = 10_000

Delivered = dict[str, list[dict[str, Json]]]
"""Receipts of deliveries, each with what its signals of one incident became."""


def delivered_about(installation: Installation, incident: str) -> Delivered:
    """Deliveries that signals of this incident came in, in the order in which they were taken in."""
    with looking(installation) as store:
        taken = [] if store is None else store.signals_of(incident, MOST_LISTED)
    found: Delivered = {}
    for one in taken:
        found.setdefault(one.delivery, []).append(_became(one))
    return found


def _became(one: TakenSignal) -> dict[str, Json]:
    return {
        "ordinal": one.signal.ordinal, "kind": one.signal.kind, "state": one.signal.state,
        "became": one.verdict, "because": one.because,
        "archetype": one.classified.archetype, "severity": one.classified.severity.severity,
        "classification": one.classified.classification.as_json(),
    }  # fmt: skip


def bodies(installation: Installation, delivered: Delivered) -> Iterator[bytes]:
    """The bytes of these deliveries, exactly as they were received."""
    with closing(open_spool(installation.settings.signals)) as spool:
        for receipt in list(delivered)[:MOST_WHOLE]:
            found = spool.read(receipt)
            if found is not None:
                yield found[1]


def listed(installation: Installation, delivered: Delivered) -> Iterator[bytes]:
    """One line of JSON per delivery: all that is known of it but its body, and under `signals` what each became."""
    with closing(open_spool(installation.settings.signals)) as spool:
        for receipt, signals in delivered.items():
            found = spool.read(receipt)
            if found is not None:
                yield canonical({**found[0].as_json(), "signals": signals})
