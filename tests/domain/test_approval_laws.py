"""`judge_request`: what must hold for every set of decisions, deputies and withdrawals among them."""

from itertools import combinations, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.approval import Answer, ApprovalRequest, Decision, Proof, RequestVerdict, Standing
from runbooks.domain.configuration import ProofKind
from runbooks.domain.instants import Instant, later
from runbooks.domain.judging import judge_request
from tests.domain.cast import KEYS, NOW, PEOPLE, a_configuration, a_decision, a_person, a_request

CODE = Proof(kind=ProofKind.CODE, time_step=7)
answers = st.sampled_from(Answer)
DEPUTIES = a_configuration(
    people={
        **{name: a_person(name) for name in PEOPLE},
        **{
            name: a_person(name, roles=("other",), deputy_for=of)
            for name, of in (("gina", "alice"), ("hal", "alice"), ("ira", "bob"))
        },
    }
)
LISTED = KEYS | {f"SHA256:{name}": DEPUTIES.people[name].ssh_keys[0] for name in DEPUTIES.people}
requests = st.builds(
    lambda people, acted, proofs: a_request(DEPUTIES, people=people, acted_before=acted, proofs=proofs),
    st.integers(1, 3),
    st.lists(st.sampled_from((*PEOPLE, "gina", "hal", "ira")), unique=True, max_size=3).map(sorted).map(tuple),
    st.sampled_from([(ProofKind.SSH,), (ProofKind.SSH, ProofKind.CODE)]),
)  # fmt: skip

some = st.lists(
    st.tuples(st.sampled_from((*DEPUTIES.people, "erin", "frank")), answers, st.booleans(), st.integers(0, 5000)),
    max_size=7,
)


def weigh(request: ApprovalRequest, *decisions: Decision, now: Instant = NOW) -> RequestVerdict:
    return judge_request(request, decisions, pinned=DEPUTIES, active=DEPUTIES, keys=LISTED, now=now)


def decided(request: ApprovalRequest, drawn: list[tuple[str, Answer, bool, int]]) -> list[Decision]:
    return [
        a_decision(request, person, entry, answer, at=later(NOW, seconds), **({"proof": CODE} if code else {}))
        for entry, (person, answer, code, seconds) in enumerate(drawn)
    ]


LATER = later(NOW, 10_000)


@settings(max_examples=50, deadline=None)
@given(requests, some, st.sampled_from((*DEPUTIES.people, "erin", "frank")), st.integers(0, 8))
def test_one_approval_more_never_turns_yes_into_no(
    request: ApprovalRequest, drawn: list[tuple[str, Answer, bool, int]], person: str, place: int
) -> None:
    decisions = decided(request, drawn)
    more = a_decision(request, person, place * 10 - 5, at=later(NOW, 1))
    if weigh(request, *decisions, now=LATER).standing is Standing.GRANTED:
        assert weigh(request, *decisions, more, now=LATER).standing is Standing.GRANTED


@settings(max_examples=50, deadline=None)
@given(requests, some)
def test_one_approval_less_never_turns_no_into_yes(
    request: ApprovalRequest, drawn: list[tuple[str, Answer, bool, int]]
) -> None:
    decisions = decided(request, drawn)
    if weigh(request, *decisions).standing is not Standing.GRANTED:
        for place, gone in enumerate(decisions):
            if gone.statement.answer is Answer.APPROVE:
                rest = decisions[:place] + decisions[place + 1 :]
                assert weigh(request, *rest).standing is not Standing.GRANTED


@settings(max_examples=33, deadline=None)
@given(requests, some)
def test_what_a_yes_rests_on(request: ApprovalRequest, drawn: list[tuple[str, Answer, bool, int]]) -> None:
    verdict = weigh(request, *decided(request, drawn), now=LATER)
    assert "erin" not in verdict.approvers  # asked for it
    assert "frank" not in verdict.approvers  # nobody knows him
    assert len(set(verdict.approvers)) == len(verdict.approvers)
    assert (verdict.standing is Standing.DENIED) == (verdict.denier is not None)
    if verdict.standing is Standing.GRANTED:
        assert len(verdict.approvers) >= request.people
        assert not request.acted_before or set(verdict.approvers) - set(request.acted_before)
        assert not verdict.still_needed
    else:
        assert verdict.because
        assert verdict.denier or verdict.still_needed


@settings(max_examples=30, deadline=None)
@given(requests, st.permutations(PEOPLE), st.lists(answers, min_size=4, max_size=4))
def test_the_order_of_distinct_people_does_not_matter(
    request: ApprovalRequest, order: list[str], said: list[Answer]
) -> None:
    by_name = dict(zip(PEOPLE, said, strict=True))
    first, second = (
        weigh(request, *(a_decision(request, name, entry, by_name[name]) for entry, name in enumerate(names)))
        for names in (PEOPLE, order)
    )
    assert (first.standing, set(first.approvers)) == (second.standing, set(second.approvers))


@settings(max_examples=30, deadline=None)
@given(requests, some, st.sampled_from(PEOPLE), st.sampled_from((Answer.APPROVE, Answer.DENY)))
def test_a_second_answer_changes_nothing(
    request: ApprovalRequest, drawn: list[tuple[str, Answer, bool, int]], person: str, answer: Answer
) -> None:
    decisions = [a_decision(request, person, -1), *decided(request, drawn)]
    again = a_decision(request, person, 99, answer)
    before, after = weigh(request, *decisions), weigh(request, *decisions, again)
    assert (before.standing, before.approvers, before.entries) == (after.standing, after.approvers, after.entries)


VOICES = ("alice", "gina", "hal", "carol")
"""One with two deputies, and one who speaks for nobody else."""


@pytest.mark.parametrize("acted", [some for size in range(4) for some in combinations(VOICES, size)], ids="+".join)
@pytest.mark.parametrize("people", [1, 2])
def test_no_small_case_in_which_one_approval_less_turns_no_into_yes(acted: tuple[str, ...], people: int) -> None:
    """Every order of up to three of them, every answer of each, whoever of them acted before."""
    request, granted = a_request(DEPUTIES, people=people, acted_before=acted), dict[tuple[object, ...], bool]()
    said = {
        (name, entry, answer): a_decision(request, name, entry, answer)
        for name in VOICES for entry in range(3) for answer in (Answer.APPROVE, Answer.DENY)
    }  # fmt: skip
    for size in range(4):
        for names in permutations(VOICES, size):
            for answers in product((Answer.APPROVE, Answer.DENY), repeat=size):
                case = tuple(zip(names, answers, strict=True))
                decisions = [said[name, entry, answer] for entry, (name, answer) in enumerate(case)]
                granted[case] = weigh(request, *decisions).standing is Standing.GRANTED
                less = [case[:n] + case[n + 1 :] for n, (_, answer) in enumerate(case) if answer is Answer.APPROVE]
                assert granted[case] or not any(granted[one] for one in less), case
    assert any(granted.values()) is not ({"alice", "carol"} <= set(acted)), "unless nobody has fresh eyes"
