"""Every error says what was found, what is true now, and what to do next."""

import inspect

import pytest

from runbooks.domain import errors
from runbooks.domain.errors import Outcome, QuellError

SAMPLES: dict[str, QuellError] = {
    "ConfigurationError": errors.ConfigurationError("people.toml", "people.a", expected="x", found="y"),
    "IntakeDefectError": errors.IntakeDefectError("problem."),
    "ContainmentError": errors.ContainmentError("problem.", now="now.", next_step="next.", outcome=Outcome.UNKNOWN),
    "TargetMissingError": errors.TargetMissingError("problem.", next_step="next."),
    "SelfLockoutError": errors.SelfLockoutError("problem."),
    "ClaimHeldError": errors.ClaimHeldError("effect/x", "worker-2"),
    "UndoImpossibleError": errors.UndoImpossibleError("problem."),
}
ALL = {name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, QuellError)}


@pytest.mark.parametrize("name", ALL)
def test_three_parts(name: str) -> None:
    error = SAMPLES.get(name) or ALL[name]("problem.", now="now.", next_step="next.")
    assert type(error) is ALL[name]
    assert error.problem
    assert error.now
    assert error.next_step
    for part in (error.problem, error.now, error.next_step):
        assert part.endswith((".", "?"))
        assert part in str(error)
        assert part in error.diagnostics()
    assert [line.strip().partition(":")[0] for line in error.diagnostics().splitlines()[1:]] == ["now", "next"]
    assert error.exit_code in {1, 3}


def test_what_is_wrong_in_a_file_is_named() -> None:
    assert str(SAMPLES["ConfigurationError"]).startswith("people.toml: people.a: expected x, found y.")


def test_the_tree_on_the_page_is_the_real_one() -> None:
    page = errors.__doc__ or ""
    assert all(name in page for name in ALL)
