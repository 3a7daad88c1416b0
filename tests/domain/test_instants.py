"""Text order is time order, and no zone is guessed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.instants import instant_from, instant_from_ns, later, milliseconds_between, moment

nanoseconds = st.integers(0, 4 * 10**18)


@settings(max_examples=60, deadline=None)
@given(nanoseconds, nanoseconds)
def test_text_order_is_time_order(one: int, other: int) -> None:
    assert (instant_from_ns(one) < instant_from_ns(other)) == (one < other)
    assert len(instant_from_ns(one)) == 30
    assert moment(instant_from_ns(one)) == datetime.fromtimestamp(0, UTC) + timedelta(microseconds=one // 1000)


@settings(max_examples=33, deadline=None)
@given(nanoseconds, st.integers(-(10**6), 10**6))
def test_later_and_between(start: int, seconds: int) -> None:
    first = instant_from_ns(start + 10**15)
    assert milliseconds_between(first, later(first, seconds)) == 1000 * seconds
    assert instant_from(moment(first))[:26] == first[:26]


def test_a_zone_is_never_guessed() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        instant_from(datetime(2026, 1, 1))  # noqa: DTZ001 - to be refused
    east = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert instant_from(east) == "2026-01-01T00:00:00.000000000Z"
