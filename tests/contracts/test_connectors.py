"""One contract for every connector that takes something away. A kind without a far side here fails by name."""

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from runbooks.domain.approval import Purpose, Standing
from runbooks.domain.containment import Reversibility, Verb
from runbooks.domain.errors import (
    ClaimHeldError,
    ContainmentError,
    GrantRefusedError,
    Outcome,
    SelfLockoutError,
    TargetMissingError,
)
from runbooks.domain.value import digest_of
from tasks.connectors import kinds, open_connector
from tests.contracts.connectors.acts import EARLY, granted
from tests.contracts.connectors.authority import CrashError
from tests.contracts.connectors.case import NAME, Case
from tests.contracts.connectors.far_sides import FAR_SIDES

pytestmark = pytest.mark.far_side


def _verbs(kind: str) -> frozenset[Verb]:
    verbs: frozenset[Verb] = import_module(f"tasks.connectors.{kind}").connect.verbs
    return verbs


@pytest.fixture(params=sorted(FAR_SIDES), ids=lambda key: f"{key[0]}-{key[1]}")
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    far = FAR_SIDES[request.param](tmp_path)
    yield Case(far)
    if far.wire is not None:
        far.wire.close()


@pytest.mark.parametrize("kind", kinds())
def test_every_verb_of_every_kind_has_a_far_side(kind: str) -> None:
    tried = {verb for name, verb in FAR_SIDES if name == kind}
    missing = set() if kind == "memory" else _verbs(kind) - tried
    assert not missing, (
        f"{kind}: no far side tries {', '.join(missing)}; add one to tests/contracts/connectors/far_sides.py"
    )
    assert kind != "memory" or tried


def test_applies_once_and_proves_it(case: Case) -> None:
    before = case.connector().observe(case.action)
    receipt = case.perform()
    assert case.far.taken_away()
    assert case.far.effects() == 1
    assert (receipt.noop, receipt.recovered) == (False, False)
    assert case.record.snapshots[case.action.effect_key].state == before
    assert receipt.before == case.record.snapshots[case.action.effect_key].digest()
    assert receipt.after == case.connector().observe(case.action) != before
    assert case.record.journal == ["facts", "claim", "photographed", "still_held", "sending", "done"]


def test_the_same_act_again_has_no_second_effect(case: Case) -> None:
    receipt = case.perform()
    assert case.perform() == receipt
    assert case.far.effects() == 1


def test_nothing_is_sent_before_claim_and_photograph(case: Case) -> None:
    seen: dict[str, int] = {}

    def watch(word: str) -> None:
        seen[word] = case.far.effects()

    authority = case.authority(watch=watch)
    case.connector().perform(case.action, case.grant, authority)
    assert seen.pop("done") == 1
    assert set(seen.values()) == {0}


def test_already_as_desired_sends_nothing(case: Case) -> None:
    case.perform()
    case.record.receipts.clear()
    case.record.snapshots.clear()
    case.record.claims.clear()
    receipt = case.perform()
    assert receipt.noop is case.far.conclusive
    assert case.far.effects() == 1


def test_a_missing_target_is_an_error_and_consumes_nothing(case: Case) -> None:
    action = case.other(target=case.far.missing)
    with pytest.raises(TargetMissingError) as caught:
        case.perform(action)
    assert caught.value.outcome is Outcome.NOT_DONE
    assert case.far.effects() == 0
    assert "claim" not in case.record.journal


def test_every_way_without_the_right_is_refused(case: Case) -> None:
    record, action = case.record, case.action
    wrong = {
        "a changed parameter": (case.other(blast_radius="all tools"), case.grant),
        "a changed target": (case.other(target=case.far.missing), case.grant),
        "expired": (action, granted(record, action, expires_at=EARLY)),
        "denied": (action, granted(record, action, standing=Standing.DENIED)),
        "waiting": (action, granted(record, action, standing=Standing.WAITING)),
        "another seal": (action, granted(record, action, manifest=digest_of(b"another"))),
        "no seal and no waiver": (action, granted(record, action, manifest=None)),
        "a waiver that nobody gave": (action, granted(record, action, manifest=None, waiver=digest_of(b"none"))),
        "to undo": (action, granted(record, action, Purpose.UNDO)),
        "a request that nobody asked": (action, case.grant.model_copy(update={"request": digest_of(b"none")})),
        "another connector": (case.other(connector="other"), granted(record, case.other(connector="other"))),
    }
    for name, (act, grant) in wrong.items():
        with pytest.raises(GrantRefusedError):
            case.connector().perform(act, grant, case.authority())
        assert len(record.refusals) == 1, name
        record.refusals.clear()
    record.consumed[action.effect_key] = digest_of(b"another grant")
    with pytest.raises(GrantRefusedError):
        case.connector().perform(action, case.grant, case.authority())
    assert case.far.effects() == 0
    assert not case.record.claims


def test_a_configuration_that_is_not_the_opened_one_is_refused(case: Case) -> None:
    settings = {**case.far.settings, "deadline_seconds": 11}
    other = open_connector(case.far.kind, NAME, case.action.system, settings, case.far.resolve, case.record.now)
    with pytest.raises(GrantRefusedError, match="other settings than the active ones"):
        other.perform(case.action, case.grant, case.authority())
    assert case.far.effects() == 0


def test_a_lower_class_than_the_verbs_own_is_refused(case: Case) -> None:
    with pytest.raises((GrantRefusedError, ContainmentError), match="R0"):
        case.perform(case.other(reversibility=Reversibility.R0))
    assert case.far.effects() == 0


def test_own_access_is_protected(case: Case) -> None:
    if case.far.own is None:
        return  # flags, prompts and roles of others are nobody's access here
    action = case.other(target=case.far.own)
    with pytest.raises(SelfLockoutError):
        case.perform(action)
    assert case.far.effects() == 0
    assert "claim" not in case.record.journal


def test_killed_between_effect_and_receipt_the_next_worker_reads_back(case: Case) -> None:
    with pytest.raises(CrashError):
        case.connector().perform(case.action, case.grant, case.crash("done"))
    assert case.far.effects() == 1
    with pytest.raises(ClaimHeldError):
        case.connector().perform(case.action, case.grant, case.authority("worker-2"))
    case.record.end_leases()
    receipt = case.connector().perform(case.action, case.grant, case.authority("worker-2"))
    assert receipt.recovered is case.far.conclusive
    assert not receipt.noop
    assert case.far.effects() == 1
    assert case.record.snapshots[case.action.effect_key].state != receipt.after


@pytest.mark.parametrize("word", ["photographed", "still_held", "sending"])
def test_killed_before_the_effect_the_next_worker_does_it(case: Case, word: str) -> None:
    with pytest.raises(CrashError):
        case.connector().perform(case.action, case.grant, case.crash(word))
    assert case.far.effects() == 0
    case.record.end_leases()
    receipt = case.connector().perform(case.action, case.grant, case.authority("worker-2"))
    assert (receipt.noop, receipt.recovered) == (False, False)
    assert case.far.effects() == 1


def test_a_worker_whose_lease_ended_sends_nothing(case: Case) -> None:
    def watch(word: str) -> None:
        if word == "still_held":
            case.record.end_leases()

    with pytest.raises(ClaimHeldError):
        case.connector().perform(case.action, case.grant, case.authority(watch=watch))
    assert case.far.effects() == 0


@pytest.mark.parametrize("loss", ["lose_answer", "hang"])
def test_a_lost_answer_is_read_back_and_never_doubled(case: Case, loss: str) -> None:
    if case.far.wire is None:
        return  # a file gives no answers that could be lost
    getattr(case.far.wire, loss)(case.far.effect)
    receipt = case.perform()
    assert receipt.recovered
    assert case.far.taken_away()
    assert case.far.effects() == 1


def test_a_lost_request_is_sent_once_more_only_where_that_is_safe(case: Case) -> None:
    if case.far.wire is None:
        return
    case.far.wire.lose_request(case.far.effect)
    if case.far.repeatable:
        assert case.perform()
        assert case.far.effects() == 1
        assert case.record.journal.count("sending") == 2
        return
    with pytest.raises(ContainmentError) as caught:
        case.perform()
    assert caught.value.outcome is Outcome.UNKNOWN
    assert case.record.failures[0][1] is Outcome.UNKNOWN
    case.record.end_leases()
    with pytest.raises(ContainmentError, match="must not be sent twice") as again:
        case.connector().perform(case.action, case.grant, case.authority("worker-2"))
    assert again.value.outcome is Outcome.UNKNOWN
    assert case.far.effects() == 0
    assert case.record.journal.count("sending") == 1, "the first request may still be on its way"


def test_a_far_side_that_is_down_is_not_done_and_leaks_nothing(case: Case) -> None:
    case.far.down()
    with pytest.raises(ContainmentError) as caught:
        case.perform()
    assert caught.value.outcome is Outcome.NOT_DONE
    text = caught.value.diagnostics() + json.dumps(case.record.failures)
    assert not [secret for secret in case.far.secrets.values() if secret in text]
    assert case.action.target in text
    assert case.connector().check(), "what is down is not ready"


def test_ready_when_it_is(case: Case) -> None:
    assert case.connector().check() == []
    assert case.far.effects() == 0


def test_what_somebody_changes_at_the_last_moment_is_not_overwritten(case: Case) -> None:
    meddle = case.far.meddle
    if meddle is None:
        return  # a switch has no third state

    def watch(word: str) -> None:
        if word == "sending":
            meddle()

    with pytest.raises(ContainmentError, match="by somebody else just now") as caught:
        case.connector().perform(case.action, case.grant, case.authority(watch=watch))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert case.far.effects() == 0
