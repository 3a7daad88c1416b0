"""First acts a few at a time: who has a turn, who waits, for how long, and who sees it."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tasks import turns
from tasks.turns import Turn
from tests.flows.people import until

HOLD = "import sys, time; from pathlib import Path; from tasks.turns import Turn; t = Turn(Path(sys.argv[1])); t.take(); print(1, flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def _two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURNS", 2)


def _all_taken(home: Path) -> list[Turn]:
    held = [Turn(home), Turn(home)]
    for turn in held:
        turn.take()
    return held


def _waiting(home: Path) -> tuple[threading.Thread, Turn]:
    turn = Turn(home)
    thread = threading.Thread(target=turn.take)
    thread.start()
    return thread, turn


def test_a_turn_that_is_free_is_taken_at_once_and_another_one_is_waited_for(tmp_path: Path) -> None:
    first, second = Turn(tmp_path), Turn(tmp_path)
    first.take()
    second.take()
    assert not first.somebody_waits()
    thread, third = _waiting(tmp_path)
    until(first.somebody_waits, 5, what="it is seen that somebody waits")
    assert thread.is_alive()
    first.give_back()
    first.give_back()
    thread.join(5)
    assert not thread.is_alive()
    assert not second.somebody_waits()
    _, fourth = _waiting(tmp_path)
    until(second.somebody_waits, 5, what="the third has the turn that the first one gave back")
    for turn in (second, third, fourth):
        turn.give_back()


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.2)
    held = _all_taken(tmp_path)
    began = time.monotonic()
    late = Turn(tmp_path)
    late.take()
    assert 0.2 <= time.monotonic() - began < 2
    late.give_back()
    assert not late.somebody_waits()
    for turn in held:
        turn.give_back()


def test_who_takes_long_loses_the_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONGEST_SECONDS", 0.2)
    _all_taken(tmp_path)
    thread, _ = _waiting(tmp_path)
    thread.join(5)
    assert not thread.is_alive(), "nobody gave anything back"


def test_a_process_that_is_killed_gives_its_turn_back(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        mine = Turn(tmp_path)
        mine.take()
        thread, _ = _waiting(tmp_path)
        until(mine.somebody_waits, 5, what="both turns are taken")
        other.kill()
        thread.join(2)
        assert not thread.is_alive()
    mine.give_back()


def test_those_who_look_do_not_take_each_other_for_waiting(tmp_path: Path) -> None:
    turn = Turn(tmp_path)
    turn.take()
    seen: list[bool] = []

    def look() -> None:
        other = Turn(tmp_path)
        seen.extend(other.somebody_waits() for _ in range(500))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turn.give_back()
    assert len(seen) == 2000
    assert not any(seen)


def test_where_no_turn_can_be_kept_nobody_waits(tmp_path: Path) -> None:
    (tmp_path / "turns").write_text("no folder")
    turn = Turn(tmp_path)
    began = time.monotonic()
    turn.take()
    assert time.monotonic() - began < 1
    assert not turn.somebody_waits()
    turn.give_back()
