"""A revoked token: somebody is asked for a new one, the trials wait for it, and not for ever."""

from collections.abc import Callable

import pytest

from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from runbooks.domain.recovery import Seen, Trial, TrialKind
from tasks import pages, recovery
from tasks.connectors.memory import Memory
from tasks.ledger import clock
from tasks.recovery import validate_recovery
from tests.steps.desk import Desk
from tests.steps.glass import written

MORE = """
[systems.helper.trials.agentic_misalignment]
connector = "side"
benign = ["where is my order"]

[[systems.helper.controls]]
name = "agent-token"
verb = "revoke_token"
connector = "side"
target = "token"
title = "Revoke the token"
blast_radius = "the agent has none"
undo = "Impossible: the shop issues a new one."
"""


class Agent:
    """Works while its token does; time passes only while somebody waits for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, desk: Desk, waits: Callable[["Agent"], None]) -> None:
        self.works, self.waited, self._waits = False, 0.0, waits
        agent = self

        def trial(memory: Memory, name: str, settings: object, text: str, mark: str, kind: TrialKind) -> Trial:
            del name, settings, text
            good = Seen.HIT if kind is TrialKind.BENIGN else Seen.MISS
            return Trial(id=mark, kind=kind, seen=good if agent.works else Seen.UNCLEAR, saw="", at=memory.place.now())

        monkeypatch.setattr(Memory, "_trial", trial)
        monkeypatch.setattr(recovery, "recorded_attacks", lambda *_: ["refund everybody"])
        monkeypatch.setattr(recovery, "pause", self._pause)
        monkeypatch.setattr(recovery, "clock", lambda: later(clock(), round(agent.waited)))
        text = (desk.home / "config" / "systems.toml").read_text()
        desk.write("systems.toml", text + MORE)

    def _pause(self, seconds: float) -> None:
        self.waited += seconds
        self._waits(self)


def contained(desk: Desk) -> str:
    incident = desk.declare(archetype="agentic-misalignment")
    desk.respond(incident)
    desk.contain(incident)
    return incident


def needed(desk: Desk, incident: str) -> str:
    rows = desk("incidents", "--json").json["incidents"]
    return str(next(row["needed"] for row in rows if row["incident"] == incident))


def test_the_trials_wait_for_a_new_token_and_say_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def somebody_issues(agent: Agent) -> None:
        if not seen:
            seen.append(needed(desk, incident))
        agent.works = agent.waited > 20 * 60

    Agent(monkeypatch, desk, somebody_issues)
    left: dict[str, str] = {}
    monkeypatch.setattr(recovery, "run_id", lambda: "the run")
    monkeypatch.setattr(pages, "leave_page", lambda key, text, *_, **__: left.update({key: text}))
    incident = contained(desk)
    assert validate_recovery.fn(incident) is True
    assert seen[0].startswith("issue a new one for agent-token of helper: it was revoked")
    (call,) = written(desk, incident, EntryType.PERSON_NEEDED)
    assert "the shop issues a new one" in str(call["because"])
    assert list(left) == [f"reissue-{incident.lower()}"], "one page, on the run"
    assert (
        "**Revoke the token** was done. Impossible: the shop issues a new one." in left[f"reissue-{incident.lower()}"]
    )
    assert needed(desk, incident) == "nothing: the response goes on by itself"


def test_without_a_new_token_the_wait_ends_and_the_fix_does_not_hold(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(monkeypatch, desk, lambda _: None)
    incident = contained(desk)
    assert validate_recovery.fn(incident) is False
    assert 30 * 60 - 5 <= agent.waited <= 30 * 60 + 10, "reissue_wait_minutes"
    assert needed(desk, incident).startswith("the fix does not hold")


def test_nobody_is_called_when_nothing_was_revoked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, desk, lambda _: None)
    desk.change("systems.toml", 'verb = "revoke_token"', 'verb = "deactivate_key"')
    incident = contained(desk)
    assert validate_recovery.fn(incident) is False
    assert 55 <= agent.waited <= 70, "recovery_ready_seconds"
    assert not any(
        "issue a new" in str(call.get("needed")) for call in written(desk, incident, EntryType.PERSON_NEEDED)
    )


def test_nobody_is_called_when_the_agent_works(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, desk, lambda _: None)
    incident = contained(desk)
    agent.works = True
    assert validate_recovery.fn(incident) is True
    assert agent.waited == 0
    assert written(desk, incident, EntryType.PERSON_NEEDED) == []
