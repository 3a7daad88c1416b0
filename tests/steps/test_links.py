"""Where everything is: on a page of the run, in `quell show`, in what people are told. Addresses of quell's own only."""

import re

import pytest

import tasks.pages
import tasks.review
from flows.doors.door.address import leave_word
from runbooks.domain.ledger import EntryType
from tasks.ledger import KEEPER, flow_actor
from tasks.links import linked
from tasks.pages import leave_brief, leave_links
from tasks.review import schedule_now
from tasks.settings import interface_of
from tasks.telling import tell_people
from tests.steps.desk import Desk
from tests.steps.glass import policy_plus
from tests.steps.test_telling import Receiver

FIRST, SECOND, REVIEW = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))
PREFECT = "http://prefect.example:4200"


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What was left on the run: by kind, its text."""
    left: dict[str, str] = {}

    def leave(key: str, text: str, *_: object, **__: object) -> bool:
        left[key.partition("-inc-")[0]] = text
        return True

    monkeypatch.setattr(tasks.pages, "leave_page", leave)
    return left


@pytest.fixture
def incident(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> str:
    """Begun twice; its review is scheduled."""
    found = desk.declare("--what", "look at http://evil.example [here](http://evil.example)")
    monkeypatch.setenv("PREFECT_API_URL", f"{PREFECT}/api")
    monkeypatch.setattr(tasks.review, "start_review_run", lambda *_: REVIEW)
    place = desk.installation
    for run in (FIRST, SECOND):
        place.pen(flow_actor("prompt-injection"), run).write(
            EntryType.RUN_STARTED, f"started/{run}", incident=found, body={}
        )
    schedule_now(place, place.pen(flow_actor("test")), found)
    return found


def test_one_page_links_every_run_and_names_every_place(desk: Desk, incident: str, pages: dict[str, str]) -> None:
    door = leave_word(desk.home, "127.0.0.1", 4321)
    leave_links(incident)
    leave_brief(incident)
    due = desk("show", incident, "--json").json["review"]["scheduled_for"]
    for page in (pages["links"], pages["brief"]):
        addresses = re.findall(r"\]\((.*?)\)", page)
        assert addresses == [f"{PREFECT}/v2/runs/flow-run/{run}" for run in (FIRST, SECOND, REVIEW)]
        assert f"[{due[:10]} {due[11:16]} UTC]" in page
        for place in ("vault", "ledger.db", f"invitations/{incident}.ics"):
            assert f"{desk.home}/{place}" in page or f"sqlite:///{desk.home}/{place}" in page
        assert door in page
        assert "evil" not in page, "hostile text stays out"
    assert f"quell show {incident}" in pages["links"]


def test_show_has_the_same_links(desk: Desk, incident: str) -> None:
    newer = f"{PREFECT}/v2/runs/flow-run"
    assert [one["address"] for one in desk("show", incident, "--json").json["links"]] == [
        f"{newer}/{run}" for run in (FIRST, SECOND, REVIEW)
    ]
    assert f"{newer}/{SECOND}" in desk("show", incident).out


def test_what_people_are_told_links_the_newest_run(desk: Desk, incident: str) -> None:
    chat = Receiver()
    try:
        (desk.home / "secrets" / "chat").write_text(chat.address)
        policy_plus(desk, '\n[channels]\nchat = "file:secrets/chat"\n')
        place = desk.installation
        place.activate(place.proposed(), KEEPER, {"proof": "test"})
        for key, about in (("one", incident), ("two", None)):
            tell_people(place, place.pen(KEEPER), key, incident=about, channels=None, title="t", text="It waits.")
        assert [message["message"] for message in chat.heard] == [
            f"It waits.\nIts run: {PREFECT}/v2/runs/flow-run/{SECOND}", "It waits.",
        ]  # fmt: skip
    finally:
        chat.close()


def test_without_a_server_there_is_nothing_to_link(desk: Desk, incident: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    assert linked(desk.installation, incident) == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"PREFECT_API_URL": "http://a:1/api"}, "http://a:1/v2"),
        ({"PREFECT_API_URL": "http://a:1/api/"}, "http://a:1/v2"),
        (
            {"PREFECT_API_URL": "http://a:1/api", "PREFECT_UI_URL": "https://prefect.example/v2/"},
            "https://prefect.example/v2",
        ),
    ],
)
def test_where_people_see_prefect(environment: dict[str, str], expected: str) -> None:
    assert interface_of(environment) == expected
