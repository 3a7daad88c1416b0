"""How often a pre-authorisation was used, and when its time is over: a cap that no flood of signals talks its way around.

Counted in the ledger, where the plans stand. Planning that may use one is done one at a time, so that two plans made
in the same instant count each other.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from runbooks.domain.approval import Purpose
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.grant import Grant
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from runbooks.domain.planning import is_control, rule_for, rule_named
from runbooks.domain.preauthorisation import Preauthorisation
from tasks.effects import came_to_nothing
from tasks.installation import Installation
from tasks.ledger import clock, is_gone, this_process
from tasks.waiting import pause

LEASE = "preauthorising"
LEASE_SECONDS = 10
WAIT_SECONDS = 20
WINDOW_SECONDS = 3600
PREAUTHORISED_HOURS = 24
"""How long after the plan a pre-authorised act may still be done."""


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


def unasked_grant(installation: Installation, plan: Plan, action: ContainmentAction) -> Grant | None:
    """The grant of the pre-authorisation that lets this act of the plan begin; the same one whenever it is asked."""
    right = right_to_begin(installation, installation.incident(plan.incident), plan, action)
    if right is None:
        return None
    return Grant(
        incident=plan.incident, purpose=Purpose.CONTAIN, action=action.digest(), effect_key=action.effect_key,
        manifest=plan.manifest, waiver=plan.waiver, preauthorisation=right[0].id, configuration=plan.configuration,
        expires_at=later(right[1], 3600 * PREAUTHORISED_HOURS),
    )  # fmt: skip


def lapsed(installation: Installation, plan: Plan) -> dict[str, str]:
    """Acts that the plan lets begin and that may begin, or go on, no more: why they wait for people.

    1. Nobody claimed it, and its signal is too old by now, or another configuration is active than the one that let it
       begin.
    2. It was claimed, is certainly not done, and another configuration is active that covers it no more. What that
       covers may be finished; what is done, or what nobody knows of, is not asked for.
    """
    found: dict[str, str] = {}
    if not plan.preauthorised:
        return found
    incident, now = installation.incident(plan.incident), installation.now()
    configuration = installation.configuration(plan.configuration)
    changed = plan.configuration != installation.active_digest()
    for name in plan.preauthorised:
        action = plan.action(name)
        if changed and not _goes_on(installation, incident, plan, action):
            found[name] = "another configuration was activated since the plan was made"
            continue
        right = right_to_begin(installation, incident, plan, action)
        if right is None or incident.origin is None:
            continue
        why = configuration.too_old(right[0], incident.origin.received_at, now)
        if why and not was_begun(installation, action):
            found[name] = f"the pre-authorisation {right[0].id} needs a younger signal: {why}"
    return found


def _goes_on(installation: Installation, incident: Incident, plan: Plan, action: ContainmentAction) -> bool:
    """Whether this act stays what it is under another configuration: by rule 2 of `lapsed`."""
    claim = installation.store.claim_of(action.effect_key)
    if claim is None:
        return False
    grant, active = unasked_grant(installation, plan, action), installation.active()
    covered = (
        grant is not None
        and rule_named(grant.preauthorisation, action, incident, active) is not None
        and is_control(action, incident, active)
    )
    return covered or not came_to_nothing(installation, incident.id, claim)
