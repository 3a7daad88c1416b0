"""What `quell drill --interactive` says to the person who answers can be done as it is written."""

import shlex
from pathlib import Path

from flows.doors.cli import COMMANDS, parser_of
from flows.doors.drill import Drill, say_how_to_answer
from flows.doors.drill_report import own_command

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
