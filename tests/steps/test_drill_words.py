"""What `quell drill --interactive` says to the person who answers can be done as it is written."""

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.doors import drill
from flows.doors.cli import COMMANDS, parser_of
from flows.doors.drill import Drill, say_how_to_answer
from flows.doors.drill_report import own_command
from runbooks.domain.errors import QuellError
from tests.steps.desk import Desk

PAGE = "http://prefect.example/v2/runs/flow-run/10000000-0000-4000-8000-000000000000"


def test_it_names_the_run_and_every_command_is_one(tmp_path: Path) -> None:
    said: list[str] = []
    say_how_to_answer(Drill("prompt_injection", tmp_path, out=said.append), PAGE)
    text = "\n".join(said)
    assert PAGE in text
    assert f"export QUELL_HOME={tmp_path}" in text
    commands = [line.partition(own_command())[2] for line in said if f"{own_command()} " in line]
    found = []
    for words in map(shlex.split, commands):
        command = next(one for one in COMMANDS if one.name == words[0])
        args = parser_of(command).parse_args(words)
        found.append((words[0], getattr(args, "person", None)))
    assert found == [("keys", "ana"), ("inbox", None), ("approve", "ana")]
    assert f"--key {tmp_path}/people/ana.key" in text


@pytest.mark.parametrize(("scripted", "limit", "words"), [(False, 24 * 3600, "24 hours"), (True, 300, "300 s")])
def test_a_drill_that_takes_too_long_says_how_long_it_waited(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, scripted: bool, limit: int, words: str
) -> None:
    hours = iter([0.0, limit - 1.0, limit + 1.0])
    monkeypatch.setattr(drill, "time", SimpleNamespace(monotonic=lambda: next(hours), sleep=lambda _: None))
    monkeypatch.setattr(drill, "answer_what_waits", lambda *_: None)
    incident, began = desk.declare(), Drill("prompt_injection", desk.home, out=lambda _: None, began=0)
    monkeypatch.setattr(Drill, "say", lambda *_: None)
    with pytest.raises(QuellError, match=f"closed within {words}, found it open"):
        drill._follow(began, desk.installation, None, incident, scripted=scripted)  # type: ignore[arg-type]
    assert next(hours, None) is None, "it was at it until then"
