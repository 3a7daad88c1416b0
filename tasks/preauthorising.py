"""How often a pre-authorisation was used: a cap that a flood of signals cannot talk its way around.

Counted in the ledger, where the plans stand. Planning that may use one is done one at a time, so that two plans made
in the same instant count each other.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from runbooks.domain.configuration import Configuration
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation
from tasks.ledger import clock, is_gone, this_process
from tasks.waiting import pause

LEASE = "preauthorising"
LEASE_SECONDS = 10
WAIT_SECONDS = 20
WINDOW_SECONDS = 3600


@contextmanager
def spending(installation: Installation, incident: Incident, configuration: Configuration) -> Iterator[frozenset[str]]:
    """The rules that are used up now, and, while inside, nobody else who plans to use one.

    Without a turn in time all of them count as used up: then people are asked.
    """
    rules = configuration.policy.preauthorised
    if not rules or incident.origin is None or not incident.origin.fresh:
        yield frozenset()
        return
    store, holder = installation.store, this_process(incident.id)
    fence, deadline = None, later(clock(), WAIT_SECONDS)
    while fence is None and clock() < deadline:
        fence = store.take_lease(LEASE, holder=holder, now=clock(), seconds=LEASE_SECONDS, gone=is_gone)
        if fence is None:
            pause(random.uniform(0.05, 0.15))  # noqa: S311 - no secret; asking takes the ledger's only pen
    if fence is None:
        yield frozenset(rule.id for rule in rules)
        return
    try:
        yield used_up(installation, configuration, installation.now())
    finally:
        store.release_lease(LEASE, holder, fence)


def used_up(installation: Installation, configuration: Configuration, now: Instant) -> frozenset[str]:
    """The pre-authorisations that were used for as many incidents within the last hour as they may be."""
    since = later(now, -WINDOW_SECONDS)
    used: dict[str, set[str]] = {}
    for entry in installation.store.entries(types=(EntryType.PLAN_MADE,)):
        if entry.at > since:
            for rule in entry.body.get("rules", ()):
                used.setdefault(str(rule), set()).add(str(entry.incident))
    return frozenset(
        rule.id for rule in configuration.policy.preauthorised if len(used.get(rule.id, ())) >= rule.incidents_per_hour
    )
