"""Time as text: UTC, nanoseconds, always 30 characters, so that text order is time order.

An instant is a claim by the clock that made it. Order in the ledger comes from the index, never from an instant.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import StringConstraints

Instant = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")]
"""RFC 3339 in UTC with nine decimals, for example `2026-11-21T02:00:00.000000000Z`."""

_BILLION = 1_000_000_000


def instant_from_ns(nanoseconds: int) -> Instant:
    """The instant so many nanoseconds after 1970-01-01T00:00:00Z."""
    seconds, rest = divmod(nanoseconds, _BILLION)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def instant_from(moment: datetime) -> Instant:
    """The instant of an aware datetime; a naive one is refused, because its zone would be a guess."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; quell never guesses one")
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"


def moment(instant: Instant) -> datetime:
    """The instant as an aware datetime, cut to microseconds."""
    return datetime.fromisoformat(instant[:26]).replace(tzinfo=UTC)


def later(instant: Instant, seconds: int) -> Instant:
    """The instant so many whole seconds after (or, negative, before) this one."""
    return instant_from(moment(instant) + timedelta(seconds=seconds))


def milliseconds_between(first: Instant, second: Instant) -> int:
    """Milliseconds from the first to the second; negative when the second is earlier."""
    return round((moment(second) - moment(first)) / timedelta(milliseconds=1))
