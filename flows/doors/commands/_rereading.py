"""`quell signal replay`: after a mapping was corrected and activated, read what came before it again."""

import argparse
from datetime import datetime

from flows.doors.commands._say import plain
from runbooks.domain.instants import Instant, instant_from
from tasks.installation import open_installation
from tasks.intake.rereading import candidates, look_at, read_again


def add_replay(replay: argparse.ArgumentParser) -> None:
    """Arguments."""
    replay.add_argument("--source", help="only what this source sent")
    replay.add_argument(
        "--since", metavar="ISO", help="only what came since then, with time zone: 2026-11-21T02:00:00Z"
    )
    replay.add_argument("--all", action="store_true", help="what could be read as well; default: only the defects")
    replay.add_argument("--dry-run", action="store_true", help="say what they would be read as, and do nothing")


def replay_deliveries(args: argparse.Namespace) -> int:
    """Look first, then mark them unread. 1 when some still cannot be read."""
    installation, say = open_installation(args.home), args.say
    installation.activate_if_fresh()
    found = candidates(installation, args.source, _since(args), everything=args.all)
    looked = look_at(installation, found)
    if not args.dry_run:
        read_again(installation, found)
    would = "would be" if args.dry_run else "are being"
    say.line(f"{looked.readable} of {looked.deliveries} deliveries {would} read: {looked.signals} signals.", "bold")
    for because, count in looked.defects.items():
        say.line(f"  {count} cannot, or not wholly: {plain(because)}")
    if looked.defects:
        say.line("They are kept. Correct the mapping in sources.toml, `quell policy activate`, and do this again.")
    return int(say.result({**looked.as_json(), "read_again": not args.dry_run}, 1 if looked.defects else 0))


def _since(args: argparse.Namespace) -> Instant | None:
    if not args.since:
        return None
    try:
        return instant_from(datetime.fromisoformat(args.since))
    except ValueError as error:
        args.refuse(f"--since: expected a time with its zone, like 2026-11-21T02:00:00Z; {error}")
        raise AssertionError("unreachable") from error
