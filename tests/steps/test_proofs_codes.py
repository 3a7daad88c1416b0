"""One-time codes against RFC 6238's own examples, and how often somebody may try."""

import base64

import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import Instant, instant_from_ns, later
from tasks.proofs import AttemptRule, Attempts, attempts_allowed, verify_code

SECRET = base64.b32encode(b"12345678901234567890").decode()  # RFC 6238 appendix B
BILLION = 1_000_000_000
RULE = AttemptRule(wrong=3, window_seconds=600, pause_seconds=300)
START = instant_from_ns(1_700_000_000 * BILLION)


def at(seconds: float) -> Instant:
    return instant_from_ns(int(seconds * BILLION))


# The RFC prints eight digits; six are their last six (RFC 4226 §5.3).
@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_published_values(seconds: int, code: str) -> None:
    assert verify_code(code, SECRET, at(seconds), used_steps=()).time_step == seconds // 30
    assert verify_code(f" {code[:3]} {code[3:]} ", SECRET.lower(), at(seconds), used_steps=()).kind == "code"


@settings(max_examples=60, deadline=None)
@given(st.integers(10**9, 2 * 10**9), st.integers(-5, 5))
def test_only_this_step_and_the_one_before(seconds: int, away: int) -> None:
    code = pyotp.TOTP(SECRET).generate_otp(seconds // 30 + away)
    near = {pyotp.TOTP(SECRET).generate_otp(seconds // 30 + step) for step in (0, -1)}
    if code in near:
        assert verify_code(code, SECRET, at(seconds), used_steps=()).time_step in (seconds // 30, seconds // 30 - 1)
    else:
        assert away not in (0, -1)
        with pytest.raises(ApprovalError):
            verify_code(code, SECRET, at(seconds), used_steps=())


def test_the_edges_of_a_step() -> None:
    code = pyotp.TOTP(SECRET).generate_otp(100)
    for good in (3000, 3029.999999, 3030, 3059.999999):
        assert verify_code(code, SECRET, at(good), used_steps=()).time_step == 100
    for bad in (2999.999999, 3060):
        with pytest.raises(ApprovalError, match="not the one for"):
            verify_code(code, SECRET, at(bad), used_steps=())


def test_a_step_counts_once() -> None:
    code = pyotp.TOTP(SECRET).generate_otp(100)
    with pytest.raises(ApprovalError, match="used before"):
        verify_code(code, SECRET, at(3010), used_steps={100})
    assert verify_code(code, SECRET, at(3010), used_steps={99, 101}).time_step == 100


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=12) | st.text("0123456789\u0661\u0662\u00b2", max_size=8))
def test_whatever_is_typed_only_an_approval_error_comes_out(code: str) -> None:
    right = {pyotp.TOTP(SECRET).generate_otp(step) for step in (99, 100)}
    if "".join(code.split()) not in right:
        with pytest.raises(ApprovalError) as caught:
            verify_code(code, SECRET, at(3010), used_steps=())
        assert len(code) < 6 or code not in str(caught.value)


@pytest.mark.parametrize("secret", ["", "!!!", "GEZDGNBVGY3TQOJQ", "0189", "\u00fc" * 40])
def test_a_weak_or_broken_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ApprovalError, match="16 bytes or more") as caught:
        verify_code("123456", secret, at(3010), used_steps=())
    assert not secret or secret not in str(caught.value)


def test_wrong_codes_pause_codes_for_a_while() -> None:
    two = [START, later(START, 10)]
    assert attempts_allowed(two, later(START, 11), RULE) == Attempts(allowed=True)
    three = [*two, later(START, 20)]
    until = later(START, 20 + 300)
    assert attempts_allowed(three, later(START, 21), RULE) == Attempts(allowed=False, again_at=until)
    assert attempts_allowed(three, until, RULE) == Attempts(allowed=True)
    assert attempts_allowed([], START) == Attempts(allowed=True)


def test_spread_out_mistakes_do_not_pause() -> None:
    slow = [later(START, 601 * number) for number in range(20)]
    assert attempts_allowed(slow, later(START, 601 * 20), RULE).allowed


def test_trying_on_does_not_prolong_the_pause() -> None:
    first = [START, later(START, 1), later(START, 2)]
    more = [later(START, 3 + number) for number in range(250)]
    assert attempts_allowed([*first, *more], later(START, 302), RULE).allowed


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4000), max_size=60), st.integers(0, 5000))
def test_a_guesser_never_gets_more_tries_than_the_rule_gives(times: list[int], now: int) -> None:
    """However the attempts fall, those let through stay below the rule's rate; and order does not matter."""
    tried: list[Instant] = []
    for second in sorted(times):
        when = later(START, second)
        if attempts_allowed(tried, when, RULE).allowed:
            tried.append(when)
    for begin in tried:
        assert sum(begin <= one < later(begin, RULE.pause_seconds) for one in tried) <= 2 * RULE.wrong
    moment = later(START, now)
    assert attempts_allowed(tried, moment, RULE) == attempts_allowed(list(reversed(tried)), moment, RULE)
    verdict = attempts_allowed(tried, moment, RULE)
    if verdict.again_at is not None:
        assert verdict.again_at <= later(moment, RULE.pause_seconds)
