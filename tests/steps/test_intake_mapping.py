"""Expressions are evaluated as JMESPath's own interpreter does, also those that take the short way."""

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError

from runbooks.domain.errors import IntakeDefectError
from tasks.intake.mapping import pick
from tasks.settings import SENDERS
from tests.steps.deliveries import a_source

NAMES = st.sampled_from(["body", "item", "a", "b", "labels"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", "resolved"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20,
)  # fmt: skip
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(".".join)
EXPRESSIONS = st.recursive(
    PATHS | st.sampled_from(["'x'", "`1`", "`[]`", '"a"."b"', "@", "a[0]", "labels[*].a", "!a"]),
    lambda inner: st.tuples(inner, st.sampled_from([" || ", " && ", " == "]), inner).map("".join), max_leaves=4,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, st.dictionaries(NAMES, VALUES, max_size=4))
def test_the_same_as_the_interpreter(expression: str, seen: dict[str, object]) -> None:
    assert pick(expression, seen, "here") == jmespath.search(expression, seen)


SHIPPED = sorted({
    one for file in SENDERS.glob("*.toml") for mapping in a_source(file.stem).mappings
    for several in mapping.expressions().values() for one in several
})  # fmt: skip


@pytest.mark.parametrize("expression", SHIPPED)
@settings(max_examples=15, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_shipped_expression_too(expression: str, seen: dict[str, object]) -> None:
    try:
        expected = jmespath.search(expression, seen)
    except JMESPathError:
        with pytest.raises(IntakeDefectError):
            pick(expression, seen, "here")
        return
    assert pick(expression, seen, "here") == expected


def test_there_are_some() -> None:
    assert len(SHIPPED) > 100
