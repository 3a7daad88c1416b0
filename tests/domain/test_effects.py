"""What became of an effect, by its entries: what may have arrived, and what is certainly not done."""

import pytest

from runbooks.domain.effects import is_not_done, may_have_arrived
from runbooks.domain.ledger import Actor, ActorKind, Draft, EntryType, LedgerEntry

EFFECT = "effect/one"
SENDING, FAILED, UNKNOWN = EntryType.EFFECT_SENDING, EntryType.EFFECT_FAILED, EntryType.EFFECT_UNKNOWN


def entries(*said: tuple[EntryType, int | None], effect: str = EFFECT) -> list[LedgerEntry]:
    actor = Actor(kind=ActorKind.FLOW, name="test")
    return [
        LedgerEntry.with_core(
            Draft(key=f"k{n}", type=kind, actor=actor, incident="INC-0001", body={"effect": effect, "fence": fence}),
            index=n, at="2026-11-21T02:00:00.000000000Z", incident_seq=n, incident_prev=None,
        )[0]
        for n, (kind, fence) in enumerate(said)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "arrived"),
    [
        ((), False),
        (((SENDING, 1),), True),
        (((SENDING, 1), (UNKNOWN, 1)), True),
        (((SENDING, 1), (FAILED, 1)), False),
        (((SENDING, 1), (FAILED, 2)), True),
        (((SENDING, 1), (FAILED, None)), True),
        (((SENDING, 1), (SENDING, 2), (FAILED, 2)), True),
        (((SENDING, 1), (EntryType.EFFECT_APPLIED, 2)), False),
    ],
)
def test_a_sending_without_a_certain_outcome_may_have_arrived(
    said: tuple[tuple[EntryType, int | None], ...], *, arrived: bool
) -> None:
    assert may_have_arrived(entries(*said), EFFECT) is arrived
    assert not may_have_arrived(entries(*said, effect="effect/other"), EFFECT)


def test_the_sendings_of_one_claim_may_be_passed_over() -> None:
    said = entries((SENDING, 1), (FAILED, 1), (SENDING, 2))
    assert may_have_arrived(said, EFFECT)
    assert not may_have_arrived(said, EFFECT, besides=2)


@pytest.mark.parametrize(
    ("said", "fence", "alive", "dead"),
    [
        ((), 1, False, True),
        (((FAILED, 1),), 1, True, True),
        (((FAILED, 1),), 2, False, True),
        (((SENDING, 1), (FAILED, 1), (FAILED, 2)), 2, True, True),
        (((SENDING, 1), (FAILED, 2)), 2, False, False),
        (((UNKNOWN, 1),), 1, False, False),
        (((UNKNOWN, 1), (FAILED, 2)), 2, True, True),
        (((FAILED, 1), (EntryType.EFFECT_UNDONE, 2)), 2, False, False),
    ],
)
def test_what_is_certainly_not_done(
    said: tuple[tuple[EntryType, int | None], ...], fence: int, *, alive: bool, dead: bool
) -> None:
    known = entries(*said)
    assert is_not_done(known, EFFECT, fence) is alive
    assert is_not_done(known, EFFECT, fence, dead=True) is dead
