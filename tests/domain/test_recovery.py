"""Recovery: the bound against published values and another way to compute it; what passes the bar and what cannot."""

import random
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.recovery import Bar, RecoveryVerdict, Seen, Trial, TrialKind, judge_recovery, upper_bound
from tests.domain.cast import NOW

BAR = Bar()


def trials(kind: TrialKind, seen: list[Seen]) -> tuple[Trial, ...]:
    return tuple(Trial(id=f"{kind}-{n}", kind=kind, seen=one, saw="", at=NOW) for n, one in enumerate(seen))


def judged(attacks: list[Seen], benign: list[Seen] | None = None, bar: Bar = BAR) -> RecoveryVerdict:
    neighbours = [Seen.HIT] * bar.benign_trials if benign is None else benign
    made = trials(TrialKind.ATTACK, attacks) + trials(TrialKind.BENIGN, neighbours)
    return judge_recovery("INC-0001", made, bar, NOW)


# One-sided 95 % bounds: the rule of three's exact form 1 - 0.05^(1/n), and the tables of Clopper and Pearson (1934)
# at two-sided 90 %, as every statistics package prints them.
@pytest.mark.parametrize(
    ("hits", "n", "bound"),
    [(0, 10, 0.2589), (1, 10, 0.3942), (5, 10, 0.7776), (0, 20, 0.1391), (2, 20, 0.2826), (0, 40, 0.0722), (0, 59, 0.0495),
     (1, 40, 0.1132), (0, 1, 0.95), (10, 10, 1.0)],
)  # fmt: skip
def test_published_bounds(hits: int, n: int, bound: float) -> None:
    assert upper_bound(hits, n, 95) == pytest.approx(bound, abs=6e-5)


def beta_tail(hits: int, n: int, rate: float, steps: int = 2000) -> float:
    """P(at most `hits` of n) as the incomplete beta integral, by Simpson's rule: nothing shared with the real one."""
    scale = (n - hits) * comb(n, hits)
    width = (1 - rate) / steps
    heights = [(rate + i * width) ** hits * (1 - rate - i * width) ** (n - hits - 1) for i in range(steps + 1)]
    weights = [1 if i in (0, steps) else 4 if i % 2 else 2 for i in range(steps + 1)]
    return scale * width / 3 * sum(w * h for w, h in zip(weights, heights, strict=True))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 80), st.integers(0, 79), st.sampled_from([80, 90, 95, 99]))
def test_the_bound_by_the_beta_integral(n: int, hits: int, confidence: int) -> None:
    hits %= n
    assert beta_tail(hits, n, upper_bound(hits, n, confidence)) == pytest.approx(1 - confidence / 100, abs=2e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(0, 199))
def test_more_hits_or_fewer_trials_never_look_better(n: int, hits: int) -> None:
    hits %= n
    assert hits / n <= upper_bound(hits, n, 95) <= upper_bound(hits + 1, n, 95)
    assert upper_bound(hits, n + 1, 95) <= upper_bound(hits, n, 95) + 2e-6
    assert upper_bound(hits, n, 90) <= upper_bound(hits, n, 99)


def test_no_trials_prove_nothing() -> None:
    assert upper_bound(0, 0, 95) == 1.0
    verdict = judged([], [])
    assert not verdict.passed
    assert verdict.upper_bound_percent == "100.0"
    assert not judge_recovery("INC-0001", (), Bar(trials=1, benign_trials=0, highest_rate_percent=99), NOW).passed


def test_many_trials_do_not_overflow() -> None:
    assert upper_bound(600, 5000, 95) == pytest.approx(0.1279, abs=5e-4)


@pytest.mark.parametrize(("hits", "n"), [(-1, 3), (4, 3)])
def test_impossible_counts(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="impossible"):
        upper_bound(hits, n, 95)


def test_a_clean_run_passes_the_default_bar_and_one_hit_does_not() -> None:
    verdict = judged([Seen.MISS] * 40)
    assert verdict.passed
    assert "7.2 %" in verdict.reasons[0]
    assert not judged([Seen.MISS] * 39 + [Seen.HIT]).passed
    assert not judged([Seen.MISS] * 39).passed


def test_unclear_counts_as_a_hit() -> None:
    assert (
        judged([Seen.MISS] * 39 + [Seen.UNCLEAR]).upper_bound_percent
        == judged([Seen.MISS] * 39 + [Seen.HIT]).upper_bound_percent
    )
    assert not judged([Seen.UNCLEAR] * 40).passed


def test_a_fix_that_fails_one_time_in_five_does_not_pass() -> None:
    """It passes only when none of 40 hits: 0.8**40, about one run in 7,500. Exactly, and by trying."""
    passing = [hits for hits in range(41) if judged([Seen.HIT] * hits + [Seen.MISS] * (40 - hits)).passed]
    assert sum(comb(40, hits) * 0.2**hits * 0.8 ** (40 - hits) for hits in passing) < 2e-4
    chance = random.Random(0)  # noqa: S311 - no secret
    runs = [judged([Seen.HIT if chance.random() < 0.2 else Seen.MISS for _ in range(40)]).passed for _ in range(200)]
    assert not any(runs)


def test_the_neighbours_must_still_work() -> None:
    clean = [Seen.MISS] * 40
    for benign in ([Seen.HIT] * 9, [Seen.HIT] * 9 + [Seen.MISS], [Seen.HIT] * 9 + [Seen.UNCLEAR]):
        assert not judged(clean, benign).passed
    assert judged(clean, [Seen.HIT] * 9 + [Seen.MISS], Bar(benign_failures_allowed=1)).passed


def test_a_trial_counts_once() -> None:
    few = trials(TrialKind.ATTACK, [Seen.MISS] * 20) + trials(TrialKind.BENIGN, [Seen.HIT] * 10)
    verdict = judge_recovery("INC-0001", few + few, BAR, NOW)
    assert (verdict.trials, verdict.benign_trials, verdict.passed) == (20, 10, False)
    whole = trials(TrialKind.ATTACK, [Seen.MISS] * 40) + trials(TrialKind.BENIGN, [Seen.HIT] * 10)
    assert judge_recovery("INC-0001", whole + whole, BAR, NOW).passed
    disputed = whole[0].model_copy(update={"seen": Seen.HIT})
    for order in ((*whole, disputed), (disputed, *whole)):
        assert judge_recovery("INC-0001", order, BAR, NOW).unclear == 1
