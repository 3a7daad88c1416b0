"""The command `quell`: one table of commands; each command's own file is imported only when it runs.

On standard output stands what was asked for, and with `--json` exactly one JSON object. Everything else (notices,
errors, how to go on) goes to standard error. Exit: 0 done and true, 1 done and false, 2 wrong use, 3 could not be done.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from runbooks.domain.errors import QuellError


@dataclass(frozen=True)
class Command:
    """`module` has `add(parser, name)`, which declares the arguments, and `run(args) -> int`, which does the work."""

    name: str
    module: str
    summary: str
    engine: bool = True
    """Whether the process should know Prefect's address before anything of Prefect is imported."""


_HERE = "flows.doors.commands."
COMMANDS = (
    Command("up", _HERE + "serve", "everything on this machine: Prefect, worker, keeper, door", engine=False),
    Command("drill", _HERE + "drill", "a real attack on a practice system, handled from alert to proof", engine=False),
    Command("check", _HERE + "check", "is this installation ready? what to do if not"),
    Command("declare", _HERE + "declare", "open an incident and start the response"),
    Command("incidents", _HERE + "incidents", "every incident: how it stands, what is needed next"),
    Command("show", _HERE + "show", "all that is known about one incident"),
    Command("inbox", _HERE + "inbox", "what waits for somebody's decision, and what is overdue"),
    Command("approve", _HERE + "answer", "say yes to a request, with proof of who you are"),
    Command("deny", _HERE + "answer", "say no to a request, with proof of who you are"),
    Command("waive", _HERE + "waive", "unsafe to wait: act before the evidence is sealed"),
    Command("withdraw", _HERE + "answer", "take back your answer, before it is acted upon"),
    Command("break-glass", _HERE + "break_glass", "one person acts alone, now: loud, short, given back by itself"),
    Command(
        "reclassify", _HERE + "reclassify", "another kind, severity or lead; a cause is a fact; all stays on record"
    ),
    Command("undo", _HERE + "undo", "give back what was taken away, newest first"),
    Command("export", _HERE + "export", "a bundle that proves itself to somebody who trusts nobody"),
    Command("verify", _HERE + "verify", "is a bundle the log's, whole and unchanged? (offline)", engine=False),
    Command("replay", _HERE + "replay", "was it decided rightly? every judgement again"),
    Command(
        "signal", _HERE + "signal", "send a signal, tell what you saw; how a body is read, and read again", engine=False
    ),
    Command("quiet", _HERE + "quiet", "a snooze or maintenance: signals of a system open nothing for a while"),
    Command("policy", _HERE + "policy", "who may decide what; activate a changed configuration"),
    Command(
        "keys", _HERE + "keys", "the keys and codes that people decide with; the log's own key, to pin or to change"
    ),
    Command("work", _HERE + "serve", "only the worker (quell up starts one)", engine=False),
    Command("door", _HERE + "serve", "only the HTTP door: signals and decisions (quell up starts one)"),
    Command("dispatch", _HERE + "serve", "only the dispatcher: signals become responses (quell up starts one)"),
    Command("keep", _HERE + "serve", "only the keeper (quell up starts one)"),
)


class UsageError(Exception):
    """The words were wrong: what was wrong, and the usage line that helps."""

    def __init__(self, problem: str, usage: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.usage = usage


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage().strip())


def main(argv: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - one answer per family of errors
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    wants_json = "--json" in words
    try:
        return _run(words)
    except UsageError as error:
        return _fail(wants_json, 2, error.problem, "nothing was done.", " ".join(error.usage.split()))
    except QuellError as error:
        return _fail(wants_json, error.exit_code, error.problem, error.now, error.next_step)
    except SystemExit as asked:  # argparse, after --help
        return int(asked.code or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
    except OSError as error:
        said = f"{error.strerror or type(error).__name__}: {error.filename or 'no file named'}"
        return _fail(wants_json, 3, said, "what was done before this is in the record.", "correct it and try again.")
    except KeyboardInterrupt:
        return _fail(wants_json, 130, "stopped by you.", "what was done before is in the record.", "`quell incidents`")


def _run(words: list[str]) -> int:
    chosen = next((command for command in COMMANDS if words and command.name == words[0]), None)
    if chosen is not None:
        home = _home()
        if not {"-h", "--help"} & set(words):
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            if chosen.engine:
                know_engine(home)
        parser = parser_of(chosen)
        args = parser.parse_args(words)
        args.home = home
        args.say = import_module(_HERE + "_say").Say(wants_json=bool(getattr(args, "json", False)))
        return int(import_module(chosen.module).run(args))
    parser = parser_of(None)
    if not words:
        parser.print_help()
        return 2
    parser.parse_args(words)
    return 2


def parser_of(chosen: Command | None) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen command; of every other only its name."""
    parser = _Parser(
        prog="quell",
        usage="quell COMMAND [...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_listing(),
        epilog="`quell COMMAND --help` says more about one. Data: $QUELL_HOME, else .quell here.\n"
        "Exit: 0 done and true, 1 done and false, 2 wrong use, 3 could not be done.",
    )
    commands = parser.add_subparsers(prog="quell", help=argparse.SUPPRESS, dest="command", required=True)
    for command in COMMANDS:
        one = commands.add_parser(command.name, description=command.summary)
        if command is chosen:
            import_module(command.module).add(one, command.name)
    return parser


def _listing() -> str:
    longest = max(len(command.name) for command in COMMANDS)
    lines = [f"  {command.name:{longest}}  {command.summary}" for command in COMMANDS]
    return "\n".join(["Incident response for AI systems.", "", *lines])


def _home() -> Path:
    home: Path = import_module("tasks.settings").home_of()
    return home


def know_engine(home: Path) -> None:
    """Tell Prefect, before it is imported, which server is ours. None was ever started: then none is reached."""
    server = import_module("flows.doors.engine_server")
    try:
        wanted = server.engine_environment(home)
    except server.EngineUnreachable:
        wanted = {"QUELL_HOME": str(home), "PREFECT_HOME": str(home / "prefect")}
        wanted["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
    known = all(os.environ.get(name) == value for name, value in wanted.items())
    os.environ.update(wanted)
    if "prefect" in sys.modules and not known:
        import_module("prefect.context").refresh_global_settings_context()


def _fail(wants_json: bool, code: int, problem: str, now: str, next_step: str) -> int:
    if wants_json:
        print(json.dumps({"ok": False, "error": {"problem": problem, "now": now, "next": next_step}}, indent=2))
    else:
        print(f"{problem}\n  now:  {now}\n  next: {next_step}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
