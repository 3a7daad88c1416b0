"""The review's due time: weekends, holidays, and zones whose clocks jump."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from runbooks.domain.review import ReviewRules, add_working_days, review_due
from runbooks.domain.severity import Severity

BERLIN = ReviewRules(zone="Europe/Berlin", holidays=("2026-12-25", "2026-12-28"))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("closed", "severity", "due"),
    [
        ("2026-11-18T12:00Z", Severity.SEV1, "2026-11-20T09:00Z"),  # Wednesday to Friday
        ("2026-11-19T12:00Z", Severity.SEV1, "2026-11-23T09:00Z"),  # over a weekend
        ("2026-11-21T12:00Z", Severity.SEV1, "2026-11-24T09:00Z"),  # closed on a Saturday
        ("2026-12-23T12:00Z", Severity.SEV1, "2026-12-29T09:00Z"),  # 24th, then holiday, weekend, holiday
        ("2026-03-26T12:00Z", Severity.SEV1, "2026-03-30T08:00Z"),  # clocks went forward on the 29th
        ("2026-10-22T12:00Z", Severity.SEV1, "2026-10-26T09:00Z"),  # and back on 25 October
        ("2026-11-19T23:30Z", Severity.SEV1, "2026-11-24T09:00Z"),  # already Friday in Berlin
        ("2026-11-18T12:00Z", Severity.SEV4, "2026-12-02T09:00Z"),
    ],
)
def test_due(closed: str, severity: Severity, due: str) -> None:
    assert review_due(at(closed), severity, BERLIN) == at(due)


@settings(max_examples=50, deadline=None)
@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Asia/Kathmandu"]),
    st.sampled_from(Severity),
)
def test_always_later_on_a_working_day_at_the_hour(closed: datetime, zone: str, severity: Severity) -> None:
    rules = ReviewRules(zone=zone, holidays=("2026-05-01",))
    due = review_due(closed, severity, rules)
    local = due.astimezone(ZoneInfo(zone))
    assert closed < due <= closed + timedelta(days=2 * rules.working_days[severity] + 5)
    assert (local.hour, local.minute) == (rules.hour, 0)
    assert local.weekday() < 5
    assert local.date().isoformat() != "2026-05-01"
    assert due.tzinfo is UTC


def test_no_days_is_the_same_day() -> None:
    assert add_working_days(at("2026-11-21T12:00Z"), 0, ()) == at("2026-11-21T12:00Z")


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"zone": "Mars/Olympus"}, "zone"), ({"zone": "../../etc/passwd"}, "zone"), ({"hour": 24}, "hour"),
        ({"holidays": ("25.12.2026",)}, "holidays|isoformat"), ({"holidays": ("20261225",)}, "holidays"),
        ({"working_days": {Severity.SEV1: 2}}, "SEV2"), ({"minutes": 0}, "minutes"),
    ],
)  # fmt: skip
def test_rules_are_checked_when_read(change: dict[str, object], names: str) -> None:
    """Not at the end of an incident."""
    with pytest.raises(ValidationError, match=names):
        ReviewRules.model_validate(change)
