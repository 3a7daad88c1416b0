"""`quell quiet`: a snooze or a maintenance window for one system's signals. Signed; it always ends; SEV1 gets through."""

import argparse
import secrets
from datetime import datetime

from pydantic import ValidationError

from flows.doors.commands._proof import add_person, add_signing, print_statement, signature_from
from flows.doors.commands._say import add_json, plain
from runbooks.domain.correlation import Quiet
from runbooks.domain.errors import ApprovalError
from runbooks.domain.incident import Archetype
from runbooks.domain.instants import Instant, instant_from, later
from runbooks.domain.severity import Severity
from runbooks.domain.signed import QUIET_NAMESPACE, Quieting
from tasks.installation import Installation, open_installation
from tasks.ledger import clock, door_actor
from tasks.quieting import in_force, keep_quiet


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("--system", help="whose signals; without it, what is quiet now is listed")
    parser.add_argument("--archetype", action="append", default=[], choices=[one.shown for one in Archetype], metavar="A",
                        help="only this kind; may be repeated")  # fmt: skip
    parser.add_argument("--minutes", type=int, default=60, help="for so long (60)")
    parser.add_argument("--from", dest="since", metavar="ISO", help="when it begins, with time zone; default: now")
    parser.add_argument("--maintenance", action="store_true", help="a planned window, up to a week; else a day at most")
    parser.add_argument("--worst", choices=[Severity.SEV2, Severity.SEV3, Severity.SEV4], default=Severity.SEV2,
                        help="what is worse than this opens an incident all the same (SEV2)")  # fmt: skip
    parser.add_argument("--end", metavar="QUIET", help="end this one now; what still fires opens then")
    parser.add_argument("--reason", help="why; it goes into the record")
    add_person(parser, required=False)
    add_signing(parser)
    add_json(parser)
    parser.set_defaults(refuse=parser.error)
    parser.epilog = f"Example: quell {name} --system support-agent --minutes 90 --maintenance --reason 'new release' --as ana --key ~/.ssh/id_ed25519"


def run(args: argparse.Namespace) -> int:
    """List, or sign and hand in."""
    installation = open_installation(args.home)
    installation.activate_if_fresh()
    if not args.system and not args.end:
        return _list(args, installation)
    if not args.person or not (args.reason or "").strip():
        args.refuse("expected --as PERSON and --reason TEXT")
    said = Quieting(installation=installation.id, quiet=_quiet(args, installation))
    if args.print_statement:
        words = ["quell", "quiet", "--as", args.person, "--reason", args.reason]
        return print_statement(said.canonical(), QUIET_NAMESPACE, words)
    signature = signature_from(args, said.canonical(), QUIET_NAMESPACE)
    keep_quiet(installation, said, signature, door=door_actor("cli"))
    quiet = said.quiet
    args.say.line(
        f"{quiet.id}  {quiet.system} is quiet until {quiet.until[:16]} UTC, save what is worse than {quiet.worst}."
    )
    args.say.line("Signals are kept and counted; what still fires then opens an incident.")
    return int(args.say.result({"quiet": quiet.as_json()}))


def _quiet(args: argparse.Namespace, installation: Installation) -> Quiet:
    now = clock()
    if args.end:
        known = next((one for one in in_force(installation) if one.id == args.end), None)
        if known is None:
            args.refuse(f"expected one that is in force, found {args.end}; `quell quiet` lists them")
            raise AssertionError("unreachable")
        return known.model_copy(update={"until": now, "person": args.person, "reason": args.reason.strip()})
    since = _instant(args, now)
    try:
        return Quiet(
            id=f"QUIET-{secrets.token_hex(4).upper()}", system=args.system.strip().lower(),
            archetypes=tuple(Archetype(one.replace("-", "_")) for one in args.archetype), worst=Severity(args.worst),
            since=since, until=later(since, 60 * max(1, args.minutes)), maintenance=args.maintenance, person=args.person,
            reason=args.reason.strip(),
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise ApprovalError(
            f"the {'.'.join(map(str, first['loc']))} cannot be used: {first['msg']}.",
            now="signals open incidents as before.", next_step="use the short names of config/*.toml.",
        ) from error  # fmt: skip


def _instant(args: argparse.Namespace, now: Instant) -> Instant:
    if not args.since:
        return now
    try:
        return instant_from(datetime.fromisoformat(args.since))
    except ValueError as error:
        args.refuse(f"--from: expected a time with its zone, like 2026-11-21T02:00:00Z; {error}")
        raise AssertionError("unreachable") from error


def _list(args: argparse.Namespace, installation: Installation) -> int:
    found = in_force(installation)
    args.say.table(
        ("", "system", "kinds", "from", "until", "by", "why"),
        (
            (one.id, one.system, ", ".join(kind.shown for kind in one.archetypes) or "all", one.since[:16],
             one.until[:16], one.person, plain(one.reason))
            for one in found
        ),
        empty="Nothing is kept quiet.",
    )  # fmt: skip
    return int(args.say.result({"quiet": [one.as_json() for one in found]}))
