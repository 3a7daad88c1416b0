"""A slow act never holds up an urgent one that is granted meanwhile. Without a server."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from flows import _stages
from tests.flows.people import until


class Acts:
    """Stands in for the task: each act takes until it is released."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.gates = {name: threading.Event() for name in ("slow", "urgent", "late")}
        self.pool = ThreadPoolExecutor(4)

    def submit(self, incident: str, action: str) -> Future[str]:
        self.begun.append(action)
        return self.pool.submit(self._act, incident, action)

    def _act(self, incident: str, action: str) -> str:
        assert incident == "INC-AAAA"
        assert self.gates[action].wait(30)
        if action == "late":
            raise RuntimeError("ours")
        self.ended.append(action)
        return "effective"


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Acts]:
    found = Acts()
    monkeypatch.setattr(_stages, "contain", found)
    monkeypatch.setattr(_stages, "show_containment", lambda incident: found.ended.append(f"shown {incident}"))
    yield found
    for gate in found.gates.values():
        gate.set()
    found.pool.shutdown()


def test_what_is_granted_while_another_is_probed_begins_at_once(acts: Acts) -> None:
    granted = ["slow"]
    with ThreadPoolExecutor(1) as flow:
        going = flow.submit(_stages._contain_and_show, "INC-AAAA", lambda: granted)
        until(lambda: acts.begun == ["slow"], 30, what="the slow one began")
        granted.append("urgent")
        acts.gates["urgent"].set()
        until(lambda: acts.ended == ["urgent"], 30, what="the urgent one ended")
        assert not going.done(), "the slow one is still at work"
        acts.gates["slow"].set()
        going.result(30)
    assert acts.begun == ["slow", "urgent"], "each once"
    assert acts.ended == ["urgent", "slow", "shown INC-AAAA"]


def test_a_fault_of_ours_is_raised_when_all_are_through(acts: Acts) -> None:
    for gate in acts.gates.values():
        gate.set()
    with pytest.raises(RuntimeError, match="ours"):
        _stages._contain_all("INC-AAAA", lambda: ["late", "slow"])
    assert acts.ended == ["slow"]


def test_nothing_granted_is_nothing_shown(acts: Acts) -> None:
    _stages._contain_and_show("INC-AAAA", list)
    assert acts.ended == []


def test_what_is_done_at_once_gives_way_to_others_before_it_is_shown(
    acts: Acts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_stages, "give_way", lambda incident: acts.ended.append(f"gave way {incident}"))
    monkeypatch.setattr(_stages, "acts_to_do_at_once", lambda _: ["urgent"])
    acts.gates["urgent"].set()
    _stages.contain_at_once("INC-AAAA")
    assert acts.ended == ["urgent", "gave way INC-AAAA", "shown INC-AAAA"]
    monkeypatch.setattr(_stages, "acts_to_do_at_once", lambda _: [])
    _stages.contain_at_once("INC-AAAA")
    assert len(acts.ended) == 3, "who did nothing asks people without waiting for anybody"
