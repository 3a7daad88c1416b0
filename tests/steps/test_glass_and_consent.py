"""What one person did alone uses up nobody's consent, and what people consented to stays: on a real ledger, no engine."""

from typing import Any

import pytest

from runbooks.domain.approval import Purpose
from runbooks.domain.incident import Archetype, Origin, Report
from runbooks.domain.ledger import EntryType
from tasks.approval import requests_of
from tasks.break_glass import end_overdue
from tasks.containment import contain
from tasks.incident import open_incident
from tasks.ledger import KEEPER, clock, door_actor
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, at, judged_again, policy_plus, smash, status, written

MONITOR = """
[sources.monitor]
sender = "standard-webhooks"
secrets = [{id = "one", secret = "env:MONITOR"}]
"""


def over(desk: Desk, monkeypatch: pytest.MonkeyPatch, incident: str) -> list[object]:
    """Its time is over, and the keeper looks; what became of each breaking."""
    at(monkeypatch, desk, 2)
    end_overdue(desk.installation, desk.installation.pen(KEEPER))
    return [one["outcome"] for one in written(desk, incident, EntryType.BREAK_GLASS_ENDED)]


def approve(desk: Desk, incident: str, *people: str, purpose: Purpose = Purpose.CONTAIN) -> None:
    for request in requests_of(desk.installation, incident):
        if (request.step, request.purpose) == ("refund-tool", purpose):
            for person in people or ("ana", "cleo"):
                assert desk.approve(request.id, person).code == 0


def signal(desk: Desk) -> str:
    """An incident that a monitor's signed, fresh signal opened."""
    desk.installation.activate_if_fresh()
    report = Report(system="helper", what_happened="it runs", reporter="source monitor", reporter_proven=True,
                    lead="ana", noticed_at=clock())  # fmt: skip
    return open_incident(
        desk.installation, report, Archetype.AGENTIC_MISALIGNMENT, drill=True, opener=door_actor("test"),
        material=b"one", origin=Origin(source="monitor", fresh=True, delivery="DLV-" + "0" * 26, received_at=clock()),
    ).id  # fmt: skip


def broken(desk: Desk, *, signalled: bool = False) -> str:
    """An incident in which ben broke the glass."""
    policy_plus(desk, GLASS)
    incident = signal(desk) if signalled else desk.declare()
    assert smash(desk, incident).json["status"] == "effective"
    assert status(desk) == "off"
    return incident


def test_consent_after_it_was_given_back_does_it_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = broken(desk)
    desk.respond(incident)
    assert over(desk, monkeypatch, incident) == ["undone"]
    assert status(desk) == "on"
    approve(desk, incident)
    assert contain.fn(incident, "refund-tool") == "effective"
    assert status(desk) == "off"
    assert not written(desk, incident, EntryType.EFFECT_REFUSED)
    assert judged_again(desk, incident) == []


def test_the_glass_can_be_broken_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = broken(desk)
    assert over(desk, monkeypatch, incident) == ["undone"]
    assert smash(desk, incident).json["status"] == "effective"
    assert status(desk) == "off"
    assert over(desk, monkeypatch, incident) == ["undone", "undone"]
    assert status(desk) == "on"
    assert judged_again(desk, incident) == []


def test_undoing_what_people_approved_meanwhile_brings_back_what_was_before_anybody_acted(desk: Desk) -> None:
    incident = broken(desk)
    desk.respond(incident)
    approve(desk, incident)
    assert contain.fn(incident, "refund-tool") == "effective"
    desk("undo", incident, "--json")
    approve(desk, incident, "dora", "cleo", purpose=Purpose.UNDO)
    assert desk("undo", incident, "--json").code == 0
    assert status(desk) == "on", "not what ben had left"
    assert judged_again(desk, incident) == []


def test_what_stands_under_a_right_of_its_own_is_not_given_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pre-authorised, so nobody approved it: it was done all the same while the glass was broken."""
    (desk.home / "config" / "sources.toml").write_text(MONITOR)
    policy_plus(desk, """
[[preauthorised]]
id = "at-once"
archetypes = ["agentic_misalignment"]
systems = ["helper"]
verbs = ["disable_tool"]
sources = ["monitor"]
why = "it does harm every minute"
""")  # fmt: skip
    incident = broken(desk, signalled=True)
    assert contain.fn(incident, "refund-tool") == "effective"
    assert over(desk, monkeypatch, incident) == ["approved"]
    assert status(desk) == "off"


def test_people_may_end_it_early(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = broken(desk)
    assert desk("undo", incident, "--json").code == 1, "it waits for people"
    approve(desk, incident, "dora", "cleo", purpose=Purpose.UNDO)
    assert desk("undo", incident, "--json").code == 0
    assert status(desk) == "on"
    assert over(desk, monkeypatch, incident) == ["nothing"]
    assert judged_again(desk, incident) == []


def test_what_is_away_already_needs_no_glass(desk: Desk) -> None:
    incident = broken(desk)
    again = smash(desk, incident, "ben")
    assert again.code == 1
    assert "taken away already" in again.out + again.err


@pytest.mark.parametrize("in_time", [True, False])
def test_a_breaking_that_died_on_the_way_is_finished_or_loud(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, in_time: bool
) -> None:
    policy_plus(desk, GLASS)
    incident = desk.declare()

    class DiedError(BaseException):
        """As if the process were gone."""

    def dies(*_: Any) -> None:
        raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr("tasks.authority.LedgerAuthority.done", dies)
        with pytest.raises(DiedError):
            smash(desk, incident)
    assert status(desk) == "off", "it was sent, and nothing says so"
    keeper = desk.installation.pen(KEEPER)
    end_overdue(desk.installation, keeper)
    assert not written(desk, incident, EntryType.EFFECT_APPLIED), "its process lives: it may still be at it"
    monkeypatch.setattr("tasks.break_glass.is_gone", lambda _: True)
    if in_time:
        end_overdue(desk.installation, keeper)
        assert written(desk, incident, EntryType.EFFECT_APPLIED)[0]["recovered"]
        assert over(desk, monkeypatch, incident) == ["undone"]
        assert status(desk) == "on"
    else:
        assert over(desk, monkeypatch, incident) == ["unknown"]
        assert status(desk) == "off"
        assert "a person must look" in str(written(desk, incident, EntryType.PERSON_NEEDED)[-1]["because"])
