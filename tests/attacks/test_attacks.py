"""Runs the list: one installation that is up, each attack once, the far side's own books the same before and after."""

from collections.abc import Callable, Iterator

import pytest

from runbooks.domain.case import Ending
from runbooks.domain.ledger import EntryType
from tests.attacks import on_acts, on_configuration, on_decisions, on_engine, on_record, on_runs
from tests.attacks.ground import standing, until
from tests.attacks.rows import ROW
from tests.attacks.table import ALONE, ATTACKS, QUICK, Attack, Performance

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]
ALL = (on_decisions, on_configuration, on_acts, on_engine, on_runs, on_record)
ORDER = sorted(ATTACKS, key=lambda one: (one.lane == ALONE, one.lane != QUICK))
"""The quick ones, then those whose lanes run meanwhile, then those that must be alone."""


@pytest.fixture(scope="module")
def performance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Performance]:
    home = tmp_path_factory.mktemp("attacks") / "home"
    asked = [getattr(one, "callspec", None) for one in request.session.items]
    wanted = [one.params["attack"] for one in asked if one is not None and "attack" in one.params]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUELL_HOME", str(home))
        with standing(home) as ground:
            found = Performance(ground)
            found.begin(wanted)
            yield found
            found.close()


@pytest.mark.parametrize("attack", ORDER, ids=lambda attack: attack.perform.__name__)
def test_attack_fails(performance: Performance, attack: Attack, record_property: Callable[[str, object], None]) -> None:
    try:
        assert performance.see(attack)
    finally:
        record_property(ROW, performance.row(attack.name))


def test_the_response_that_was_attacked_ends_properly(
    performance: Performance, record_property: Callable[[str, object], None]
) -> None:
    ground, incident = performance.ground, performance.ground.waiting
    from flows.doors.drill import answer_what_waits

    class Quiet:
        home = ground.home

        def say(self, text: str) -> None:
            del text

    def closed() -> bool:
        answer_what_waits(Quiet(), ground.installation, incident)  # type: ignore[arg-type]
        return bool(ground.entries(incident, EntryType.INCIDENT_CLOSED))

    until(closed, "it is closed", 240)
    ending = str(ground.entries(incident, EntryType.INCIDENT_CLOSED)[0].body["ending"])
    throughout = "(The response that was attacked throughout)"
    performance.note(throughout, "ends as if nobody had tried", f"ending: {ending}")
    record_property(ROW, performance.row(throughout))
    assert ending in (Ending.RECOVERED, Ending.CONTAINED)
    assert ground.installation.store.check() == []
