"""The keeper's rounds go on whatever one of its duties waits for."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from flows.doors import keeper
from flows.doors.looking import Look
from tasks.installation import Installation
from tests.contracts.bundle.ground import settings
from tests.steps.desk import Desk

WAITING = ("AnchorDuty", "LockDuty")
"""Duties that ask somebody outside, who may never answer."""


@pytest.mark.parametrize("duty", WAITING)
def test_rounds_go_on_while_a_place_outside_does_not_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, duty: str
) -> None:
    place = desk.installation
    place.activate_if_fresh()
    settings(place, keeper_interval_seconds=1)
    rounds, asked, released, late = list[bool](), threading.Event(), threading.Event(), list[bool]()

    class Silent:
        def __init__(self, installation: Installation) -> None:
            del installation

        def keep(self) -> None:
            asked.set()
            late.append(not released.wait(20))

    class Counting:
        def __init__(self, installation: Installation) -> None:
            del installation

        def tidy(self) -> None:
            rounds.append(asked.is_set())
            if rounds[-1]:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(keeper, duty, Silent)
    monkeypatch.setattr(keeper, "Leftovers", Counting)
    monkeypatch.setattr(keeper, "take_up", lambda _: None)
    monkeypatch.setattr(keeper, "keep_the_way_clear", lambda _: None)
    before = [(one, signal.getsignal(one)) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert keeper.run_keeper(desk.home) == 0
        assert rounds[-1], "a round came after it was asked"
        assert late == [], "and did not wait until it was given up"
    finally:
        released.set()
        for one, handler in before:
            signal.signal(one, handler)


def test_a_round_waits_for_those_who_begin_but_never_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    place = desk.installation
    place.activate_if_fresh()
    settings(place, keeper_interval_seconds=1)
    waited: list[float] = []
    rounds: list[int] = []

    class Hurried:
        def __init__(self, installation: Installation) -> None:
            del installation

        def wait(self, until: float) -> None:
            waited.append(until - time.monotonic())

    class Counting:
        def __init__(self, installation: Installation) -> None:
            del installation

        def tidy(self) -> None:
            rounds.append(len(waited))
            if len(rounds) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(keeper, "Calm", Hurried)
    monkeypatch.setattr(keeper, "open_incidents", lambda _: ["INC-1", "INC-2"])
    monkeypatch.setattr(Look, "of_round", lambda *_: None)
    monkeypatch.setattr(keeper, "keep", lambda *_, **__: None)
    monkeypatch.setattr(keeper, "Announcer", lambda _: SimpleNamespace(announce=lambda *_: None))
    monkeypatch.setattr(keeper, "Leftovers", Counting)
    monkeypatch.setattr(keeper, "take_up", lambda _: None)
    monkeypatch.setattr(keeper, "keep_the_way_clear", lambda _: None)
    before = [(one, signal.getsignal(one)) for one in (signal.SIGTERM, signal.SIGINT)]
    try:
        assert keeper.run_keeper(desk.home) == 0
    finally:
        for one, handler in before:
            signal.signal(one, handler)
    assert rounds == [4, 8], "before the engine is asked which runs wait, before each incident, and before the rest"
    assert max(waited) <= keeper.COURTESY_SECONDS
