"""Giving back: not what another incident keeps away too; what fails stays on record; then somebody looks whether it works."""

import json

import pytest

from runbooks.domain.approval import Purpose
from runbooks.domain.case import Ending, action_rows
from runbooks.domain.containment import ContainmentStatus
from runbooks.domain.grant import Claim
from runbooks.domain.ledger import EntryType
from tasks import giving_back
from tasks.approval import ask, plan_of, requests_of, settle, verdict_on
from tasks.authority import LedgerAuthority
from tasks.break_glass import end_overdue
from tasks.connectors._signals import Act, NotDoneError
from tasks.connectors.memory import Memory
from tasks.containment import contain, judge
from tasks.giving_back import give_back
from tasks.ledger import KEEPER, flow_actor
from tasks.outcome import ending_of
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, at, judged_again, policy_plus, smash, status, written

TOOL = "refund-tool"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_back, "MARGIN_SECONDS", 0)


def contained(desk: Desk) -> str:
    incident = desk.declare()
    desk.respond(incident)
    desk.contain(incident)
    return incident


def asked_back(desk: Desk, incident: str, purpose: Purpose = Purpose.RE_ENABLE) -> None:
    """People consent to giving the tool back."""
    place, plan = desk.installation, plan_of(desk.installation, incident)
    ask(
        place,
        place.pen(flow_actor("test")),
        place.incident(incident),
        plan,
        plan.action(TOOL),
        purpose,
        ("ana", "cleo"),
    )
    approve_all(desk, incident, "dora", "cleo")


def approve_all(desk: Desk, incident: str, *people: str) -> None:
    """These people approve what waits, and that it is settled is written, as the gate does."""
    place = desk.installation
    for request in requests_of(place, incident):
        for person in people:
            if verdict_on(place, request).still_needed:
                desk.approve(request.id, person)
        settle(place.pen(flow_actor("test")), request, verdict_on(place, request))


def close(desk: Desk, incident: str) -> None:
    desk.installation.pen(flow_actor("test")).write(
        EntryType.INCIDENT_CLOSED, f"closed/{incident}", incident=incident, body={"ending": ending_of(incident)}
    )


def row_of(desk: Desk, incident: str) -> tuple[ContainmentStatus, str]:
    rows = action_rows(plan_of(desk.installation, incident), desk.installation.store.entries(incident))
    return next((row.status, row.undo_note) for row in rows if row.action == TOOL)


def needed(desk: Desk, incident: str) -> str:
    rows = desk("incidents", "--json").json["incidents"]
    return str(next(row["needed"] for row in rows if row["incident"] == incident))


def test_what_another_incident_keeps_away_too_comes_back_only_after_it(desk: Desk) -> None:
    older, newer = contained(desk), contained(desk)
    assert [e["noop"] for e in written(desk, newer, EntryType.EFFECT_APPLIED)] == [True, True]
    for incident in (older, newer):
        asked_back(desk, incident)
    assert give_back.fn(older, TOOL) == "failed"
    assert status(desk) == "off"
    assert f"found that {newer} does" in str(written(desk, older, EntryType.PERSON_NEEDED)[-1]["because"])
    assert not [e for e in written(desk, older, EntryType.EFFECT_CLAIMED) if str(e["effect"]).startswith("undo/")]
    close(desk, older)
    assert f"quell undo {older}" in needed(desk, older)

    assert give_back.fn(newer, TOOL) == "undone"
    assert status(desk) == "off", "the newer one gives back what it found: off"
    close(desk, newer)
    assert f"because {older} keeps it away too" in needed(desk, newer)
    assert give_back.fn(older, TOOL) == "undone"
    assert status(desk) == "on"
    assert f"quell undo {older}" not in needed(desk, older)
    assert judged_again(desk, older) == judged_again(desk, newer) == []


def test_a_closed_incident_keeps_away_what_it_kept(desk: Desk) -> None:
    older, newer = contained(desk), contained(desk)
    close(desk, newer)
    for purpose in (Purpose.RE_ENABLE, Purpose.UNDO):
        asked_back(desk, older, purpose)
        assert give_back.fn(older, TOOL, purpose) == "failed"
    assert status(desk) == "off"


def test_what_came_back_outside_before_another_incident_began_stops_nobody(desk: Desk) -> None:
    old = contained(desk)
    close(desk, old)
    turn(desk, "on")
    new = contained(desk)
    asked_back(desk, new)
    assert give_back.fn(new, TOOL) == "undone"
    assert status(desk) == "on"


def turn(desk: Desk, word: str) -> None:
    """Somebody sets the flag by hand."""
    world = desk.world
    world["targets"]["refunds"]["status"] = word
    (desk.home / "world.json").write_text(json.dumps(world))


def test_the_end_of_a_break_glass_gives_nothing_back_that_another_incident_keeps_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy_plus(desk, GLASS)
    alone = desk.declare()
    smash(desk, alone)
    contained(desk)
    at(monkeypatch, desk, 2)
    end_overdue(desk.installation, desk.installation.pen(KEEPER))
    assert status(desk) == "off"
    assert [one["outcome"] for one in written(desk, alone, EntryType.BREAK_GLASS_ENDED)] == ["failed"]


class CutError(BaseException):
    """The worker was killed here."""


def cut(authority: LedgerAuthority, claim: Claim) -> bool:
    raise CutError(authority, claim)


def twins(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two incidents that acted on one tool at once: the second took its photograph before the first one's act."""
    first, second = desk.declare(), desk.declare()
    for incident in (first, second):
        desk.respond(incident)
        approve_all(desk, incident, "ana", "cleo")
    with monkeypatch.context() as patch:
        patch.setattr(LedgerAuthority, "still_held", cut)
        with pytest.raises(CutError):
            contain.fn(second, TOOL)
    assert [contain.fn(incident, TOOL) for incident in (first, second)] == ["effective", "effective"]
    assert len(desk.world["effects"]) == 1
    return first, second


def test_two_in_the_same_instant_do_not_wait_for_each_other_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both photographed it on. The first is refused while the other is open, and given back once it is closed."""
    first, second = twins(desk, monkeypatch)
    for incident in (first, second):
        asked_back(desk, incident)
        assert give_back.fn(incident, TOOL) == "failed", "the other one is open"
    close(desk, second)
    assert give_back.fn(first, TOOL) == "failed", "the response does not; people who are asked for it do"
    asked_back(desk, first, Purpose.UNDO)
    assert give_back.fn(first, TOOL, Purpose.UNDO) == "undone"
    assert status(desk) == "on"
    assert f"works again, by {first}" in needed(desk, second)
    assert give_back.fn(second, TOOL) == "undone"
    assert needed(desk, second) == "nothing"


PROBE = """
[systems.helper.probes.prompt]
connector = "side"
settings = {target = "prompt", refused_when = {version = "1"}}
"""


def recovering(desk: Desk) -> str:
    """Everything is effective, the fix holds, and people consented to giving the tool back."""
    desk.change("systems.toml", 'undo = "the label moves back"', 'undo = "the label moves back"\nprobes = ["prompt"]')
    desk.write("systems.toml", (desk.home / "config" / "systems.toml").read_text() + PROBE)
    incident = contained(desk)
    judge.fn(incident)
    desk.installation.pen(flow_actor("test")).write(
        EntryType.RECOVERY_JUDGED, f"recovery/{incident}", incident=incident,
        body={"passed": True, "because": "it holds"},
    )  # fmt: skip
    asked_back(desk, incident)
    return incident


def test_what_cannot_be_given_back_is_no_recovery_and_stays_called_for(desk: Desk) -> None:
    incident = recovering(desk)
    world = desk.home / "world.json"
    kept = world.read_text()
    world.unlink()
    world.mkdir()
    assert give_back.fn(incident, TOOL) == "failed"
    world.rmdir()
    world.write_text(kept)
    assert ending_of(incident) is Ending.CONTAINED
    close(desk, incident)
    assert "it stays away: see why, then quell undo" in needed(desk, incident)
    assert give_back.fn(incident, TOOL) == "undone"
    assert ending_of(incident) is Ending.RECOVERED
    assert needed(desk, incident) == "nothing"


def test_what_stands_is_not_shown_as_failed_because_giving_it_back_failed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = recovering(desk)

    def refuse(memory: Memory, act: Act) -> None:
        raise NotDoneError(f"{memory.place.name} does not put {act.action.target} back")

    monkeypatch.setattr(Memory, "_restore", refuse)
    assert give_back.fn(incident, TOOL) == "failed"
    failed = written(desk, incident, EntryType.EFFECT_FAILED)
    assert str(failed[0]["effect"]).startswith("undo/")
    now, note = row_of(desk, incident)
    assert now is ContainmentStatus.EFFECTIVE
    assert note.startswith("not yet: ")
    assert ending_of(incident) is Ending.CONTAINED


def test_after_giving_back_somebody_looks_whether_it_works(desk: Desk) -> None:
    incident = contained(desk)
    asked_back(desk, incident)
    assert give_back.fn(incident, TOOL) == "undone"
    assert row_of(desk, incident) == (ContainmentStatus.UNDONE, "it works again on refund")
    probes = len(written(desk, incident, EntryType.PROBES_JUDGED))
    assert give_back.fn(incident, TOOL) == "undone"
    assert len(written(desk, incident, EntryType.PROBES_JUDGED)) == probes, "once"
    assert judged_again(desk, incident) == []
