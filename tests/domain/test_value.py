"""The canonical form: the same bytes as somebody else's RFC 8785, and nothing outside the profile."""

import json
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from runbooks.domain.containment import Verb
from runbooks.domain.errors import Outcome
from runbooks.domain.value import NotCanonicalError, Value, canonical, digest_of, short

LARGEST = 2**53 - 1
scalars = st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | st.text(st.characters(exclude_categories=["Cs"]))
ascii_keys = st.text(st.characters(max_codepoint=127))
profile = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4), max_leaves=12
)


@settings(max_examples=60, deadline=None)
@given(profile)
def test_the_same_bytes_as_another_implementation(value: Any) -> None:
    made = canonical(value)
    assert made == rfc8785.dumps(value)
    assert json.loads(made) == value
    assert canonical(json.loads(made)) == made


@pytest.mark.parametrize(
    "value",
    [1.0, 1.5, float("nan"), float("inf"), LARGEST + 1, -LARGEST - 1, "\ud800", "a\udfff", {"\ud800": 1}, {1: "a"}, {"ü": 1},
     {None: 1}, b"bytes", bytearray(b"x"), {1, 2}, object(), range(3), memoryview(b"x"), MappingProxyType({}), 1j, Outcome],
)  # fmt: skip
def test_outside_the_profile(value: Any) -> None:
    for nested in (value, [value], {"key": (value,)}):
        with pytest.raises(NotCanonicalError, match="value"):
            canonical(nested)


def test_order_and_kind_of_containers_do_not_matter() -> None:
    assert canonical({"b": 1, "a": (1, 2)}) == canonical({"a": [1, 2], "b": 1}) == b'{"a":[1,2],"b":1}'
    assert canonical([Verb.DISABLE_TOOL]) == b'["disable_tool"]'
    assert canonical(LARGEST) == str(LARGEST).encode()


class Sample(Value):
    word: str
    number: int = 0


def test_a_value_is_frozen_closed_and_named_by_its_content() -> None:
    one = Sample(word="a")
    assert one == Sample.from_bytes(one.canonical())
    assert one.digest() == Sample(number=0, word="a").digest() == digest_of(b'{"number":0,"word":"a"}')
    assert one.digest() != Sample(word="b").digest()
    with pytest.raises(ValidationError):
        one.word = "b"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Sample.model_validate({"word": "a", "more": 1})
    with pytest.raises(NotCanonicalError):
        Sample(word="\ud800").digest()
    with pytest.raises(ValidationError):
        Sample.from_bytes(b'{"word":"\\ud800"}')
    assert short(one.digest()) == one.digest()[7:19]
