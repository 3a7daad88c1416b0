"""The review after the incident: when it is due, and what its draft holds."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from runbooks.domain.incident import IncidentId, Name
from runbooks.domain.instants import Instant
from runbooks.domain.severity import Severity
from runbooks.domain.value import Value

_SATURDAY = 5


class ReviewRules(Value):
    """Working days until the review, per severity; local hour and zone of the meeting; its length in minutes.

    Checked whole when the configuration is read: an unknown zone must not be found at the end of an incident.
    """

    working_days: dict[Severity, Annotated[int, Field(ge=1, le=260)]] = {
        Severity.SEV1: 2, Severity.SEV2: 3, Severity.SEV3: 5, Severity.SEV4: 10,
    }  # fmt: skip
    hour: Annotated[int, Field(ge=0, le=23)] = 10
    zone: str = "UTC"
    minutes: Annotated[int, Field(ge=1)] = 60
    holidays: tuple[str, ...] = ()
    """Dates as YYYY-MM-DD on which nobody works."""

    @model_validator(mode="after")
    def _usable(self) -> "ReviewRules":
        missing = [severity for severity in Severity if severity not in self.working_days]
        if missing:
            raise ValueError(f"working_days: expected all of {', '.join(Severity)}, missing {', '.join(missing)}")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"zone: expected an IANA time zone like Europe/Berlin, found {self.zone!r}") from error
        for day in self.holidays:
            if date.fromisoformat(day).isoformat() != day:
                raise ValueError(f"holidays: expected YYYY-MM-DD, found {day}")
        return self


class ActionItem(Value):
    """Something to do, by one named owner, by one day (YYYY-MM-DD)."""

    what: str
    owner: Name
    due: str
    because: str


class TimelineLine(Value):
    """One line of the timeline; it cites the ledger entry that says so."""

    at: Instant
    entry: int
    what: str


class Review(Value):
    """The draft, made from the ledger: people correct and complete it."""

    incident: IncidentId
    drafted_at: Instant
    timeline: tuple[TimelineLine, ...]
    impact: tuple[str, ...]
    worked: tuple[str, ...]
    did_not_work: tuple[str, ...]
    seconds: dict[str, str]
    """Durations in seconds as text, by name: to_detect, to_seal, to_approve, to_effective, to_recover…"""
    questions: tuple[str, ...]
    actions: tuple[ActionItem, ...]


def add_working_days(start: datetime, days: int, holidays: tuple[str, ...]) -> datetime:
    """The same time of day, so many working days later. Saturdays, Sundays and holidays do not count."""
    day, left = start, days
    while left > 0:
        day += timedelta(days=1)
        if day.weekday() < _SATURDAY and day.date().isoformat() not in holidays:
            left -= 1
    return day


def review_due(closed_at: datetime, severity: Severity, rules: ReviewRules) -> datetime:
    """When the review is held: the stated hour, local time, after the working days of this severity; in UTC."""
    local = closed_at.astimezone(ZoneInfo(rules.zone))
    day = add_working_days(local, rules.working_days[severity], rules.holidays)
    return datetime.combine(day.date(), time(rules.hour), tzinfo=ZoneInfo(rules.zone)).astimezone(UTC)
