"""Every page's own scenarios: the labels select it, the factors give the level, and the verbs are what is planned."""

import pytest

from runbooks.domain.incident import Archetype
from runbooks.domain.planning import make_plan
from runbooks.domain.runbook import Runbook, Scenario, Selects, select
from runbooks.domain.severity import judge_severity
from runbooks.loader import load_book
from tests.domain.cast import NOW, SEAL, a_configuration, an_incident

BOOK = load_book()
SCENARIOS = [
    pytest.param(page, scenario, id=f"{archetype}-{scenario.name}")
    for archetype, page in BOOK.items()
    for scenario in page.scenarios
]


def test_the_book_is_not_empty() -> None:
    assert SCENARIOS
    assert Archetype.UNCLASSIFIED in BOOK


@pytest.mark.parametrize(("page", "scenario"), SCENARIOS)
def test_scenario(page: Runbook, scenario: Scenario) -> None:
    near_miss = scenario.selects is Selects.NEAR_MISS
    assert select(scenario.labels, BOOK) == (page.archetype, near_miss)
    judged = judge_severity(scenario.factors, frozenset((*scenario.floors, *page.severity_floors)))
    assert judged.severity == scenario.severity, judged.reasons
    incident = an_incident(archetype=page.archetype, severity=judged, near_miss=near_miss)
    plan = make_plan(incident, page, a_configuration(), manifest=SEAL, at=NOW)
    assert plan.refused == ()
    # By class first, as planning does; inside a class in the order of the page.
    assert tuple(dict.fromkeys(action.verb for action in plan.actions)) == scenario.verbs


@pytest.mark.parametrize("archetype", BOOK)
def test_a_page_shows_both_what_it_is_for_and_what_it_is_not(archetype: Archetype) -> None:
    page = BOOK[archetype]
    kinds = {scenario.selects for scenario in page.scenarios}
    assert Selects.THIS in kinds
    assert Selects.NEAR_MISS in kinds or not page.near_misses


def test_no_label_selects_two_pages() -> None:
    labels = [label for page in BOOK.values() for label in (*page.signals, *page.near_misses)]
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize("archetype", BOOK)
def test_what_comes_back_was_taken_away(archetype: Archetype) -> None:
    page = BOOK[archetype]
    taken = {step.verb for step in page.containment}
    assert set(page.recovery.re_enable) | set(page.recovery.lift_for_trials) <= taken
