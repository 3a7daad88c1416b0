"""The inbox as a page inside Prefect: made anew only when something happened, one page for ever, and no harm when away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

import tasks.engine
import tasks.inbox_page
from runbooks.domain.errors import UnreachableError
from tasks.inbox_page import AWAY_SECONDS, LOOK_SECONDS, TIME_SECONDS, InboxPage
from tests.steps.desk import Desk
from tests.steps.glass import at
from tests.steps.test_inbox import asked, ladder


class Prefect:
    """What the keeper's page says in Prefect, how often it was asked for anything, and whether it is away."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []
        self.away = False
        self.calls = 0

    def leave(self, key: str, text: str, headline: str, flow_run_id: str | None) -> bool:
        assert (key, flow_run_id) == ("inbox", None)
        self.calls += 1
        if self.away:
            raise UnreachableError("Prefect is away.", now="nothing.", next_step="start it.")
        if not self.texts or self.texts[-1] != (text, headline):
            self.texts.append((text, headline))
        return True


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    found = Prefect()
    monkeypatch.setattr(tasks.inbox_page, "leave_page", found.leave)
    return found


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds go by for the keeper."""
    now = [1000.0]

    class Time:
        @staticmethod
        def monotonic() -> float:
            return now[0]

    monkeypatch.setattr(tasks.inbox_page, "time", Time)

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_the_page_in_prefect_is_made_anew_only_when_something_happened(
    desk: Desk, prefect: Prefect, wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.installation.activate_if_fresh()
    page = InboxPage(desk.installation)
    page.keep()
    assert prefect.texts[-1][1] == "Nothing waits"
    with monkeypatch.context() as patch:
        patch.setattr(tasks.inbox_page, "look_into", lambda _: pytest.fail("nothing happened, so nobody looks"))
        wait(10 * TIME_SECONDS)
        page.keep()
    _, request = asked(desk)
    page.keep()
    text, headline = prefect.texts[-1]
    assert headline == "2 decisions needed, 0 overdue"
    assert request in text
    assert "ana, ben, cleo" in text
    assert "a ticket made it refund" not in text, "hostile text stays out"
    desk.approve(request, "ana")
    page.keep()
    assert len(prefect.texts) == 2, "not more often than every few seconds"
    wait(LOOK_SECONDS + 1)
    page.keep()
    assert len(prefect.texts) == 3
    assert "ben, cleo" in prefect.texts[-1][0]
    wait(TIME_SECONDS + 1)
    page.keep()
    assert len(prefect.texts) == 3, "time that goes by is no news"


def test_time_alone_makes_it_overdue_in_prefect_too(
    desk: Desk, prefect: Prefect, wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder(desk, '{after_minutes = 15, channels = ["pager"]}')
    asked(desk)
    page = InboxPage(desk.installation)
    page.keep()
    at(monkeypatch, desk, 21)
    wait(TIME_SECONDS + 1)
    page.keep()
    text, headline = prefect.texts[-1]
    assert headline == "2 decisions needed, 2 overdue"
    assert "### Overdue: nobody answered in time" in text


def test_prefect_away_costs_one_question_now_and_then_and_loses_nothing(
    desk: Desk, prefect: Prefect, wait: Callable[[float], None]
) -> None:
    asked(desk)
    prefect.away = True
    page = InboxPage(desk.installation)
    with pytest.raises(UnreachableError):  # which the keeper's round survives
        page.keep()
    for _ in range(5):
        wait(2)
        page.keep()
    assert prefect.calls == 1
    prefect.away = False
    wait(AWAY_SECONDS)
    page.keep()
    assert prefect.texts[-1][1] == "2 decisions needed, 0 overdue"


class Artifacts:
    """The calls of Prefect's API about artifacts, as a server keeps them."""

    def __init__(self) -> None:
        self.kept: dict[UUID, Any] = {}

    def read_artifacts(self, *, artifact_filter: Any, sort: object, limit: int) -> list[Any]:
        del sort
        assert artifact_filter.flow_run_id is None
        return [one for one in self.kept.values() if one.key in artifact_filter.key.any_][:limit]

    def create_artifact(self, artifact: Any) -> Any:
        new = SimpleNamespace(
            id=uuid4(), key=artifact.key, data=artifact.data, description=artifact.description, run=artifact.flow_run_id
        )
        self.kept[new.id] = new
        return new

    def update_artifact(self, artifact_id: UUID, artifact: Any) -> None:
        self.kept[artifact_id].data, self.kept[artifact_id].description = artifact.data, artifact.description


def test_it_is_one_page_of_no_run_and_another_keeper_goes_on_with_it(
    desk: Desk, wait: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts()

    @contextmanager
    def engine() -> Iterator[Artifacts]:
        yield artifacts

    monkeypatch.setattr(tasks.engine, "engine", engine)
    monkeypatch.setattr(tasks.engine, "_left", {})
    first = InboxPage(desk.installation)
    first.keep()
    (page,) = artifacts.kept.values()
    assert (page.key, page.run, page.description) == ("inbox", None, "Nothing waits")
    asked(desk)
    wait(LOOK_SECONDS + 1)
    first.keep()
    assert page.description == "2 decisions needed, 0 overdue"
    monkeypatch.setattr(tasks.engine, "_left", {})  # another process
    asked(desk)
    InboxPage(desk.installation).keep()
    assert list(artifacts.kept.values()) == [page]
    assert page.description == "4 decisions needed, 0 overdue"
