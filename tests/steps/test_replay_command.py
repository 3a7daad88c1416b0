"""`quell replay`: as a film for a person, as one object for a program."""

import io
import json

import pytest

from flows.doors.cli import main
from tests.steps.desk import Desk


class _Terminal(io.StringIO):
    """Somebody at a keyboard."""

    def isatty(self) -> bool:
        return True


def test_the_command_walks_and_counts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    incident = desk.declare()
    desk.respond(incident)
    installation = desk.installation
    monkeypatch.setenv("QUELL_HOME", str(installation.settings.home))
    assert main(["replay", incident, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert len(found["steps"]) == len(installation.store.entries(incident))
    assert main(["replay", incident, "--step"]) == 0
    assert "agrees" in capsys.readouterr().out
    assert main(["replay", "INC-NNNN"]) == 3
    assert main(["replay", "no-such-bundle"]) == 3


def test_whoever_walks_presses_enter_after_each_entry_and_ctrl_d_shows_the_rest(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    incident = desk.declare()
    desk.respond(incident)
    installation = desk.installation
    monkeypatch.setenv("QUELL_HOME", str(installation.settings.home))
    count = len(installation.store.entries(incident))
    for pressed, left in ((count + 5, 5), (2, 0)):
        keyboard = _Terminal("\n" * pressed)
        monkeypatch.setattr("sys.stdin", keyboard)
        assert main(["replay", incident, "--step"]) == 0
        assert len(keyboard.read()) == left
        assert "approval requested" in capsys.readouterr().out, "the rest is shown without waiting"
