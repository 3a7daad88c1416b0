"""Severity: every factor and every floor can only make it worse; bands; what is not known."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from runbooks.domain.severity import FLOOR_LEVEL, Factors, Floor, Severity, judge_severity

NAMES = tuple(Factors.model_fields)
some_factors = st.fixed_dictionaries({}, optional={name: st.integers(0, 3) for name in NAMES})
some_floors = st.frozensets(st.sampled_from(Floor))


def level(factors: dict[str, int], floors: frozenset[Floor] = frozenset()) -> int:
    return judge_severity(Factors(**factors), floors).severity.rank


def all_of(total: int) -> dict[str, int]:
    """Every factor known, adding up to the total."""
    return {name: min(3, max(0, total - 3 * place)) for place, name in enumerate(NAMES)}


@settings(max_examples=60, deadline=None)
@given(some_factors, some_floors, st.sampled_from(NAMES))
def test_raising_a_factor_never_lowers_the_level(factors: dict[str, int], floors: frozenset[Floor], name: str) -> None:
    ranks = [level(factors | {name: degree}, floors) for degree in range(4)]
    assert ranks == sorted(ranks, reverse=True)


@settings(max_examples=60, deadline=None)
@given(some_factors, some_floors, st.sampled_from(Floor))
def test_a_floor_more_never_lowers_the_level(factors: dict[str, int], floors: frozenset[Floor], more: Floor) -> None:
    judged = judge_severity(Factors(**factors), floors | {more})
    assert judged.severity.rank <= level(factors, floors)
    assert judged.severity.rank <= FLOOR_LEVEL.get(more, Severity.SEV4).rank
    assert any(more.replace("_", " ") in reason for reason in judged.reasons)


@settings(max_examples=33, deadline=None)
@given(some_factors, st.sampled_from(NAMES))
def test_not_knowing_is_never_better_than_knowing_none(factors: dict[str, int], name: str) -> None:
    unknown = {key: value for key, value in factors.items() if key != name}
    assert level(unknown) <= level(unknown | {name: 0})


@pytest.mark.parametrize(
    ("total", "severity"),
    [(0, "SEV4"), (4, "SEV4"), (5, "SEV3"), (9, "SEV3"), (10, "SEV2"), (17, "SEV2"), (18, "SEV1"), (30, "SEV1")],
)
def test_bands(total: int, severity: str) -> None:
    judged = judge_severity(Factors(**all_of(total)), frozenset())
    assert judged.severity == severity
    assert not judged.provisional
    assert str(total) in judged.reasons[0]


def test_nothing_known_is_provisionally_sev2() -> None:
    judged = judge_severity(Factors(), frozenset())
    assert (judged.severity, judged.provisional) == (Severity.SEV2, True)
    assert not judge_severity(Factors(people=0), frozenset()).provisional


@pytest.mark.parametrize(
    ("floors", "total", "severity"),
    [
        ({Floor.SILENT_RECURRENCE}, 0, "SEV2"),  # one level up would be SEV3; at least SEV2
        ({Floor.SILENT_RECURRENCE}, 9, "SEV2"),
        ({Floor.SILENT_RECURRENCE}, 10, "SEV1"),
        ({Floor.CONTROL_FAILURE}, 0, "SEV3"),
        ({Floor.CONTROL_FAILURE}, 18, "SEV1"),
        ({Floor.CONTROL_FAILURE, Floor.EXPOSURE}, 0, "SEV1"),
        ({Floor.EXPOSURE}, 0, "SEV2"),
        ({Floor.LARGE_EXPOSURE}, 0, "SEV1"),
    ],
)
def test_floors(floors: set[Floor], total: int, severity: str) -> None:
    assert judge_severity(Factors(**all_of(total)), frozenset(floors)).severity == severity


@pytest.mark.parametrize("degree", [-1, 4])
def test_a_factor_is_zero_to_three(degree: int) -> None:
    with pytest.raises(ValidationError, match="people"):
        Factors(people=degree)
