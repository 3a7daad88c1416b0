"""`judge_request`: each rule, and what must hold for every set of decisions."""

import itertools

import pytest

from runbooks.domain.approval import Answer, ApprovalRequest, Decision, Proof, RequestVerdict, Standing
from runbooks.domain.configuration import Configuration, ProofKind
from runbooks.domain.incident import Requester
from runbooks.domain.instants import Instant, later
from runbooks.domain.judging import judge_request
from tests.domain.cast import KEYS, NOW, PEOPLE, a_configuration, a_decision, a_person, a_request

PINNED = a_configuration()
TWO = a_request(PINNED)
CODE = Proof(kind=ProofKind.CODE, time_step=7)


def with_person(name: str, **changes: object) -> Configuration:
    return a_configuration(people={n: a_person(n, **(changes if n == name else {})) for n in PEOPLE})


def without(name: str) -> Configuration:
    return a_configuration(people={n: a_person(n) for n in PEOPLE if n != name})


def judge(
    request: ApprovalRequest,
    *decisions: Decision,
    pinned: Configuration = PINNED,
    active: Configuration = PINNED,
    keys: dict[str, str] = KEYS,
    now: Instant = NOW,
    claimed: int | None = None,
) -> RequestVerdict:
    return judge_request(request, decisions, pinned=pinned, active=active, keys=keys, now=now, claimed=claimed)


def yes(person: str, entry: int, request: ApprovalRequest = TWO, **changes: object) -> Decision:
    return a_decision(request, person, entry, **changes)  # type: ignore[arg-type]


def no(person: str, entry: int) -> Decision:
    return a_decision(TWO, person, entry, Answer.DENY)


def test_two_people_grant() -> None:
    verdict = judge(TWO, yes("alice", 1), yes("bob", 2))
    assert (verdict.standing, verdict.approvers, verdict.entries) == (Standing.GRANTED, ("alice", "bob"), (1, 2))


def test_silence_waits_and_then_expires() -> None:
    assert judge(TWO).standing is Standing.WAITING
    assert judge(TWO).still_needed == 2
    assert judge(TWO, now=TWO.expires_at).standing is Standing.WAITING
    assert judge(TWO, now=later(TWO.expires_at, 1)).standing is Standing.EXPIRED
    assert judge(TWO, yes("alice", 1), now=later(TWO.expires_at, 1)).standing is Standing.EXPIRED
    assert judge(TWO, yes("alice", 1), yes("bob", 2), now=later(TWO.expires_at, 1)).standing is Standing.GRANTED


@pytest.mark.parametrize("field", ["nonce", "action", "manifest", "target", "expires_at", "drill", "runbook", "people"])
def test_1_a_decision_counts_for_exactly_one_request(field: str) -> None:
    changed = {"nonce": "other", "action": "sha256:" + "9" * 64, "manifest": None, "target": "other", "people": 1,
               "expires_at": later(NOW, 7200), "drill": True, "runbook": "sha256:" + "9" * 64}  # fmt: skip
    other = TWO.model_copy(update={field: changed[field]})
    assert judge(other, yes("alice", 1), yes("bob", 2)).approvers == ()


def test_1_an_answer_for_another_installation_is_none() -> None:
    astray = yes("bob", 2).statement.model_copy(update={"installation": "elsewhere"})
    assert judge(TWO, yes("alice", 1), yes("bob", 2, statement=astray)).still_needed == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (without("bob"), "not listed"),
        (with_person("bob", roles=("finance",)), "none of the roles"),
        (with_person("bob", valid_until=NOW), "no longer valid"),
        (with_person("bob", valid_from=later(NOW, 60)), "not valid yet"),
        (with_person("bob", ssh_keys=()), "not listed"),
    ],
)
def test_2_additions_do_not_count_and_removals_count_at_once(changed: Configuration, words: str) -> None:
    removed = judge(TWO, yes("alice", 1), yes("bob", 2), active=changed)
    assert (removed.standing, removed.still_needed) == (Standing.WAITING, 1)
    assert words in removed.not_counted[0]
    request = a_request(changed)
    added = judge(request, yes("alice", 1, request), yes("bob", 2, request), pinned=changed)
    assert (added.standing, added.still_needed) == (Standing.WAITING, 1)


def test_2_judged_under_another_configuration_nothing_counts() -> None:
    verdict = judge(TWO, yes("alice", 1), yes("bob", 2), pinned=without("dora"))
    assert verdict.approvers == ()
    assert "another configuration" in verdict.not_counted[0]


def test_3_the_requester_and_the_excluded_never_count() -> None:
    for proven in (True, False):
        request = a_request(PINNED, requester=Requester(name="alice", proven=proven), people=1)
        assert judge(request, yes("alice", 1, request)).standing is Standing.WAITING
        assert judge(request, yes("alice", 1, request), yes("bob", 2, request)).approvers == ("bob",)
    request = a_request(PINNED, excluded=("alice",), people=1)
    assert judge(request, yes("alice", 1, request)).standing is Standing.WAITING


def test_4_the_proof_must_be_accepted_and_still_listed() -> None:
    only_ssh = a_request(PINNED, proofs=(ProofKind.SSH,), people=1)
    assert "accepts ssh" in judge(only_ssh, yes("alice", 1, only_ssh, proof=CODE)).not_counted[0]
    one = a_request(PINNED, people=1)
    assert judge(one, yes("alice", 1, one, proof=CODE)).standing is Standing.GRANTED
    stolen = yes("alice", 1, one, proof=Proof(kind=ProofKind.SSH, key="SHA256:bob", signature="s"))
    keyless = yes("alice", 1, one, proof=Proof(kind=ProofKind.SSH))
    for decision in (stolen, keyless):
        assert judge(one, decision).standing is Standing.WAITING
    assert judge(one, yes("alice", 1, one), keys={}).standing is Standing.WAITING


def test_4_what_the_person_did_not_sign_counts_for_nothing() -> None:
    one = a_request(PINNED, people=1)
    forged = yes("alice", 1, one, unsigned="expected a signature, found none")
    verdict = judge(one, forged)
    assert verdict.standing is Standing.WAITING
    assert verdict.not_counted == ("alice did not sign the answer in entry 1: expected a signature, found none",)
    assert judge(one, forged, yes("alice", 2, one)).entries == (2,), "and takes nothing from what was signed"


def test_4_a_new_comment_is_the_same_key_and_a_new_secret_is_not_the_same_code() -> None:
    one = a_request(PINNED, people=1)
    renamed = with_person("alice", ssh_keys=("ssh-ed25519 AAAAalice alice@new-laptop",))
    assert judge(one, yes("alice", 1, one), active=renamed).standing is Standing.GRANTED
    for secret in (None, "file:codes/new"):
        active = with_person("alice", code_secret=secret)
        assert judge(one, yes("alice", 1, one, proof=CODE), active=active).standing is Standing.WAITING


def test_6_a_withdrawal_is_final_and_comes_before_the_claim() -> None:
    gone = a_decision(TWO, "bob", 3, Answer.WITHDRAW)
    both = (yes("alice", 1), yes("bob", 2))
    verdict = judge(TWO, *both, gone)
    assert (verdict.standing, verdict.withdrawn, verdict.still_needed) == (Standing.WAITING, ("bob",), 1)
    assert "withdrawn by bob" in verdict.because
    assert judge(TWO, *both, gone, yes("bob", 4)).standing is Standing.WAITING
    assert judge(TWO, *both, gone, yes("carol", 4)).standing is Standing.GRANTED
    assert judge(TWO, *both, gone, claimed=4).standing is Standing.WAITING
    late = judge(TWO, *both, gone, claimed=2)
    assert late.standing is Standing.GRANTED
    assert "after the act was claimed" in late.not_counted[0]
    assert judge(TWO, no("alice", 1), a_decision(TWO, "alice", 2, Answer.WITHDRAW)).standing is Standing.WAITING


STOOD_FOR: dict[str, dict[str, object]] = {
    "dora": {"roles": ("finance",), "deputy_for": "alice"},
    "carol": {"roles": ("sales",), "deputy_for": "alice"},
}


def with_deputies() -> Configuration:
    return a_configuration(people={n: a_person(n, **STOOD_FOR.get(n, {})) for n in PEOPLE})


def test_7_a_deputy_stands_for_one_who_has_not_answered() -> None:
    place = with_deputies()
    request = a_request(place)

    def stands(*decisions: Decision, active: Configuration = place) -> RequestVerdict:
        return judge(request, *decisions, pinned=place, active=active)

    alice, bob, carol, dora = (
        yes(name, entry, request) for entry, name in enumerate(("alice", "bob", "carol", "dora"))
    )
    verdict = stands(bob, dora)
    assert (verdict.standing, verdict.for_others) == (Standing.GRANTED, {"dora": "alice"})
    assert "dora for alice" in verdict.because
    for voices in ((alice, dora), (carol, dora), (alice, carol, dora)):
        assert stands(*voices).still_needed == 1, "one voice"
    assert stands(alice, bob, dora).approvers == ("alice", "bob")
    assert stands(bob, dora, active=a_configuration()).still_needed == 1, "no longer a deputy"
    assert judge(a_request(PINNED), bob, dora).standing is Standing.WAITING, "became one only afterwards"
    gone = a_configuration(people={n: p for n, p in place.people.items() if n != "alice"})
    assert stands(bob, dora, active=gone).still_needed == 1, "nobody to stand for"


def test_3_a_deputy_of_the_requester_never_counts() -> None:
    place = with_deputies()
    for changes in ({"requester": Requester(name="alice", proven=True)}, {"excluded": ("alice",)}):
        request = a_request(place, people=1, **changes)
        verdict = judge(request, yes("dora", 1, request), pinned=place, active=place)
        assert verdict.standing is Standing.WAITING
        assert "as deputy of alice" in verdict.not_counted[0]


def test_9_a_deputy_has_the_eyes_of_both() -> None:
    place = with_deputies()
    for acted in (("alice",), ("dora",)):
        request = a_request(place, people=1, acted_before=acted)
        assert judge(request, yes("dora", 1, request), pinned=place, active=place).standing is Standing.WAITING


def test_7_of_two_deputies_the_one_with_fresh_eyes_carries_the_voice() -> None:
    place = with_deputies()
    request = a_request(place, acted_before=("bob", "carol"))
    bob, carol, dora = (yes(name, entry, request) for entry, name in enumerate(("bob", "carol", "dora")))
    verdict = judge(request, bob, carol, dora, pinned=place, active=place)
    assert (verdict.standing, verdict.approvers) == (Standing.GRANTED, ("bob", "dora"))
    assert verdict.not_counted == ("carol stands for alice, whose voice is counted already",)
    assert judge(request, bob, dora, pinned=place, active=place).standing is Standing.GRANTED
    refusal = a_decision(request, "carol", 1, Answer.DENY)
    assert judge(request, bob, refusal, dora, pinned=place, active=place).denier == "carol", "a no is not replaced"


def test_5_too_late_does_not_count() -> None:
    late = yes("bob", 2, at=later(TWO.expires_at, 1))
    assert judge(TWO, yes("alice", 1), late).still_needed == 1
    assert judge(TWO, yes("alice", 1), yes("bob", 2, at=TWO.expires_at)).standing is Standing.GRANTED


def test_6_one_person_counts_once_and_the_first_answer_stands() -> None:
    assert judge(TWO, yes("alice", 1), yes("alice", 2)).still_needed == 1
    assert judge(TWO, yes("alice", 1), no("alice", 2), yes("bob", 3)).standing is Standing.GRANTED
    assert judge(TWO, no("alice", 1), yes("alice", 2), yes("bob", 3), yes("carol", 4)).standing is Standing.DENIED


def test_8_one_denial_denies() -> None:
    verdict = judge(TWO, yes("alice", 1), yes("bob", 2), no("carol", 3))
    assert (verdict.standing, verdict.denier, verdict.denial_reason) == (Standing.DENIED, "carol", "because")
    assert verdict.entries == (3,)


def test_9_not_only_those_who_acted_before() -> None:
    request = a_request(PINNED, people=1, acted_before=("alice", "bob"))
    both = judge(request, yes("alice", 1, request), yes("bob", 2, request))
    assert (both.standing, both.still_needed) == (Standing.WAITING, 1)
    assert "not alice, bob" in both.because
    assert judge(request, yes("carol", 1, request)).standing is Standing.GRANTED


def test_decisions_are_read_in_ledger_order_however_they_are_handed_over() -> None:
    said = (no("alice", 1), yes("alice", 2), yes("bob", 3), yes("carol", 4))
    assert {judge(TWO, *order).standing for order in itertools.permutations(said)} == {Standing.DENIED}
