"""The commands as people and programs use them: exit codes, one JSON object and nothing else, no traceback, quick help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.doors.cli import COMMANDS
from tests.steps.desk import Desk

ROOT = Path(__file__).parents[2]


def test_help_is_quick_because_it_imports_no_prefect() -> None:
    code = (
        "import sys\nfrom flows.doors.cli import main\nassert main(['--help']) == 0\n"
        "assert not {'prefect', 'pydantic', 'sqlalchemy', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for command in COMMANDS:
        assert f"  {command.name} " in done.stdout


def test_the_door_takes_signals_though_prefect_is_broken() -> None:
    code = "import sys\nimport flows.doors.door.serving\nassert not {'prefect', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself(desk: Desk, command: str) -> None:
    ran = desk(command, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"usage: quell {command}")


def test_no_word_at_all_shows_the_help(desk: Desk) -> None:
    ran = desk()
    assert ran.code == 2
    assert "declare" in ran.out


WRONG_USE = {
    "an unknown command": ["frobnicate"],
    "a missing argument": ["approve", "REQ-AAAA"],
    "an unknown option": ["incidents", "--frob"],
    "an unknown choice": ["declare", "--system", "helper", "--what", "x", "--as", "eve", "--how-bad", "terrible"],
    "a time without a zone": ["declare", "--system", "helper", "--what", "x", "--as", "eve", "--began-at", "2026-01-01"],
    "an unknown cause": ["declare", "--system", "helper", "--what", "x", "--as", "eve", "--cause", "gremlins:seen"],
    "a cause without a reason": ["declare", "--system", "helper", "--what", "x", "--as", "eve", "--cause", "mistake"],
    "a lead who is not listed": ["declare", "--system", "helper", "--what", "x", "--as", "eve", "--lead", "zoe"],
    "nothing seen": ["declare", "--system", "helper", "--what", " ", "--as", "eve"],
    "a system that is no name": ["declare", "--system", "../etc", "--what", "x", "--as", "eve"],
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG_USE.values(), ids=WRONG_USE)
def test_wrong_use_is_2_and_says_what_was_expected(desk: Desk, words: list[str]) -> None:
    plain = desk(*words)
    assert (plain.code, plain.out) == (2, "")
    assert "usage: quell" in plain.err
    told = desk(*words, "--json")
    assert told.code == 2
    assert told.json["error"].keys() == {"problem", "now", "next"}
    assert told.err == ""


UNKNOWN = {
    "an unknown request": ["approve", "REQ-NNNN", "--as", "ana", "--reason", "x"],
    "an unknown incident": ["show", "INC-NNNN"],
    "an incident that is none": ["show", "../../etc/passwd"],
    "an unknown incident to undo": ["undo", "INC-NNNN"],
    "an unknown incident to waive": ["waive", "INC-NNNN", "--as", "ana", "--reason", "x"],
}


@pytest.mark.parametrize("words", UNKNOWN.values(), ids=UNKNOWN)
def test_a_name_that_the_record_does_not_know_is_1(desk: Desk, words: list[str]) -> None:
    plain = desk(*words)
    assert (plain.code, plain.out) == (1, "")
    assert "\n  now:  " in plain.err
    assert "\n  next: " in plain.err
    told = desk(*words, "--json")
    assert (told.code, told.err) == (1, "")
    assert "no " in told.json["error"]["problem"]


def test_a_ledger_out_of_reach_is_3(desk: Desk) -> None:
    desk.write("defaults.toml", 'ledger_url = "postgresql://nobody@127.0.0.1:9/none"')
    ran = desk("incidents", "--json")
    assert (ran.code, ran.err) == (3, "")
    assert ran.json["error"]["next"]


def test_a_home_that_cannot_be_made_is_3(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.home / "file").write_text("")
    monkeypatch.setenv("QUELL_HOME", str(desk.home / "file" / "home"))
    monkeypatch.setenv("QUELL_CONFIG", str(desk.home / "config"))
    ran = desk("incidents", "--json")
    assert (ran.code, ran.err) == (3, "")
    assert "file" in ran.json["error"]["problem"]


@pytest.mark.parametrize(
    "words", [("incidents",), ("inbox",), ("inbox", "--as", "ana"), ("policy", "show"), ("keys", "show")]
)
def test_an_empty_installation_answers(desk: Desk, words: tuple[str, ...]) -> None:
    assert desk(*words).code == 0
    told = desk(*words, "--json")
    assert (told.code, told.err) == (0, "")
    assert told.json


def test_declare_opens_while_prefect_is_down(desk: Desk) -> None:
    ran = desk("declare", "--system", "helper", "--what", "it refunded", "--as", "eve", "--label", "prompt-injection", "--json")  # fmt: skip
    told = ran.json
    assert (ran.code, ran.err, told["started"]) == (0, "", False)
    assert "quell up" in told["told"]
    assert told["requester"] == {"name": "eve", "proven": False}
    row = desk("incidents", "--json").json["incidents"][0]
    assert (row["incident"], row["open"], row["lead"]) == (told["incident"], True, "ana")


def test_declare_with_a_dead_server_opens_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    ran = desk("declare", "--system", "helper", "--what", "it refunded", "--as", "eve", "--json")
    assert (ran.code, ran.json["started"], ran.json["archetype"]) == (0, False, "unclassified")


def test_an_unknown_system_opens_and_says_that_nothing_will_be_taken_away(desk: Desk) -> None:
    ran = desk("declare", "--system", "Mystery", "--what", "odd", "--as", "Eve Smith", "--json")
    assert ran.code == 0
    assert ran.json["known_system"] is False
    assert any("refuses to take anything away" in text and "helper" in text for text in ran.json["notices"])
    assert "not in the inventory" in desk("show", ran.json["incident"]).out


def test_a_label_that_names_a_near_miss_takes_nothing_away(desk: Desk) -> None:
    ran = desk("declare", "--system", "helper", "--what", "it held", "--as", "eve", "--label", "tool-use-rate-limited", "--json")  # fmt: skip
    assert (ran.json["near_miss"], ran.json["archetype"]) == (True, "agentic_misalignment")


def test_an_archetype_without_a_runbook_opens_as_unclassified(desk: Desk) -> None:
    ran = desk(
        "declare", "--system", "helper", "--what", "it leaked", "--as", "eve", "--archetype", "data-exfiltration"
    )
    assert ran.code == 0
    assert "no runbook for data-exfiltration" in ran.err
    assert "unclassified on helper" in ran.out


def test_a_signed_report_makes_its_reporter_proven(desk: Desk) -> None:
    words = ["declare", "--system", "helper", "--what", "it refunded", "--as", "ben", "--json", "--key"]
    ran = desk(*words, str(desk.keys["ben"]))
    assert ran.json["requester"] == {"name": "ben", "proven": True}
    other = desk(*words, str(desk.keys["ana"]))
    assert other.code == 1
    assert "listed for ben" in other.json["error"]["problem"]
    assert len(desk("incidents", "--json").json["incidents"]) == 1


def test_hostile_words_reach_no_terminal(desk: Desk) -> None:
    evil = "\x1b]0;owned\x07\x9b31m[bold]\u202eabc"
    incident = desk("declare", "--system", "helper", "--what", evil, "--as", f"eve{evil}", "--json").json["incident"]
    for words in (("show", incident), ("show", incident, "--all"), ("incidents",)):
        ran = desk(*words)
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(ran.out + ran.err)
    assert "[bold]" in desk("show", incident).out
    assert desk("show", incident, "--json").json["reported"] == evil


def test_standard_input_is_read_for_a_dash(desk: Desk) -> None:
    environment = {**os.environ, "QUELL_HOME": str(desk.home)}
    words = [
        sys.executable,
        "-m",
        "flows.doors.cli",
        "declare",
        "--system",
        "helper",
        "--as",
        "eve",
        "--what",
        "-",
        "--json",
    ]
    done = subprocess.run(words, cwd=ROOT, input="from a pipe", capture_output=True, text=True, check=True, env=environment)  # fmt: skip
    assert '"ok": true' in done.stdout
    assert done.stderr == ""


def test_show_holds_everything_that_the_record_holds(desk: Desk) -> None:
    incident = desk.declare("--cause", "injection:a ticket said so", "--how-bad", "customers")
    desk.respond(incident)
    desk.contain(incident)
    told = desk("show", incident, "--all", "--json").json
    assert told["evidence"]["classes"]["E"]["captured"] == "captured"
    assert len(told["evidence"]["gaps"]) == 4
    assert {a["action"]: a["status"] for a in told["actions"]} == {
        "refund-tool": "effective",
        "system-prompt": "unverified",
    }
    assert told["actions"][0]["applied_at"] <= told["actions"][0]["effective_at"]
    assert [a["standing"] for a in told["approvals"]] == ["granted", "granted"]
    assert told["causes"][0]["standing"] == "hypothesis"
    assert {"to_seal", "to_plan", "to_applied", "to_all_effective"} <= told["times"].keys()
    assert [entry["index"] for entry in told["entries"]] == sorted(entry["index"] for entry in told["entries"])
    text = desk("show", incident).out
    for words in (
        "DRILL",
        incident,
        "EFFECTIVE",
        "UNVERIFIED",
        "GRANTED",
        "evidence sealed",
        "vault",
        "a ticket made it",
    ):
        assert words in text
