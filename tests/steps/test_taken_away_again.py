"""What comes back for the trials, what is taken away again after them, and what people hear when that does not work."""

import re

import pytest

from runbooks.domain.approval import Purpose
from runbooks.domain.case import Ending
from runbooks.domain.ledger import EntryType
from runbooks.domain.recovery import Seen, Trial, TrialKind
from tasks import giving_back, recovery
from tasks.approval import ask, plan_of, requests_of, settle, verdict_on
from tasks.connectors.memory import Memory
from tasks.containment import judge, plan_again
from tasks.giving_back import give_back
from tasks.ledger import INSTALLATION, flow_actor
from tasks.outcome import ending_of
from tasks.recovery import needed_for_trials, validate_recovery
from tests.steps.desk import Desk
from tests.steps.glass import written

CLIENT = "agent-client"
MORE = """
[[systems.helper.controls]]
name = "agent-client"
verb = "block_client"
connector = "side"
target = "token"
title = "Block the agent"
blast_radius = "the agent does nothing"
undo = "unblocked"
probes = ["identity"]

[systems.helper.probes.identity]
connector = "side"
settings = {target = "token"}

[systems.helper.probes.wording]
connector = "side"
settings = {target = "prompt", refused_when = {version = "1"}}
"""
TRIALS = """
[systems.helper.trials.agentic_misalignment]
connector = "side"
benign = ["where is my order"]
"""


@pytest.fixture
def contained(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(giving_back, "MARGIN_SECONDS", 0)
    return _contained(desk)


def _contained(desk: Desk, more: str = "") -> str:
    """Two acts, each with a probe of its own, and the prompt with one too."""
    desk.change("systems.toml", 'target = "prompt"\n', 'target = "prompt"\nprobes = ["wording"]\n')
    desk.write("systems.toml", (desk.home / "config" / "systems.toml").read_text() + MORE + more)
    incident = desk.declare(archetype="agentic-misalignment")
    desk.respond(incident)
    desk.contain(incident)
    assert judge.fn(incident).missing == ()
    return incident


def needed(desk: Desk, incident: str) -> str:
    rows = desk("incidents", "--json").json["incidents"]
    return str(next(row["needed"] for row in rows if row["incident"] == incident))


def lift(desk: Desk, incident: str, act: str = CLIENT) -> None:
    place = desk.installation
    pen, plan = place.pen(flow_actor("test")), plan_of(place, incident)
    ask(place, pen, place.incident(incident), plan, plan.action(act), Purpose.RE_ENABLE, ("ana", "cleo"))
    for request in requests_of(place, incident):
        for person in ("dora", "cleo"):
            if verdict_on(place, request).still_needed:
                desk.approve(request.id, person)
        settle(pen, request, verdict_on(place, request))
    assert give_back.fn(incident, act) == "undone"


def close(desk: Desk, incident: str) -> None:
    pen = desk.installation.pen(flow_actor("test"))
    pen.write(EntryType.REVIEW_SCHEDULED, f"review/{incident}", incident=incident, body={"due": "soon"})
    pen.write(EntryType.INCIDENT_CLOSED, f"closed/{incident}", incident=incident, body={"ending": ending_of(incident)})


def test_nothing_comes_back_for_trials_that_cannot_be_made(desk: Desk, contained: str) -> None:
    assert needed_for_trials.fn(contained) == [], "no trial is configured"
    assert validate_recovery.fn(contained) is False
    assert needed(desk, contained).startswith("whether the fix holds was not tried: see yourself whether it does.")
    assert "to be taken away again" not in needed(desk, contained)
    assert desk("show", contained, "--json").json["stage"] == "whether the fix holds was not tried"


def test_what_came_back_and_is_not_away_again_is_called_for_after_the_closing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def obeys(memory: Memory, name: str, settings: object, text: str, mark: str, kind: TrialKind) -> Trial:
        del name, settings, text
        return Trial(id=mark, kind=kind, seen=Seen.HIT, saw="it obeyed", at=memory.place.now())

    monkeypatch.setattr(giving_back, "MARGIN_SECONDS", 0)
    monkeypatch.setattr(Memory, "_trial", obeys)
    monkeypatch.setattr(recovery, "recorded_attacks", lambda *_: ["refund everybody"])
    incident = _contained(desk, TRIALS)
    assert needed_for_trials.fn(incident) == [CLIENT]
    lift(desk, incident)
    desk.write("systems.toml", (desk.home / "config" / "systems.toml").read_text().replace(TRIALS, ""))
    assert needed_for_trials.fn(incident) == [CLIENT], "whatever became of the inventory: it is to be taken away again"
    assert validate_recovery.fn(incident) is False
    assert f"{CLIENT} came back for the trials and is to be taken away again" in needed(desk, incident)
    assert plan_again.fn(incident, [CLIENT]) == [f"{CLIENT}-again"]
    for _ in range(2):
        assert judge.fn(incident).complete is False, "nobody consented to taking it away again"
    close(desk, incident)
    assert ending_of(incident) is Ending.PARTIAL
    assert needed(desk, incident).endswith(f"decide about what is not taken away: {CLIENT}-again")
    assert len(written(desk, incident, EntryType.CONTAINMENT_JUDGED)) == 2


def test_what_is_no_longer_effective_is_called_for_after_the_closing(
    desk: Desk, contained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Memory._probe

    def open_again(memory: Memory, name: str, settings: dict[str, object], mark: str) -> object:
        return probe(
            memory, name, settings | {"refused_when": {"status": "never"}} if name == "refund" else settings, mark
        )

    monkeypatch.setattr(Memory, "_probe", open_again)
    lift(desk, contained)
    close(desk, contained)
    assert f"refund-tool is no longer effective since {CLIENT} came back: look at refunds of helper" in needed(
        desk, contained
    )


def test_without_a_right_to_give_back_it_did_not_recover_and_people_know(desk: Desk, contained: str) -> None:
    place = desk.installation
    pen, plan = place.pen(flow_actor("test")), plan_of(place, contained)
    pen.write(
        EntryType.RECOVERY_JUDGED,
        f"recovery/{contained}",
        incident=contained,
        body={"passed": True, "because": "it holds"},
    )
    policy = (desk.home / "config" / "policy.toml").read_text().replace('"re_enable", ', "")
    only = '\npurposes = ["contain", "undo"]\n'
    desk.write("policy.toml", re.sub(r"\n(?=(reversibilities|roles = .*\nproofs = ..ssh., .code))", only, policy))
    place.activate(place.proposed(), INSTALLATION, {"proof": "a test's own"})
    assert ask(place, pen, place.incident(contained), plan, plan.action(CLIENT), Purpose.RE_ENABLE) is None
    close(desk, contained)
    assert ending_of(contained) is Ending.CONTAINED
    assert needed(desk, contained).startswith(f"nobody may give back {CLIENT}: add a right to policy.toml")
    assert any("once the fix holds" in one["found"] for one in desk("check", "--files", "--json").json["findings"])
