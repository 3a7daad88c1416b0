"""How often a pre-authorisation was used, and when its time is over: a cap that no flood of signals talks its way around.

Counted in the ledger, where the plans stand. Planning that may use one is done one at a time, so that two plans made
in the same instant count each other.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from runbooks.domain.planning import rule_for
from runbooks.domain.preauthorisation import Preauthorisation
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


def right_to_begin(
    installation: Installation, incident: Incident, plan: Plan, action: ContainmentAction
) -> tuple[Preauthorisation, Instant] | None:
    """The rule that lets this act of the plan begin, and since when; always the same one, whenever it is asked.

    The first plan that says so counts: a later, wider one is no new right.
    """
    if action.id not in plan.preauthorised:
        return None
    plans = installation.store.entries(incident.id, types=(EntryType.PLAN_MADE,))
    made = next((entry for entry in plans if action.id in entry.body["preauthorised"]), None)
    if made is None:
        return None
    rule = rule_for(action, incident, installation.configuration(plan.configuration), made.body.get("planned_at"))
    return None if rule is None else (rule, made.at)


def was_begun(installation: Installation, action: ContainmentAction) -> bool:
    """Whether this act, or the one that it does once more, was claimed: then its right began in time."""
    first = action.model_copy(update={"attempt": 1})
    return any(installation.store.claim_of(one.effect_key) is not None for one in (action, first))


def lapsed(installation: Installation, plan: Plan) -> dict[str, str]:
    """Acts that the plan lets begin, that nobody claimed, and that may begin no more: why they wait for people.

    Their signal is too old by now, or another configuration is active than the one that let them begin.
    """
    found: dict[str, str] = {}
    if not plan.preauthorised:
        return found
    incident, now = installation.incident(plan.incident), installation.now()
    configuration = installation.configuration(plan.configuration)
    changed = plan.configuration != installation.active_digest()
    for name in plan.preauthorised:
        action = plan.action(name)
        if changed and installation.store.claim_of(action.effect_key) is None:
            found[name] = "another configuration was activated since the plan was made"
            continue
        right = right_to_begin(installation, incident, plan, action)
        if right is None or incident.origin is None:
            continue
        why = configuration.too_old(right[0], incident.origin.received_at, now)
        if why and not was_begun(installation, action):
            found[name] = f"the pre-authorisation {right[0].id} needs a younger signal: {why}"
    return found
