"""Runs the list: one installation that is up, each attack once, the far side's own books the same before and after."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.domain.case import Ending
from runbooks.domain.ledger import EntryType
from tests.attacks import on_acts, on_configuration, on_decisions, on_engine
from tests.attacks.ground import Ground, standing, until
from tests.attacks.table import ATTACKS, SEEN, Attack, shown

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]
ALL = (on_decisions, on_configuration, on_acts, on_engine)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    home = tmp_path_factory.mktemp("attacks") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUELL_HOME", str(home))
        with standing(home) as found:
            yield found
    print("\n" + shown())
    if file := os.environ.get("ATTACK_TABLE"):
        Path(file).write_text(shown() + "\n", encoding="utf-8")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.perform.__name__)
def test_attack_fails(ground: Ground, attack: Attack) -> None:
    before = ground.far()
    SEEN.append((attack.name, attack.expected, "NOT AS EXPECTED"))
    seen = attack.perform(ground)
    assert ground.far() == before, "the far side's own books show an effect"
    SEEN[-1] = (attack.name, attack.expected, " ".join(seen.split()).replace("|", "/")[:400])


def test_the_response_that_was_attacked_ends_properly(ground: Ground) -> None:
    incident = ground.waiting
    from flows.doors.drill import answer_what_waits

    class Quiet:
        home = ground.home

        def say(self, text: str) -> None:
            del text

    def closed() -> bool:
        answer_what_waits(Quiet(), ground.installation, incident)  # type: ignore[arg-type]
        return bool(ground.entries(incident, EntryType.INCIDENT_CLOSED))

    until(closed, "it is closed", 240)
    ending = ground.entries(incident, EntryType.INCIDENT_CLOSED)[0].body["ending"]
    SEEN.append(("(The response that was attacked throughout)", "ends as if nobody had tried", f"ending: {ending}"))
    assert ending in (Ending.RECOVERED, Ending.CONTAINED)
    assert ground.installation.store.check() == []
