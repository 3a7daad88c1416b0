"""The contract's second half: what was taken away is put back once, and only if nobody else changed it meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.domain.containment import UNDO_IMPOSSIBLE
from runbooks.domain.errors import ContainmentError, GrantRefusedError, Outcome, UndoImpossibleError
from tests.contracts.connectors.authority import CrashError
from tests.contracts.connectors.case import Case
from tests.contracts.connectors.far_sides import FAR_SIDES

pytestmark = pytest.mark.far_side


@pytest.fixture(params=sorted(FAR_SIDES), ids=lambda key: f"{key[0]}-{key[1]}")
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    far = FAR_SIDES[request.param](tmp_path)
    yield Case(far)
    if far.wire is not None:
        far.wire.close()


def test_undo_restores_the_photograph_once(case: Case) -> None:
    before = case.connector().observe(case.action)
    case.perform()
    if case.far.verb in UNDO_IMPOSSIBLE:
        with pytest.raises(UndoImpossibleError, match="reissue"):
            case.reverse()
        assert case.far.effects() == 1
        return
    receipt = case.reverse()
    assert not case.far.taken_away()
    assert receipt.after == before == case.connector().observe(case.action)
    assert receipt.effect_key == case.action.undo_key
    assert case.reverse() == receipt
    assert case.far.effects() == 2


def _can_be_undone(case: Case) -> bool:
    return case.far.verb not in UNDO_IMPOSSIBLE


def test_undo_needs_its_own_grant(case: Case) -> None:
    case.perform()
    with pytest.raises(GrantRefusedError):
        case.connector().reverse(case.action, case.grant, case.authority())
    assert case.far.effects() == 1


def test_undo_without_a_receipt_is_refused(case: Case) -> None:
    with pytest.raises(ContainmentError):
        case.reverse()
    assert case.far.effects() == 0


def test_undo_refuses_what_somebody_else_changed(case: Case) -> None:
    if case.far.meddle is None:
        return  # a switch has no third state
    case.perform()
    case.far.meddle()
    mine = case.far.effects()
    with pytest.raises(ContainmentError, match="somebody else changed it") as caught:
        case.reverse()
    assert caught.value.outcome is Outcome.NOT_DONE
    assert case.far.effects() == mine
    assert case.action.undo_key not in case.record.claims


@pytest.mark.parametrize("word", ["photographed", "sending"])
def test_undo_refuses_what_somebody_changes_meanwhile(case: Case, word: str) -> None:
    meddle = case.far.meddle
    if meddle is None:
        return
    case.perform()

    def watch(recorded: str) -> None:
        if recorded == word:
            meddle()

    with pytest.raises(ContainmentError, match="somebody else") as caught:
        case.connector().reverse(case.action, case.undo_grant, case.authority(watch=watch))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert case.far.effects() == 1


def test_undo_of_what_somebody_restored_is_done(case: Case) -> None:
    if case.far.give_back is None:
        return
    case.perform()
    case.far.give_back()
    mine = case.far.effects()
    receipt = case.reverse()
    assert receipt.noop
    assert case.far.effects() == mine


def test_undo_killed_between_effect_and_receipt_is_read_back(case: Case) -> None:
    if not _can_be_undone(case):
        return
    case.perform()
    with pytest.raises(CrashError):
        case.connector().reverse(case.action, case.undo_grant, case.crash("done"))
    assert case.far.effects() == 2
    case.record.end_leases()
    receipt = case.connector().reverse(case.action, case.undo_grant, case.authority("worker-2"))
    assert receipt.recovered
    assert case.far.effects() == 2


def test_undo_with_a_lost_answer_is_read_back(case: Case) -> None:
    if case.far.wire is None or not _can_be_undone(case):
        return
    case.perform()
    case.far.wire.lose_answer(case.far.effect)
    assert case.reverse().recovered
    assert case.far.effects() == 2
