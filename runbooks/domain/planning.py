"""From runbook, inventory and policy to the plan: exact acts, in order, each with what a person must know.

Rules, in order:
1. An unknown system: nothing is planned, and the plan says so. Evidence is kept all the same.
2. A drill plans only against systems marked practice.
3. Each runbook step takes the system's controls with its verb and one of its tags.
4. The class is the control's, never lower than the verb's own.
5. The reversible form comes first: R1 before R2 before R3; within a class the runbook's order holds.
6. Pre-authorised is what the step allows and the active policy covers, never R2 or R3; it takes a signed, fresh signal
   of a source that the policy names, received not longer ago than the policy's limit. A rule that was used for enough
   incidents within the hour covers no more. What is not covered for its age or for that count waits for people, and
   the plan says why.
7. What the runbook asks for and the inventory lacks is refused by name, so that a gap is seen before it hurts.
"""

from runbooks.domain.configuration import Configuration, Control, System
from runbooks.domain.containment import VERB_REVERSIBILITY, ContainmentAction, Plan, Reversibility
from runbooks.domain.incident import Incident, Name
from runbooks.domain.instants import Instant
from runbooks.domain.preauthorisation import Preauthorisation
from runbooks.domain.runbook import Alternative, ContainmentStep, Runbook, When
from runbooks.domain.value import Digest


def action_for(incident: Incident, control: Control, why: str) -> ContainmentAction:
    """The exact act that this control means for this incident."""
    least = VERB_REVERSIBILITY.get(control.verb)
    stated = control.reversibility or least
    if stated is None:
        stated = Reversibility.R3
    if least is not None and stated.rank < least.rank:
        stated = least
    return ContainmentAction(
        id=control.name, incident=incident.id, system=incident.system, verb=control.verb, connector=control.connector,
        target=control.target, desired=control.desired, reversibility=stated, title=control.title, why=why,
        blast_radius=control.blast_radius, undo=control.undo, probes=control.probes, lag_seconds=control.lag_seconds,
        deadline_seconds=control.deadline_seconds, drill=incident.drill,
    )  # fmt: skip


def _matching(system: System, step: ContainmentStep | Alternative) -> list[Control]:
    return [c for c in system.controls if c.verb is step.verb and (not step.tags or set(step.tags) & set(c.tags))]


def alternatives_to(
    action: ContainmentAction, plan: Plan, incident: Incident, runbook: Runbook, configuration: Configuration
) -> tuple[tuple[ContainmentAction, Alternative], ...]:
    """The acts that the runbook names instead of a denied one, by rules 3 and 4, without those that are planned already."""
    system = configuration.systems.get(incident.system)
    if system is None:
        return ()
    planned = {one.id for one in plan.actions}
    found: dict[str, tuple[ContainmentAction, Alternative]] = {}
    for step in runbook.containment:
        if any(control.name == action.id for control in _matching(system, step)):
            for other in step.alternatives:
                for control in _matching(system, other):
                    if control.name not in planned:
                        found.setdefault(control.name, (action_for(incident, control, other.why), other))
    return tuple(found.values())


def rules_for(
    action: ContainmentAction, incident: Incident, configuration: Configuration
) -> tuple[Preauthorisation, ...]:
    """The pre-authorisations that cover this act of this incident while its signal is young, in file order."""
    return configuration.preauthorisations_for(
        archetype=incident.archetype, verb=action.verb, reversibility=action.reversibility,
        severity=incident.severity.severity, system=incident.system, origin=incident.origin,
    )  # fmt: skip


def rule_named(
    name: Name | None, action: ContainmentAction, incident: Incident, configuration: Configuration
) -> Preauthorisation | None:
    """The pre-authorisation of this name, if this configuration has it and it covers the act, whatever the signal's age."""
    return next((rule for rule in rules_for(action, incident, configuration) if rule.id == name), None)


def is_control(action: ContainmentAction, incident: Incident, configuration: Configuration) -> bool:
    """Whether the act is exactly a control of this configuration's inventory."""
    system = configuration.systems.get(action.system)
    return system is not None and any(action_for(incident, c, "").does(action) for c in system.controls)


def rule_for(
    action: ContainmentAction, incident: Incident, configuration: Configuration, at: Instant | None
) -> Preauthorisation | None:
    """The pre-authorisation that covers this act of this incident at this instant, if any.

    None: whatever the age of its signal, as plans were made before their instant was kept.
    """
    return next(
        (
            rule
            for rule in rules_for(action, incident, configuration)
            if not _too_old(rule, incident, configuration, at)
        ),
        None,
    )


def _too_old(rule: Preauthorisation, incident: Incident, configuration: Configuration, at: Instant | None) -> str:
    if at is None or incident.origin is None:
        return ""
    return configuration.too_old(rule, incident.origin.received_at, at)


def rules_used(plan: Plan, incident: Incident, configuration: Configuration, at: Instant | None) -> tuple[str, ...]:
    """The pre-authorisations that this plan rests on."""
    found = [rule_for(plan.action(name), incident, configuration, at) for name in plan.preauthorised]
    return tuple(sorted({rule.id for rule in found if rule is not None}))


def make_plan(
    incident: Incident,
    runbook: Runbook,
    configuration: Configuration,
    *,
    manifest: Digest | None,
    waiver: Digest | None = None,
    spent: frozenset[str] = frozenset(),
    at: Instant | None,
) -> Plan:
    """The plan for this incident under this configuration, by the rules at the head of this file.

    It rests on the sealed `manifest`; only under a recorded `waiver` may that be None. `spent` are the
    pre-authorisations that were used for as many incidents as they may be. `at` is when it is made; None for a plan
    from before that was kept, which did not look at the age of signals.
    """
    refused: list[str] = []
    found: list[tuple[ContainmentAction, ContainmentStep]] = []
    system = configuration.systems.get(incident.system)
    if system is None:  # 1
        refused.append(
            f"the inventory does not know the system {incident.system}; policy: {configuration.policy.unknown_system}"
        )
    elif incident.drill and not system.practice:  # 2
        refused.append(f"this is a drill and {incident.system} is not marked practice")
    elif not incident.near_miss:
        for step in runbook.containment:  # 3, 4
            controls = _matching(system, step)
            found += [(action_for(incident, control, step.why), step) for control in controls]
            if not controls:  # 7
                named = f" tagged {', '.join(step.tags)}" if step.tags else ""
                refused.append(f"{incident.system} has no control for {step.verb.shown}{named}")
    found.sort(key=lambda pair: pair[0].reversibility.rank)  # 5
    seen: dict[str, tuple[ContainmentAction, ContainmentStep]] = {}
    for action, step in found:
        seen.setdefault(action.id, (action, step))
    covered = {  # 6
        action.id: rules
        for action, step in seen.values()
        if step.when is When.AT_ONCE_IF_PREAUTHORISED and (rules := rules_for(action, incident, configuration))
    }
    waits = {action: _why_it_waits(rules, incident, configuration, spent, at) for action, rules in covered.items()}
    refused += sorted({f"{why}; people are asked" for why in waits.values() if why})
    return Plan(
        incident=incident.id, manifest=manifest, waiver=waiver, configuration=configuration.digest(), runbook=runbook.digest(),
        actions=tuple(action for action, _ in seen.values()),
        preauthorised=tuple(action for action, why in waits.items() if not why), refused=tuple(refused),
        waits={} if at is None else {action: why for action, why in waits.items() if why},
    )  # fmt: skip


def _why_it_waits(
    rules: tuple[Preauthorisation, ...], incident: Incident, configuration: Configuration, spent: frozenset[str],
    at: Instant | None,
) -> str:  # fmt: skip
    """Why an act that these rules cover waits for people; empty when it may begin. The first rule in time decides."""
    old = [(rule, _too_old(rule, incident, configuration, at)) for rule in rules]
    rule = next((rule for rule, why in old if not why), None)
    if rule is None:
        return f"the pre-authorisation {old[0][0].id} needs a younger signal: {old[0][1]}"
    if rule.id in spent:
        return f"the pre-authorisation {rule.id} was used for as many incidents as it may be within an hour"
    return ""
