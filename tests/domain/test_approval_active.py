"""What the active policy demands of a yes beside the request, and until when; and what must hold for every tightening."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.approval import Answer, ApprovalRequest, Decision, Proof, Purpose, RequestVerdict, Standing
from runbooks.domain.configuration import Configuration, Policy, ProofKind, Right
from runbooks.domain.containment import Verb
from runbooks.domain.incident import Requester
from runbooks.domain.instants import Instant, later
from runbooks.domain.judging import judge_request
from runbooks.domain.severity import Severity
from tests.domain.cast import KEYS, NOW, PEOPLE, a_configuration, a_decision, a_person, a_request

CODE = Proof(kind=ProofKind.CODE, time_step=7)
CAST = {n: a_person(n, roles=("security",) if n in ("alice", "bob") else ("on-call",)) for n in PEOPLE}
CAST["gina"] = a_person("gina", roles=("other",), deputy_for="alice")
LISTED = KEYS | {"SHA256:gina": CAST["gina"].ssh_keys[0]}
EVERYBODY = Right(roles=("security", "on-call"), proofs=(ProofKind.SSH, ProofKind.CODE))


def ruled(*rights: Right, **people: dict[str, object]) -> Configuration:
    """The active configuration with these rights, and with changes to people."""
    cast = {name: person.model_copy(update=people.get(name, {})) for name, person in CAST.items()}
    return a_configuration(people=cast, policy=Policy(rights=rights))


PINNED = ruled(EVERYBODY)


def asked(**changes: object) -> ApprovalRequest:
    says = {"verb": Verb.DISABLE_TOOL, "system": "agent", "severity": Severity.SEV1, "roles": EVERYBODY.roles}
    return a_request(PINNED, **(says | changes))


TWO = asked()


def judge(
    request: ApprovalRequest, *decisions: Decision, active: Configuration, now: Instant = NOW, **more: object
) -> RequestVerdict:
    return judge_request(request, decisions, pinned=PINNED, active=active, keys=LISTED, now=now, **more)  # type: ignore[arg-type]


def both(request: ApprovalRequest = TWO, second: str = "bob", **changes: object) -> tuple[Decision, Decision]:
    return a_decision(request, "alice", 1), a_decision(request, second, 2, **changes)  # type: ignore[arg-type]


TIGHTER: dict[str, tuple[Configuration, str, str]] = {
    "more people": (ruled(EVERYBODY.model_copy(update={"people": 3})), "bob", "needs 1 more of security, on-call"),
    "a role dropped": (ruled(EVERYBODY.model_copy(update={"roles": ("security",)})), "carol", "needs 1 more of security"),
    "a proof dropped": (ruled(EVERYBODY.model_copy(update={"proofs": (ProofKind.SSH,)})), "dora", "needs 1 more"),
    "named in never": (ruled(EVERYBODY.model_copy(update={"never": ("bob",)})), "bob", "needs 1 more"),
    "a role in never": (ruled(EVERYBODY.model_copy(update={"never": ("on-call",)})), "carol", "needs 1 more"),
    "the owner in never": (ruled(EVERYBODY.model_copy(update={"never": ("system-owner",)})), "bob", "needs 1 more"),
    "no right any more": (ruled(EVERYBODY.model_copy(update={"purposes": ("undo",)})), "bob", "none any more that covers"),
    "another system's": (ruled(EVERYBODY.model_copy(update={"systems": ("practice",)})), "bob", "none any more that covers"),
}  # fmt: skip


@pytest.mark.parametrize("tightened", TIGHTER)
def test_8_what_an_owner_tightened_counts_at_once(tightened: str) -> None:
    active, second, words = TIGHTER[tightened]
    given_ = both(second=second, proof=CODE) if second == "dora" else both(second=second)
    assert judge(TWO, *given_, active=PINNED).standing is Standing.GRANTED
    verdict = judge(TWO, *given_, active=active)
    assert verdict.standing is Standing.WAITING
    assert words in verdict.because
    assert verdict.still_needed >= 1


def test_8_a_deputy_of_one_whom_the_active_right_never_lets_does_not_count() -> None:
    never = ruled(EVERYBODY.model_copy(update={"never": ("alice",)}))
    said = a_decision(TWO, "gina", 1), a_decision(TWO, "carol", 2)
    assert judge(TWO, *said, active=PINNED).standing is Standing.GRANTED
    assert judge(TWO, *said, active=never).still_needed == 1


def test_8_one_more_person_then_grants_it() -> None:
    three = ruled(EVERYBODY.model_copy(update={"people": 3}))
    assert judge(TWO, *both(), a_decision(TWO, "carol", 3), active=three).standing is Standing.GRANTED


def test_8_the_unproven_requester_costs_one_more_by_the_active_right_too() -> None:
    request = asked(requester=Requester(name="erin", proven=False), people=2)
    two = ruled(EVERYBODY.model_copy(update={"people": 2}))
    assert judge(request, *both(request), active=two).still_needed == 1


def test_8_what_was_loosened_never_counts() -> None:
    loose = ruled(Right(roles=("security", "on-call", "other"), people=1, proofs=(ProofKind.SSH, ProofKind.CODE)))
    request = asked(roles=("security",), proofs=(ProofKind.SSH,))
    assert judge(request, *both(request, "carol"), active=loose).still_needed == 1
    assert judge(request, a_decision(request, "alice", 1), active=loose).still_needed == 1
    assert judge(request, *both(request, proof=CODE), active=loose).still_needed == 1


def test_8_a_no_stays_a_no_when_the_policy_is_tightened() -> None:
    for active, _, _ in TIGHTER.values():
        verdict = judge(TWO, *both(), a_decision(TWO, "carol", 3, Answer.DENY), active=active)
        assert (verdict.standing, verdict.denier) == (Standing.DENIED, "carol")


def test_8_what_was_claimed_may_be_finished() -> None:
    for active, second, _ in TIGHTER.values():
        if second == "bob":
            assert judge(TWO, *both(), active=active, acted_at=later(NOW, 60)).standing is Standing.GRANTED


def test_8_a_request_of_before_does_not_say_its_act_and_is_judged_by_its_own_terms() -> None:
    old = asked(verb=None, system=None, severity=None)
    assert judge(old, *both(old), active=ruled()).standing is Standing.GRANTED


ENDS = ruled(EVERYBODY, bob={"valid_until": later(NOW, 60)})


def test_2_whose_time_ends_after_the_answer_carries_nothing_any_more() -> None:
    assert judge(TWO, *both(), active=ENDS, now=later(NOW, 60)).standing is Standing.GRANTED
    after = judge(TWO, *both(), active=ENDS, now=later(NOW, 61))
    assert (after.standing, after.still_needed) == (Standing.WAITING, 1)
    assert "bob was no longer valid" in after.not_counted[0]
    assert judge(TWO, *both(), a_decision(TWO, "carol", 3), active=ENDS, now=later(NOW, 61)).approvers == (
        "alice",
        "carol",
    )


def test_2_until_the_act_was_claimed() -> None:
    end = later(NOW, 5000)
    assert judge(TWO, *both(), active=ENDS, now=end, acted_at=later(NOW, 60)).standing is Standing.GRANTED
    assert judge(TWO, *both(), active=ENDS, now=end, acted_at=later(NOW, 61)).standing is not Standing.GRANTED


def test_2_a_no_stays_a_no_when_the_time_of_whoever_said_it_ends() -> None:
    no = a_decision(TWO, "bob", 2, Answer.DENY)
    assert judge(TWO, a_decision(TWO, "alice", 1), no, active=ENDS, now=later(NOW, 61)).standing is Standing.DENIED


rights = st.lists(
    st.builds(
        Right, people=st.integers(1, 3), roles=st.sampled_from([("security",), ("on-call",), EVERYBODY.roles]),
        proofs=st.sampled_from([(ProofKind.SSH,), EVERYBODY.proofs]), systems=st.sampled_from([(), ("agent",), ("practice",)]),
        never=st.sampled_from([(), ("bob",), ("on-call",), ("system-owner",)]),
        purposes=st.sampled_from([(), (Purpose.UNDO,)]),
    ), max_size=2,
)  # fmt: skip
answers = st.lists(
    st.tuples(st.sampled_from((*CAST, "erin")), st.sampled_from(Answer), st.booleans()), max_size=6
).map(
    lambda drawn: [
        a_decision(TWO, who, n, said, **({"proof": CODE} if code else {})) for n, (who, said, code) in enumerate(drawn)
    ]
)  # fmt: skip
actives = st.builds(
    lambda some, end: ruled(*some, bob={"valid_until": later(NOW, end)}), rights, st.integers(10, 100)
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(actives, answers)
def test_no_other_policy_turns_no_into_yes_and_the_yes_satisfies_it_too(
    active: Configuration, said: list[Decision]
) -> None:
    now = later(NOW, 50)
    verdict = judge(TWO, *said, active=active, now=now)
    if verdict.standing is Standing.GRANTED:
        assert judge(TWO, *said, active=PINNED, now=now).standing is Standing.GRANTED
        right = TWO.right_in(active)
        assert right is not None
        assert len(verdict.approvers) >= max(TWO.people, right.people)
        for name in verdict.approvers:
            assert set(active.people[name].roles) & set(right.roles) or name == "gina"
            assert name not in right.never
            assert (active.people[name].valid_until or now) >= now
    if judge(TWO, *said, active=PINNED, now=now).standing is Standing.DENIED:
        assert verdict.standing is Standing.DENIED


@settings(max_examples=80, deadline=None)
@given(actives, answers, st.sampled_from((*CAST, "erin")), st.integers(0, 7))
def test_one_approval_more_never_turns_yes_into_no_and_one_proof_less_never_no_into_yes(
    active: Configuration, said: list[Decision], person: str, place: int
) -> None:
    now = later(NOW, 50)
    more = a_decision(TWO, person, place * 10 - 5, at=later(NOW, 1))
    if judge(TWO, *said, active=active, now=now).standing is Standing.GRANTED:
        assert judge(TWO, *said, more, active=active, now=now).standing is Standing.GRANTED
    else:
        for gone in [one for one in said if one.statement.answer is Answer.APPROVE]:
            rest = [one for one in said if one is not gone]
            assert judge(TWO, *rest, active=active, now=now).standing is not Standing.GRANTED
