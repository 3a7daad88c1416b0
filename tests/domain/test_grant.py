"""`check_grant`: a valid right, and every way in which it is none: one thing changed, and a reason that names it."""

import pytest

from runbooks.domain.approval import ApprovalRequest, Purpose, RequestVerdict, Standing
from runbooks.domain.configuration import Policy
from runbooks.domain.containment import ContainmentAction, Reversibility, Verb
from runbooks.domain.grant import Grant, GrantFacts, check_grant
from runbooks.domain.incident import Archetype, Origin
from runbooks.domain.instants import later
from runbooks.domain.severity import Severity
from tests.domain.cast import (
    NOW,
    PREAUTHORISED,
    SEAL,
    a_configuration,
    a_control,
    a_request,
    a_system,
    an_action,
    an_incident,
)

CONFIGURATION = a_configuration()
ACTION = an_action()
REQUEST = a_request(CONFIGURATION)
OTHER = "sha256:" + "9" * 64
VERDICT = RequestVerdict(
    request=REQUEST.digest(), standing=Standing.GRANTED, approvers=("alice", "bob"), because="approved"
)


def grant_for(
    action: ContainmentAction = ACTION, request: ApprovalRequest | None = REQUEST, **changes: object
) -> Grant:
    return Grant(
        incident=action.incident, purpose=Purpose.CONTAIN, action=action.digest(), effect_key=action.effect_key,
        manifest=SEAL, request=request.digest() if request else None, configuration=CONFIGURATION.digest(),
        expires_at=later(NOW, 3600),
    ).model_copy(update=changes)  # fmt: skip


def facts(**changes: object) -> GrantFacts:
    return GrantFacts(
        incident=an_incident(), open=True, sealed=SEAL, waiver=None, active=CONFIGURATION.digest(),
        configuration=CONFIGURATION, request=REQUEST, verdict=VERDICT, consumed_by=None, now=NOW,
    ).model_copy(update=changes)  # fmt: skip


def objections(grant: Grant | None = None, action: ContainmentAction = ACTION, known: GrantFacts | None = None) -> str:
    verdict = check_grant(grant or grant_for(), action, known or facts())
    assert verdict.valid == (not verdict.reasons)
    return "; ".join(verdict.reasons)


def test_the_right_as_it_should_be() -> None:
    assert objections() == ""
    assert objections(known=facts(consumed_by=grant_for().digest(), now=later(NOW, 3600))) == ""


ACTION_CHANGES = {
    "target": "other", "desired": {"a": "b"}, "connector": "other", "system": "practice", "verb": Verb.BLOCK_CLIENT,
    "reversibility": Reversibility.R2, "title": "other", "blast_radius": "none", "probes": ("p",), "deadline_seconds": 1,
    "drill": True, "incident": "INC-0002", "attempt": 2,
}  # fmt: skip


@pytest.mark.parametrize("field", ACTION_CHANGES)
def test_1_a_changed_parameter(field: str) -> None:
    assert "a parameter was changed" in objections(action=ACTION.model_copy(update={field: ACTION_CHANGES[field]}))


def test_1_another_incident_or_effect() -> None:
    assert "the act is of INC-0001" in objections(grant_for(incident="INC-0002"))
    assert "the act is of INC-0001" in objections(known=facts(incident=an_incident(id="INC-0002")))
    assert "the grant is for the effect" in objections(grant_for(effect_key="effect/other"))
    assert "the grant is for the effect" in objections(grant_for(effect_key=ACTION.undo_key))


def test_2_the_incident_and_the_drill() -> None:
    assert "is closed" in objections(known=facts(open=False))
    assert "drill mark" in objections(known=facts(incident=an_incident(drill=True)))
    assert "not marked practice" in objections(known=facts(incident=an_incident(drill=True)))
    gone = a_configuration(systems={"practice": a_system(practice=True)})
    assert "not in the active inventory" in objections(known=facts(configuration=gone))


def test_2_giving_back_may_come_after_closure() -> None:
    request = a_request(CONFIGURATION, purpose=Purpose.UNDO)
    back = grant_for(request=request, purpose=Purpose.UNDO, effect_key=ACTION.undo_key)
    verdict = VERDICT.model_copy(update={"request": request.digest()})
    assert objections(back, known=facts(open=False, request=request, verdict=verdict)) == ""


def test_3_the_evidence() -> None:
    assert "the grant names the seal" in objections(known=facts(sealed=OTHER))
    assert "the grant names the seal" in objections(known=facts(sealed=None))
    assert "no waiver" in objections(grant_for(manifest=None))
    assert "no waiver" in objections(grant_for(manifest=None, waiver=OTHER))
    waived = a_request(CONFIGURATION, manifest=None, waiver=OTHER)
    verdict = VERDICT.model_copy(update={"request": waived.digest()})
    right = grant_for(request=waived, manifest=None, waiver=OTHER)
    said = {"sealed": None, "waiver": OTHER, "request": waived, "verdict": verdict}
    policy = CONFIGURATION.policy.model_copy(update={"waiver_roles": ("security",)})
    lets = said | {"configuration": a_configuration(policy=policy)}
    assert objections(right, known=facts(**lets, waived_by="alice")) == ""
    for known, words in (
        (facts(**said, waived_by="alice"), "alice may not waive: expected one of the roles (none is configured)"),
        (facts(**lets, waived_by="frank"), "frank is not listed"), (facts(**lets), "the waiver was given by nobody"),
    ):  # fmt: skip
        assert f"no evidence is sealed, and {words}" in objections(right, known=known)
        assert objections(right, known=known.model_copy(update={"begun": True})) == "", "it may be finished"
        assert objections(right, known=known.model_copy(update={"sealed": SEAL})) == "", "it is sealed by now"
    back = a_request(CONFIGURATION, manifest=None, waiver=OTHER, purpose=Purpose.UNDO)
    undo = grant_for(request=back, manifest=None, waiver=OTHER, purpose=Purpose.UNDO, effect_key=ACTION.undo_key)
    granted = verdict.model_copy(update={"request": back.digest()})
    assert objections(undo, known=facts(sealed=None, waiver=OTHER, request=back, verdict=granted)) == "", "given back"


def test_4_and_5_the_request() -> None:
    assert "neither a request nor a pre-authorisation" in objections(grant_for(request=None))
    assert "not in the ledger" in objections(known=facts(request=None))
    assert "not in the ledger" in objections(known=facts(verdict=None))
    for standing in set(Standing) - {Standing.GRANTED}:
        assert f"stands {standing}" in objections(
            known=facts(verdict=VERDICT.model_copy(update={"standing": standing}))
        )
    assert "verdict is on another" in objections(known=facts(verdict=VERDICT.model_copy(update={"request": OTHER})))
    for change, words in (
        ({"nonce": "other"}, "not the one that was granted"), ({"action": OTHER}, "for another act"),
        ({"purpose": Purpose.UNDO}, "for another act"), ({"incident": "INC-0002"}, "for another act"),
        ({"manifest": OTHER}, "other evidence"), ({"waiver": OTHER}, "other evidence"),
        ({"configuration": OTHER}, "another configuration"),
    ):  # fmt: skip
        assert words in objections(known=facts(request=REQUEST.model_copy(update=change)))
    for change, words in (
        ({"request": OTHER}, "not the one that was granted"), ({"configuration": OTHER}, "another configuration"),
        ({"purpose": Purpose.UNDO}, "for another act"),
    ):  # fmt: skip
        assert words in objections(grant_for().model_copy(update=change))


def test_5_a_request_rests_on_the_active_inventory_and_policy_until_its_act_was_begun() -> None:
    gone = a_configuration(systems={"agent": a_system(a_control(Verb.BLOCK_CLIENT))})
    nobody = a_configuration(policy=Policy(rights=()))
    for active, words in ((gone, "no control of agent"), (nobody, "no decision right of the active policy")):
        assert words in objections(known=facts(configuration=active, active=active.digest()))
        assert objections(known=facts(configuration=active, active=active.digest(), begun=True)) == ""
    undo = a_request(CONFIGURATION, purpose=Purpose.UNDO)
    back = grant_for(request=undo, purpose=Purpose.UNDO, effect_key=ACTION.undo_key)
    verdict = VERDICT.model_copy(update={"request": undo.digest()})
    assert objections(back, known=facts(request=undo, verdict=verdict, configuration=gone)) == "", (
        "what is away comes back"
    )
    other = a_request(CONFIGURATION, verb=Verb.BLOCK_CLIENT, system="agent", severity=Severity.SEV1)
    verdict = VERDICT.model_copy(update={"request": other.digest()})
    assert "another verb or system" in objections(grant_for(request=other), known=facts(request=other, verdict=verdict))


def test_6_time_and_consumption() -> None:
    assert "expired" in objections(known=facts(now=later(NOW, 3601)))
    assert "its request ended" in objections(grant_for(expires_at=later(NOW, 999_999)))
    assert "consumed under another grant" in objections(known=facts(consumed_by=OTHER))


def test_6_what_was_let_through_under_this_grant_is_finished_however_late() -> None:
    assert objections(known=facts(now=later(NOW, 3601), let_through=True)) == ""
    begun = facts(now=later(NOW, 3601), begun=True)
    assert "expired" in objections(known=begun), "a pre-authorised act may be begun and not let through"


def test_6_another_grant_takes_over_what_is_certainly_not_done() -> None:
    assert objections(known=facts(consumed_by=OTHER, came_to_nothing=True)) == ""
    assert "may have been done under that" in objections(known=facts(consumed_by=OTHER, came_to_nothing=False))


def at_once(action: ContainmentAction = ACTION, **changes: object) -> Grant:
    return grant_for(action, None, **({"preauthorisation": "at-once"} | changes))


UNASKED = facts(request=None, verdict=None)


def test_a_preauthorised_act() -> None:
    assert objections(at_once(), known=UNASKED) == ""
    again = ACTION.model_copy(update={"id": "disable-tool-again", "attempt": 2, "why": "it did not hold"})
    assert objections(at_once(again), again, UNASKED) == ""


@pytest.mark.parametrize(
    ("grant", "known", "words"),
    [
        ({"preauthorisation": "other"}, {}, "no pre-authorisation other"),
        ({"purpose": Purpose.UNDO, "effect_key": ACTION.undo_key}, {}, "never covers undoing"),
        ({"configuration": OTHER}, {}, "active is"),
        ({}, {"active": OTHER}, "active is"),
        ({}, {"incident": an_incident(archetype=Archetype.PROMPT_INJECTION)}, "no pre-authorisation"),
        ({}, {"configuration": a_configuration(policy=Policy(rights=()))}, "no pre-authorisation"),
        ({}, {"sealed": None}, "names the seal"),
        ({}, {"open": False}, "is closed"),
    ],
)
def test_a_preauthorisation_that_does_not_cover(grant: dict[str, object], known: dict[str, object], words: str) -> None:
    assert words in objections(at_once().model_copy(update=grant), known=UNASKED.model_copy(update=known))


def test_a_preauthorised_act_that_was_claimed_is_finished_under_another_configuration_that_covers_it_too() -> None:
    policy = CONFIGURATION.policy.model_copy(update={"waiver_roles": ("security",)})
    gone = a_configuration(systems={"agent": a_system(a_control(Verb.BLOCK_CLIENT))})
    nobody = a_configuration(policy=Policy(rights=()))
    other = CONFIGURATION.model_copy(update={"policy": policy})
    for active, words in ((other, ""), (gone, "no control of agent"), (nobody, "no pre-authorisation at-once")):
        known = UNASKED.model_copy(update={"configuration": active, "active": active.digest()})
        assert "active is" in objections(at_once(), known=known)
        mine = known.model_copy(update={"consumed_by": at_once().digest(), "begun": True})
        assert (objections(at_once(), known=mine) == "") is not bool(words)
        assert words in objections(at_once(), known=mine)
        theirs = known.model_copy(update={"consumed_by": OTHER, "came_to_nothing": True})
        assert "active is" in objections(at_once(), known=theirs), "that was begun under another right"


MINUTE = 60


@pytest.mark.parametrize("seconds", [0, 10 * MINUTE - 1, -(10 * MINUTE - 1)])
def test_a_preauthorised_act_begins_while_its_signal_is_young(seconds: int) -> None:
    assert objections(at_once(), known=UNASKED.model_copy(update={"now": later(NOW, seconds)})) == ""


@pytest.mark.parametrize("seconds", [10 * MINUTE, -10 * MINUTE])
def test_a_preauthorised_act_of_an_old_signal_may_be_finished_but_not_begun(seconds: int) -> None:
    late = UNASKED.model_copy(update={"now": later(NOW, seconds)})
    assert "needs a younger signal: its signal was received 2026-11-21 02:00 UTC" in objections(at_once(), known=late)
    assert objections(at_once(), known=late.model_copy(update={"begun": True})) == ""


def test_a_rule_may_shorten_the_time_and_never_lengthen_it() -> None:
    def after(seconds: int, fresh_minutes: int) -> str:
        rule = PREAUTHORISED.model_copy(update={"fresh_minutes": fresh_minutes})
        policy = CONFIGURATION.policy.model_copy(update={"preauthorised": (rule,)})
        configuration = CONFIGURATION.model_copy(update={"policy": policy})
        known = {"configuration": configuration, "active": configuration.digest(), "now": later(NOW, seconds)}
        return objections(at_once(configuration=configuration.digest()), known=UNASKED.model_copy(update=known))

    assert after(2 * MINUTE - 1, 2) == ""
    assert "limit 2 minutes" in after(2 * MINUTE, 2)
    assert "limit 10 minutes" in after(10 * MINUTE, 60)


def test_a_signal_whose_receipt_is_not_on_record_begins_nothing() -> None:
    origin = Origin(source="monitor", fresh=True, delivery="DLV-" + "0" * 26)
    known = UNASKED.model_copy(update={"incident": an_incident(origin=origin)})
    assert "not on record when its signal was received" in objections(at_once(), known=known)


@pytest.mark.parametrize("change", [{"target": "everything"}, {"desired": {"state": "on"}}, {"connector": "other"}])
def test_a_preauthorised_act_must_be_a_control_of_the_inventory(change: dict[str, object]) -> None:
    """Nobody looked at it, so its target may not be one that somebody made up."""
    invented = ACTION.model_copy(update=change)
    assert "no control of agent" in objections(at_once(invented), invented, UNASKED)


def test_an_act_that_calls_itself_milder_than_it_is() -> None:
    mild = an_action(Verb.REVOKE_TOKEN, reversibility=Reversibility.R1)
    request = REQUEST.model_copy(update={"action": mild.digest()})
    verdict = VERDICT.model_copy(update={"request": request.digest()})
    assert "the act says R1, revoke token is R3" in objections(
        grant_for(mild, request), mild, facts(request=request, verdict=verdict)
    )
    heavy = a_configuration(systems={"agent": a_system(a_control(Verb.CALL_HTTP, reversibility=Reversibility.R2))})
    call = an_action(Verb.CALL_HTTP, reversibility=Reversibility.R1)
    changed = {"configuration": heavy, "active": heavy.digest()}
    right = at_once(call, configuration=heavy.digest())
    assert "no control" in objections(right, call, UNASKED.model_copy(update=changed))
