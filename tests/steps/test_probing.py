"""Looking whether an ability is gone: refusals must be in a row, on every path, and must last."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from runbooks.domain.containment import ContainmentStatus, Passage, ProbeResult
from runbooks.domain.instants import instant_from_ns, milliseconds_between
from tasks import containment

SPAN, CONFIRM, LONGEST = 100, 20, 200


@dataclass
class Clock:
    """Time that passes only while somebody pauses."""

    ms: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> str:
        return instant_from_ns(1_700_000_000_000_000_000 + round(self.ms * 1_000_000))

    def pause(self, seconds: float) -> None:
        self.pauses.append(1000 * seconds)
        self.ms += 1000 * seconds


@dataclass
class Path:
    """A path that is open at these times, in milliseconds from the first look."""

    clock: Clock
    open_until: float
    open_again: tuple[float, float] = (1e9, 1e9)

    def at(self) -> str:
        return self.clock()

    def probe(self, name: str, settings: object, mark: str) -> ProbeResult:
        del settings, mark
        again, shut = self.open_again
        is_open = self.clock.ms < self.open_until or again <= self.clock.ms < shut
        return ProbeResult(probe=name, passage=Passage.THROUGH if is_open else Passage.REFUSED, at=self.at(), saw="4")


def looked(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, deadline: int = 30, span: int = SPAN, **paths: Path
) -> containment.Looked:
    monkeypatch.setattr(containment, "monotonic", lambda: clock.ms / 1000)
    monkeypatch.setattr(containment, "pause", clock.pause)
    probe = SimpleNamespace(connector="", settings=None)
    limits = SimpleNamespace(
        probe_confirm_milliseconds=CONFIRM, probe_interval_milliseconds=LONGEST, probe_span_milliseconds=span
    )
    names = iter(paths)
    place: Any = SimpleNamespace(
        active=lambda: SimpleNamespace(
            systems={"agent": SimpleNamespace(probes=dict.fromkeys(paths, probe))},
            policy=SimpleNamespace(probes_in_a_row=3),
        ),
        connector=lambda *_: paths[next(names)],
        settings=SimpleNamespace(limits=limits),
    )
    action: Any = SimpleNamespace(system="agent", probes=tuple(paths), incident="INC-X")
    return containment.look(place, action, deadline)


def test_refusals_must_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    found = looked(monkeypatch, clock, tool=Path(clock, open_until=0))
    assert found.status is ContainmentStatus.EFFECTIVE
    assert SPAN <= clock.ms < SPAN + 2 * CONFIRM, "three in a row stand after 40 ms, and are not enough"
    assert found.rounds == SPAN / CONFIRM + 1


def test_the_last_look_comes_as_soon_as_it_has_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    found = looked(monkeypatch, clock, span=90, tool=Path(clock, open_until=0))
    assert found.status is ContainmentStatus.EFFECTIVE
    assert (round(clock.ms), round(clock.pauses[-1])) == (90, 10)


def test_a_path_that_opens_again_within_the_span_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    found = looked(monkeypatch, clock, tool=Path(clock, open_until=0, open_again=(70, 90)))
    assert found.status is ContainmentStatus.EFFECTIVE
    assert found.effective_at is not None
    assert milliseconds_between(found.effective_at, clock()) >= SPAN
    assert clock.ms >= 90 + SPAN


def test_every_path_must_last_and_an_open_one_is_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    found = looked(monkeypatch, clock, tool=Path(clock, open_until=0), agent=Path(clock, open_until=1000))
    assert found.status is ContainmentStatus.EFFECTIVE
    assert clock.ms >= 1000 + SPAN
    assert clock.pauses[:5] == [40, 80, 160, 200, 200]
    assert clock.pauses[-3:] == [CONFIRM] * 3


def test_one_that_stays_open_is_not_effective_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    found = looked(monkeypatch, clock, deadline=2, tool=Path(clock, open_until=1e9))
    assert found.status is not ContainmentStatus.EFFECTIVE
    assert found.effective_at is None
    assert 2000 < clock.ms <= 2000 + LONGEST


def test_a_far_side_whose_clock_stands_still_is_not_looked_at_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, still = Clock(), Clock()
    path = Path(clock, open_until=0)
    monkeypatch.setattr(Path, "at", lambda _: still())
    assert looked(monkeypatch, clock, tool=path).status is ContainmentStatus.EFFECTIVE
    assert SPAN <= clock.ms < SPAN + 2 * CONFIRM


@pytest.mark.parametrize(("opens", "status"), [(1e9, True), (2040, False)])
def test_refused_just_before_the_deadline_it_must_last_all_the_same(
    monkeypatch: pytest.MonkeyPatch, opens: float, status: bool
) -> None:
    clock = Clock()
    shut = Path(clock, open_until=1800, open_again=(opens, 1e9))
    found = looked(monkeypatch, clock, deadline=2, span=200, tool=shut)
    assert clock.ms > 2000
    assert (found.status is ContainmentStatus.EFFECTIVE) is status
