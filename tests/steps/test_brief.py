"""Who reads what happens next, on the run form or in the brief, reads what is so: what a person starts waits for people."""

from pathlib import Path

import pytest
import yaml

import tasks.pages
from flows._form import Start
from runbooks.domain.containment import UNDO_IMPOSSIBLE
from runbooks.domain.incident import Archetype, Origin, Report
from runbooks.domain.instants import later
from runbooks.domain.runbook import Runbook
from tasks.containment import contain, plan_containment
from tasks.evidence import seal_evidence
from tasks.incident import open_incident
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, clock, door_actor
from tasks.outcome import acts_to_do_at_once
from tasks.pages import leave_brief
from tests.steps.desk import Desk
from tests.steps.glass import at
from tests.steps.intake_ground import a_configuration

ROOT = Path(__file__).parents[2]
FIRST_YES = "**Nothing is taken away before people say yes:**"
UNASKED = "a monitor's signed signal opened this, so it is done without asking: "


@pytest.fixture
def place(desk: Desk) -> Installation:
    """The monitor's signals may begin one act of the two."""
    found = desk.installation
    found.activate(a_configuration(found), INSTALLATION, {"proof": "a test's own configuration"})
    return found


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was left on the run, the newest last."""
    said: list[str] = []

    def leave(_: str, text: str, *__: object, **___: object) -> bool:
        said.append(text)
        return True

    monkeypatch.setattr(tasks.pages, "leave_page", leave)
    return said


def of_a_signal(place: Installation, *, fresh: bool = True, **changes: object) -> str:
    """An incident that the monitor's signal opened."""
    report = Report(system="helper", what_happened="it runs", reporter="source monitor", reporter_proven=True,
                    lead="ana", noticed_at=clock()).model_copy(update=changes)  # fmt: skip
    origin = Origin(source="monitor", fresh=fresh, delivery="DLV-" + "0" * 26, received_at=later(place.now(), -1))
    return open_incident(place, report, Archetype.AGENTIC_MISALIGNMENT, drill=True, opener=door_actor("test"),
                         material=b"one", origin=origin).id  # fmt: skip


def brief(left: list[str], incident: str) -> str:
    leave_brief(incident)
    return left[-1].partition("**What happens:**")[2].partition("Look at any time")[0]


def test_what_a_person_opened_waits_for_people_and_the_brief_says_so(
    desk: Desk, place: Installation, left: list[str]
) -> None:
    incident = desk.declare(archetype="agentic-misalignment")
    assert FIRST_YES in brief(left, incident), "while it is sealed"
    seal_evidence.fn(incident)
    plan_containment.fn(incident)
    assert acts_to_do_at_once(incident) == []
    assert FIRST_YES in brief(left, incident)
    assert place.active().policy.preauthorised, "though the policy allows something for a monitor's signal"


def test_what_a_monitors_signal_begins_is_named(place: Installation, left: list[str]) -> None:
    incident = of_a_signal(place)
    assert f"{UNASKED}what the policy allows for it; for the rest people are asked" in brief(left, incident)
    seal_evidence.fn(incident)
    plan_containment.fn(incident)
    contain.fn(incident, "refund-tool")
    assert f"{UNASKED}Switch off refunds; for the rest people are asked" in brief(left, incident)


def test_what_was_planned_and_did_not_begin_in_time_waits(
    desk: Desk, place: Installation, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = of_a_signal(place)
    seal_evidence.fn(incident)
    plan_containment.fn(incident)
    at(monkeypatch, desk, 11)
    assert FIRST_YES in brief(left, incident)


def test_a_signal_that_is_not_signed_begins_nothing(place: Installation, left: list[str]) -> None:
    incident = of_a_signal(place, fresh=False)
    assert FIRST_YES in brief(left, incident)
    seal_evidence.fn(incident)
    plan_containment.fn(incident)
    assert FIRST_YES in brief(left, incident)


def test_where_nothing_will_be_asked_it_says_so(desk: Desk, place: Installation, left: list[str]) -> None:
    for incident in (
        desk.declare(archetype="unclassified"), of_a_signal(place, near_miss=True), of_a_signal(place, system="stranger"),
    ):  # fmt: skip
        assert brief(left, incident).strip() == "evidence is sealed. Nothing is taken away."
        seal_evidence.fn(incident)
        plan_containment.fn(incident)
        assert brief(left, incident).strip() == "evidence is sealed. Nothing is taken away."


def test_the_run_forms_help_promises_nothing_that_a_person_cannot_start(desk: Desk) -> None:
    told = {
        one["name"]: " ".join(one["description"].split())
        for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    }
    books = {
        file.stem: Runbook.model_validate(yaml.safe_load(file.read_text()))
        for file in (ROOT / "runbooks").glob("*.yaml")
    }
    assert set(books) <= set(told)
    for name, book in books.items():
        if not book.containment:
            assert "It takes nothing away." in told[name]
            continue
        assert "at once" not in told[name]
        assert "tarted here, " in told[name]
        assert ("everything waits for people" in told[name]) or ("before they say yes" in told[name])
        if any(step.verb in UNDO_IMPOSSIBLE for step in book.containment):
            assert "you need your SSH signature, and a code does not count" in told[name]
    assert "Nothing is taken away before people say yes" in str(Start.model_json_schema()["description"])
    assert "nothing is taken away before they say yes" in " ".join(desk("declare", "--help").out.split())
