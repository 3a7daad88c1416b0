"""`quell replay INC|DIR`: was it decided rightly? Every judgement again, from its recorded inputs."""

import argparse
import sys
from pathlib import Path

from flows.doors.commands._say import Say, add_json
from flows.doors.commands.verify import tell
from runbooks.domain.checkpoint import FormatError, VerifierKey
from runbooks.domain.replay import Outcome
from tasks.replay import Replayed, replay_bundle, replay_live

_MARKS = {Outcome.AGREES: ("agrees", "green"), Outcome.DIFFERS: ("DIFFERS", "red"),
          Outcome.WITHHELD: ("not recomputed", "yellow"), Outcome.TOLD: ("", "")}  # fmt: skip


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("what", metavar="INC|DIR", help="an incident of this installation, or a bundle")
    parser.add_argument("--key", metavar="VKEY", help="for a bundle: the log's public key, from another channel")
    parser.add_argument("--step", action="store_true", help="one entry at a time; Enter goes on")
    add_json(parser)
    parser.epilog = (
        f"quell {name} INC-7K2QF9 --step. Exit 0: the record follows from its inputs; 1: something does not."
    )


def run(args: argparse.Namespace) -> int:
    """Replay, show the film, tell the findings."""
    place = Path(args.what)
    if place.exists() or not args.what.startswith("INC-"):
        try:
            key = VerifierKey.read(args.key) if args.key else None
        except FormatError as error:
            args.say.notice(f"--key: {error}")
            return 2
        done = replay_bundle(place, key)
    else:
        done = _live(args)
    _film(args.say, done, walk=args.step)
    about = {"incident": done.incident, "steps": [step.model_dump(mode="json") for step in done.steps]}
    return tell(args.say, done.audit, about, "the record follows from its own inputs", "does not hold")


def _live(args: argparse.Namespace) -> Replayed:
    from tasks.history import pages_now  # noqa: PLC0415 - a bundle is replayed without Prefect
    from tasks.installation import open_installation  # noqa: PLC0415

    return replay_live(open_installation(args.home), args.what, pages_now)


def _film(say: Say, done: Replayed, *, walk: bool) -> None:
    """Entry by entry; a person who walks presses Enter after each."""
    watched = walk and not say.wants_json and sys.stdin.isatty()  # Ctrl-D: the rest without waiting
    for step in done.steps:
        word, style = _MARKS[step.outcome]
        say.line(f"{step.entry:6d}  {step.at[11:23]}  {word:15s} {step.what}", style or None)
        for difference in step.differences:
            say.line(f"{'':38s}{difference}", "dim")
        try:
            _ = input() if watched else ""
        except EOFError:
            watched = False
