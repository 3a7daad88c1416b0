"""The keeper's rounds go on whatever one of its duties waits for."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from flows.doors import keeper
from flows.doors.looking import Look
from tests.contracts.bundle.ground import settings
from tests.steps.desk import Desk

WAITING = ("AnchorDuty", "LockDuty")
"""Duties that ask somebody outside, who may never answer."""


def _kept(desk: Desk, monkeypatch: pytest.MonkeyPatch, tidy: Callable[[], None]) -> int:
    """A keeper that asks the engine nothing, until it is asked to stop; `tidy` is called once in each round."""
    place = desk.installation
    place.activate_if_fresh()
    settings(place, keeper_interval_seconds=1)
    monkeypatch.setattr(keeper, "Leftovers", lambda _: SimpleNamespace(tidy=tidy))
    monkeypatch.setattr(keeper, "take_up", lambda _: None)
    monkeypatch.setattr(keeper, "keep_the_way_clear", lambda _: None)
    before = [(one, signal.getsignal(one)) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        return keeper.run_keeper(desk.home)
    finally:
        for one, handler in before:
            signal.signal(one, handler)


@pytest.mark.parametrize("duty", WAITING)
def test_rounds_go_on_while_a_place_outside_does_not_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, duty: str
) -> None:
    rounds, asked, released, late = list[bool](), threading.Event(), threading.Event(), list[bool]()

    def keep() -> None:
        asked.set()
        late.append(not released.wait(20))

    def tidy() -> None:
        rounds.append(asked.is_set())
        if rounds[-1]:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(keeper, duty, lambda _: SimpleNamespace(keep=keep))
    try:
        assert _kept(desk, monkeypatch, tidy) == 0
        assert rounds[-1], "a round came after it was asked"
        assert late == [], "and did not wait until it was given up"
    finally:
        released.set()


def test_a_round_waits_for_those_who_begin_but_never_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    waited, rounds = list[float](), list[int]()

    def wait(until: float) -> None:
        waited.append(until - time.monotonic())

    def tidy() -> None:
        rounds.append(len(waited))
        if len(rounds) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(keeper, "Calm", lambda _: SimpleNamespace(wait=wait))
    monkeypatch.setattr(keeper, "open_incidents", lambda _: ["INC-1", "INC-2"])
    monkeypatch.setattr(Look, "of_round", lambda *_: None)
    monkeypatch.setattr(keeper, "keep", lambda *_, **__: None)
    monkeypatch.setattr(keeper, "Announcer", lambda _: SimpleNamespace(announce=lambda *_: None))
    assert _kept(desk, monkeypatch, tidy) == 0
    assert rounds == [4, 8], "before the engine is asked which runs wait, before each incident, and before the rest"
    assert max(waited) <= keeper.COURTESY_SECONDS
