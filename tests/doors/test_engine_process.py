"""The two things in which our Prefect server is not Prefect's own."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.utilities.schema_tools import validation

from flows.doors.engine_process import MOST_SCHEMAS, once_per_schema, remember_schemas

SCHEMA: dict[str, Any] = {
    "type": "object", "properties": {"start": {"type": "string"}}, "required": ["start"], "title": "Parameters"
}  # fmt: skip


@pytest.fixture
def remembering() -> Iterator[None]:
    """Prefect's own validator, changed for one test."""
    made: Any = validation._VALIDATOR
    before = vars(made)["check_schema"]
    remember_schemas()
    yield
    made.check_schema = before


def test_what_is_a_schema_is_found_once_and_what_is_none_each_time() -> None:
    asked: list[Any] = []

    def check(schema: Any, **how: Any) -> None:
        asked.append((schema, how))
        if schema == "bad":
            raise ValueError("no schema")

    remembered = once_per_schema(check)
    for _ in range(3):
        remembered({"a": 1, "b": 2}, format_checker=1)
        remembered({"b": 2, "a": 1}, format_checker=1)
    assert asked == [({"a": 1, "b": 2}, {"format_checker": 1})]
    for _ in range(2):
        with pytest.raises(ValueError, match="no schema"):
            remembered("bad")
    assert len(asked) == 3
    for number in [*range(2 * MOST_SCHEMAS), 2 * MOST_SCHEMAS - 1]:
        remembered({"n": number})
    assert len(asked) == 3 + 2 * MOST_SCHEMAS + 1, "it does not grow for ever, and checks what it does not know"


@pytest.mark.usefixtures("remembering")
def test_what_a_run_brings_is_held_against_the_schema_as_ever() -> None:
    for _ in range(2):
        validation.validate({"start": "x"}, copy.deepcopy(SCHEMA), raise_on_error=True)
        with pytest.raises(validation.ValidationError, match="start"):
            validation.validate({"start": 7}, copy.deepcopy(SCHEMA), raise_on_error=True)
        with pytest.raises(validation.ValidationError):
            validation.validate({}, copy.deepcopy(SCHEMA), raise_on_error=True)
    with pytest.raises(ValueError, match="Invalid schema"):
        validation.is_valid_schema({"type": "no such type"})
    with pytest.raises(ValueError, match="Invalid schema"):
        validation.is_valid_schema({"type": "no such type"})


def test_a_schema_that_was_found_sound_is_not_gone_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's server has its validator under the name that is known here, and goes through it."""
    made: Any = validation._VALIDATOR
    asked: list[Any] = []
    monkeypatch.setattr(made, "check_schema", lambda schema, **_: asked.append(schema["title"]))
    remember_schemas()
    for schema in (SCHEMA, SCHEMA, SCHEMA | {"title": "another"}, SCHEMA):
        validation.validate({"start": "x"}, copy.deepcopy(schema), raise_on_error=True)
    assert asked == ["Parameters", "another"]
