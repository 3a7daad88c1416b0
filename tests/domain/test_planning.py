"""From runbook, inventory and policy to the plan: each of the seven rules."""

from runbooks.domain.configuration import Control, Policy
from runbooks.domain.containment import ContainmentAction, Plan, Reversibility, Verb
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import later
from runbooks.domain.planning import make_plan, rules_used
from runbooks.domain.runbook import ContainmentStep, When
from runbooks.domain.severity import Severity, SeverityJudgement
from tests.domain.cast import (
    NOW,
    PREAUTHORISED,
    SEAL,
    a_configuration,
    a_control,
    a_runbook,
    a_step,
    a_system,
    an_incident,
)

EVERY_VERB = tuple(a_step(verb) for verb in Verb)


def plan(
    *steps: ContainmentStep, controls: tuple[Control, ...] = (), practice: bool = False, **changes: object
) -> Plan:
    systems = {"agent": a_system(*controls, practice=practice)}
    return make_plan(an_incident(**changes), a_runbook(*steps), a_configuration(systems=systems), manifest=SEAL, at=NOW)


def verbs(made: Plan) -> list[Verb]:
    return [action.verb for action in made.actions]


def test_1_an_unknown_system_is_told_and_not_touched() -> None:
    made = plan(*EVERY_VERB, systems=("elsewhere",))
    assert made.actions == ()
    assert "does not know the system elsewhere" in made.refused[0]


def test_2_a_drill_only_touches_what_is_marked_practice() -> None:
    made = plan(*EVERY_VERB, drill=True)
    assert made.actions == ()
    assert "not marked practice" in made.refused[0]
    assert all(action.drill for action in plan(*EVERY_VERB, drill=True, practice=True).actions)
    assert len(plan(*EVERY_VERB, drill=True, practice=True).actions) == len(Verb)


def test_3_controls_are_found_by_verb_and_tag() -> None:
    controls = tuple(
        a_control(Verb.DISABLE_TOOL, name=name, tags=tags)
        for name, tags in (("refund", ("harmful", "money")), ("search", ()), ("mail", ("outside",)))
    )
    for tags, found in (
        ((), {"refund", "search", "mail"}),
        (("money", "outside"), {"refund", "mail"}),
        (("none",), set()),
    ):
        made = plan(a_step(Verb.DISABLE_TOOL, *tags), controls=controls)
        assert {action.id for action in made.actions} == found


def test_4_the_class_is_never_lower_than_the_verbs() -> None:
    def stated(verb: Verb, reversibility: Reversibility | None) -> Reversibility:
        control = a_control(verb, reversibility=reversibility)
        return plan(a_step(verb), controls=(control,)).actions[0].reversibility

    assert stated(Verb.REVOKE_TOKEN, Reversibility.R0) is Reversibility.R3
    assert stated(Verb.DISABLE_TOOL, Reversibility.R2) is Reversibility.R2
    assert stated(Verb.DENY_SESSIONS, None) is Reversibility.R2
    assert stated(Verb.CALL_HTTP, None) is Reversibility.R3  # nobody said that it can be undone


def test_5_the_reversible_form_comes_first() -> None:
    made = plan(*(a_step(v) for v in (Verb.REVOKE_TOKEN, Verb.DENY_SESSIONS, Verb.ROLL_BACK_PROMPT, Verb.BLOCK_CLIENT)))
    assert verbs(made) == [Verb.ROLL_BACK_PROMPT, Verb.BLOCK_CLIENT, Verb.DENY_SESSIONS, Verb.REVOKE_TOKEN]


def test_6_preauthorised_is_what_the_step_and_the_policy_both_allow() -> None:
    at_once = tuple(a_step(verb, when=When.AT_ONCE_IF_PREAUTHORISED) for verb in Verb)
    assert set(plan(*at_once).preauthorised) == {"disable-tool", "block-client", "call-http"}
    assert plan(*EVERY_VERB).preauthorised == ()
    assert plan(*at_once, archetype=Archetype.PROMPT_INJECTION).preauthorised == ()
    milder = SeverityJudgement(severity=Severity.SEV3, reasons=(), provisional=False)
    assert plan(*at_once, severity=milder).preauthorised == ()
    heavy = tuple(a_control(verb, reversibility=Reversibility.R2) for verb in Verb)
    assert plan(*at_once, controls=heavy).preauthorised == ()


def test_6_what_is_too_old_or_used_up_waits_for_people_and_the_plan_says_why() -> None:
    at_once = tuple(
        a_step(verb, when=When.AT_ONCE_IF_PREAUTHORISED) for verb in (Verb.DISABLE_TOOL, Verb.ROLL_BACK_PROMPT)
    )
    origin = an_incident().origin
    assert origin is not None

    def made(minutes: int, *spent: str) -> Plan:
        old = origin.model_copy(update={"received_at": later(NOW, -60 * minutes)})
        return make_plan(
            an_incident(origin=old),
            a_runbook(*at_once),
            a_configuration(),
            manifest=SEAL,
            spent=frozenset(spent),
            at=NOW,
        )

    assert (made(9).preauthorised, made(9).waits, made(9).refused) == (("disable-tool",), {}, ())
    for waits, words in (
        (made(10), "received 2026-11-21 01:50 UTC, 10 minutes ago"),
        (made(9, "at-once"), "used for as many"),
    ):
        assert waits.preauthorised == ()
        assert [action.id for action in waits.actions] == ["disable-tool", "roll-back-prompt"]
        assert set(waits.waits) == {"disable-tool"}, "the other one would wait anyhow"
        assert words in waits.waits["disable-tool"]
        assert waits.refused == (f"{waits.waits['disable-tool']}; people are asked",)


def test_6_a_rule_that_allows_older_signals_covers_where_a_stricter_one_does_not() -> None:
    strict = PREAUTHORISED.model_copy(update={"id": "strict", "fresh_minutes": 2})
    policy = Policy(preauthorised=(strict, PREAUTHORISED))
    configuration = a_configuration(policy=policy)
    incident, steps = an_incident(), a_runbook(a_step(Verb.DISABLE_TOOL, when=When.AT_ONCE_IF_PREAUTHORISED))
    for minutes, rule in ((1, "strict"), (5, "at-once")):
        at = later(NOW, 60 * minutes)
        made = make_plan(incident, steps, configuration, manifest=SEAL, at=at)
        assert rules_used(made, incident, configuration, at) == (rule,)


def test_7_what_is_lacking_is_named() -> None:
    made = plan(a_step(Verb.DISABLE_TOOL, "money"), a_step(Verb.BLOCK_CLIENT), controls=(a_control(Verb.BLOCK_CLIENT),))
    assert verbs(made) == [Verb.BLOCK_CLIENT]
    assert made.refused == ("agent has no control for disable tool tagged money",)


def test_a_near_miss_takes_nothing_away() -> None:
    made = plan(*EVERY_VERB, near_miss=True)
    assert (made.actions, made.refused) == ((), ())


def test_a_control_is_planned_once_by_the_first_step_that_names_it() -> None:
    steps = (a_step(Verb.DISABLE_TOOL), a_step(Verb.DISABLE_TOOL, when=When.AT_ONCE_IF_PREAUTHORISED))
    assert len(plan(*steps).actions) == 1
    assert plan(*steps).preauthorised == ()


def test_the_plan_is_bound_to_what_it_rests_on() -> None:
    first, other = plan(*EVERY_VERB), plan(*EVERY_VERB, id="INC-0002")
    assert first.manifest == SEAL
    assert first.digest() == plan(*EVERY_VERB).digest()
    assert not {a.effect_key for a in first.actions} & {a.effect_key for a in other.actions}
    assert len({a.effect_key for a in first.actions} | {a.undo_key for a in first.actions}) == 2 * len(Verb)


def test_an_effect_is_named_by_its_meaning_alone() -> None:
    action = plan(*EVERY_VERB).actions[0]

    def key(**changes: object) -> str:
        return ContainmentAction.model_validate({**action.model_dump(), **changes}).effect_key

    assert key(title="other", why="other", probes=("p",), blast_radius="x") == action.effect_key
    different = ({"target": "x"}, {"desired": {"a": "b"}}, {"connector": "c"}, {"system": "s"}, {"attempt": 2})
    assert len({key(**change) for change in different} | {action.effect_key}) == 6
