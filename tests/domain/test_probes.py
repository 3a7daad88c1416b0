"""What probes prove: effective only when every path refused N times in a row, last."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.containment import ContainmentStatus, Passage, ProbeResult, judge_probes
from tests.domain.cast import NOW

LETTERS = {"r": Passage.REFUSED, "t": Passage.THROUGH, "u": Passage.UNCLEAR}


def seen(**paths: str) -> dict[str, tuple[ProbeResult, ...]]:
    return {
        name: tuple(ProbeResult(probe=name, passage=LETTERS[letter], saw="", at=NOW) for letter in letters)
        for name, letters in paths.items()
    }


@pytest.mark.parametrize(
    ("paths", "status"),
    [
        ({}, "unverified"), ({"a": ""}, "unverified"), ({"a": "rr"}, "unverified"), ({"a": "rrr"}, "effective"),
        ({"a": "ttrrr"}, "effective"), ({"a": "rrrt"}, "applied"), ({"a": "trr"}, "applied"), ({"a": "rru"}, "unverified"),
        ({"a": "rrr", "b": "rrr"}, "effective"), ({"a": "rrr", "b": "rr"}, "partial"), ({"a": "rrr", "b": "ttt"}, "partial"),
        ({"a": "rrr", "b": ""}, "partial"), ({"a": "ttt", "b": "uuu"}, "applied"), ({"a": "uuu"}, "unverified"),
    ],
)  # fmt: skip
def test_status(paths: dict[str, str], status: str) -> None:
    found, because = judge_probes(seen(**paths), 3)
    assert found == status
    assert because


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.text("rtu", max_size=6), min_size=1), st.integers(1, 5))
def test_effective_means_every_path_refused_n_times_last(paths: dict[str, str], n: int) -> None:
    status, _ = judge_probes(seen(**paths), n)
    assert (status is ContainmentStatus.EFFECTIVE) == all(letters.endswith("r" * n) for letters in paths.values())


def test_no_refusal_at_all_proves_nothing() -> None:
    with pytest.raises(ValueError, match="prove nothing"):
        judge_probes(seen(a=""), 0)
