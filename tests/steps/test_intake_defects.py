"""What cannot be read is told of: once for each source and cause, once a day while it goes on, and wherever one looks."""

import json
import os
import re
import subprocess
import sys

import pytest

from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from tasks.intake.defects import defect_counts, watch_defects
from tasks.intake.outbox import defects
from tasks.intake.understanding import Intake
from tasks.ledger import KEEPER, clock
from tests.flows.people import until
from tests.steps.desk import Desk
from tests.steps.doorstep import ROOT, a_door
from tests.steps.test_cli_check import findings
from tests.steps.test_cli_signal_replay import CORRECTED, SOURCES, arrive, take_in
from tests.steps.test_telling import Receiver, receiver

__all__ = ["receiver"]

DAY = 86_400
CHANGED = {"type": "hostile words", "id": 1, "app": "helper"}


@pytest.fixture
def told(desk: Desk, receiver: Receiver) -> Receiver:
    """The sender changed its shape: two deliveries that no mapping knows, and one that is no JSON."""
    desk.write("sources.toml", SOURCES)
    desk.installation.activate_if_fresh()
    arrive(desk, CHANGED, CHANGED, b"{")
    assert take_in(desk) == 3
    return receiver


def look(desk: Desk, at: Instant) -> None:
    watch_defects(desk.installation, desk.installation.pen(KEEPER), at)


def written(desk: Desk) -> list[tuple[str, int]]:
    found = desk.installation.store.entries(types=(EntryType.DEFECTS_FOUND,))
    return [(str(one.body["because"])[:20], int(str(one.body["deliveries"]))) for one in found]


NO_MAPPING, NO_JSON = "no mapping of the so", "expected a body in t"


def test_people_hear_once_of_each_cause_and_again_a_day_later_if_it_goes_on(desk: Desk, told: Receiver) -> None:
    now = clock()
    for seconds in (0, 20, 3600):
        look(desk, later(now, seconds))
    assert sorted(written(desk)) == [(NO_JSON, 1), (NO_MAPPING, 2)]
    assert {one["title"] for one in told.heard} == {"quell: what watch sends cannot be read"}
    (message,) = [one["message"] for one in told.heard if NO_MAPPING in one["message"]]
    assert message.startswith("2 deliveries of the source watch could not be read")
    assert "quell signal replay" in message
    assert "hostile" not in str(told.heard)
    look(desk, later(now, 2 * DAY))
    assert len(told.heard) == 2, "nothing new came"
    arrive(desk, CHANGED)
    take_in(desk)
    look(desk, later(now, 3600))
    assert len(told.heard) == 2, "not more than once a day"
    look(desk, later(now, 2 * DAY))
    assert sorted(written(desk)) == [(NO_JSON, 1), (NO_MAPPING, 1), (NO_MAPPING, 2)], "only what is new is counted"
    assert desk.installation.store.check() == []


def test_a_channel_that_fails_is_tried_again(desk: Desk, told: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.telling.BETWEEN_TRIES_SECONDS", 0)
    told.answer = 500
    look(desk, clock())
    assert desk.installation.store.entries(types=(EntryType.PEOPLE_TOLD,)) == []
    told.answer = 200
    look(desk, clock())
    look(desk, clock())
    assert len(desk.installation.store.entries(types=(EntryType.PEOPLE_TOLD,))) == 2
    assert len(written(desk)) == 2


def test_parts_of_deliveries_that_cannot_be_read_have_one_cause(desk: Desk, receiver: Receiver) -> None:
    desk.write("sources.toml", SOURCES.replace('when = "body.kind"\n', 'each = "body.all"\n').replace("body.", "item.")
               .replace("item.all", "body.all"))  # fmt: skip
    desk.installation.activate_if_fresh()
    for bad in (1, 2, 3):
        arrive(desk, {"all": [{"kind": "a", "id": bad}, *[{"id": n} for n in range(bad)]]})
    take_in(desk)
    look(desk, clock())
    (entry,) = desk.installation.store.entries(types=(EntryType.DEFECTS_FOUND,))
    assert entry.body == {
        "source": "watch", "because": "expected alert.kind to be there, found nothing.", "deliveries": 3,
    }  # fmt: skip
    assert len(receiver.heard) == 1


def test_check_inbox_and_metrics_count_them_until_they_are_read(desk: Desk, told: Receiver) -> None:
    assert told
    arrive(desk, *[CHANGED | {"id": n} for n in range(30)])
    take_in(desk)
    assert defect_counts(desk.installation) == {"watch": 33}
    found = findings(desk, "what watch sends", "--files")
    assert [re.match(r"\d+", one).group() for one in found] == ["1", "32"]  # type: ignore[union-attr]
    shown = desk("inbox")
    assert "33 deliveries that could not be read (the newest 20)" in " ".join(shown.out.split())
    asked = desk("inbox", "--json").json
    assert (len(asked["defects"]), asked["defects_in_all"]) == (20, 33)
    with a_door(desk.home) as door:
        assert 'quell_intake_defects{source="watch"} 33' in door.ask("GET", "/metrics").body.decode().splitlines()
    desk.write("sources.toml", CORRECTED)
    assert desk("policy", "activate", "--as", "ana", "--key", str(desk.keys["ana"])).code == 0
    assert desk("signal", "replay", "--json").json["readable"] == 32
    take_in(desk)
    assert defect_counts(desk.installation) == {"watch": 1}
    assert json.dumps(findings(desk, "what watch sends", "--files")).count("could not be read") == 1


def test_a_bad_item_keeps_back_no_good_one_of_its_delivery_and_stays_visible(desk: Desk) -> None:
    desk.write(
        "sources.toml", '[sources.prom]\nsender = "alertmanager"\nsecrets = [{id = "1", secret = "file:secrets/p"}]\n'
    )
    desk.installation.activate_if_fresh()
    alert = {"status": "firing", "startsAt": "2026-11-21T01:58:00Z", "fingerprint": "a"}
    named = {"alertname": "退款异常", "ai_system": "helper", "ai_archetype": "prompt-injection"}
    alerts = [{**alert, "labels": named}, {**alert, "labels": {"alertname": ["no", "name"]}}]
    arrive(desk, {"groupKey": "g", "alerts": alerts}, source="prom")
    intake = Intake(desk.installation)
    _, said = intake.take_in()
    intake.close()
    assert [one.verdict for one in said] == ["opened"]
    (defect,) = defects(desk.installation)
    assert defect.because.startswith("1 of 2 items could not be read, the others were.")
    assert "1 of 2 items" in desk("inbox").out


def test_the_keeper_does_it(desk: Desk, told: Receiver) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-m", "flows.doors.cli", "keep"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd=ROOT, env=os.environ | {"QUELL_HOME": str(desk.home), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        until(lambda: len(told.heard) == 2, 60, what="people heard of both causes")
    finally:
        keeper.terminate()
        keeper.wait(30)
    assert len(written(desk)) == 2
