"""`quell verify DIR`: is this bundle the log's, whole and unchanged? Offline; believes nothing in the bundle."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from flows.doors.commands._say import Say, add_json
from runbooks.domain.audit import Audit, Weight, as_rows
from runbooks.domain.checkpoint import FormatError, VerifierKey
from tasks.bag import open_bag
from tasks.verification import verify_bundle


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("bundle", metavar="DIR", type=Path, help="directory, or zip file with stored members")
    parser.add_argument("--key", metavar="VKEY", help="the log's public key, from another channel than the bundle")
    parser.add_argument("--tsa-ca", metavar="PEM", type=Path, help="certificate of the time-stamp authority")
    parser.add_argument("--anchor", metavar="DIR", type=Path, help="your own copy of the anchored heads")
    add_json(parser)
    parser.epilog = (
        f"quell {name} bundle --key KEY. Exit 0: everything holds; 1: something does not, or no key was given."
    )


def run(args: argparse.Namespace) -> int:
    """Verify and say what was found."""
    try:
        key = VerifierKey.read(args.key) if args.key else None
    except FormatError as error:
        args.say.notice(f"--key: {error}")
        return 2
    reading = verify_bundle(open_bag(args.bundle), key, authority=args.tsa_ca, anchors=args.anchor)
    audit = reading.audit()
    incident = reading.entries[0].incident if reading.entries else None
    return tell(
        args.say, audit, {"incident": incident, "bundle": str(args.bundle)}, "everything holds", "does not hold"
    )


def tell(say: Say, audit: Audit, about: Mapping[str, object], well: str, ill: str) -> int:
    """The findings for a person or a program; exit code 0 when nothing counts against it."""
    incident = about.get("incident") or "bundle"
    verdict = well if audit.sound else f"{ill}: {len(audit.faults)} findings"
    say.line(f"{incident}: {verdict}", "bold green" if audit.sound else "bold red")
    for finding in sorted(audit.findings, key=lambda one: one.weight is not Weight.FAULT):
        mark = "FAULT" if finding.weight is Weight.FAULT else "note "
        say.line(f"{mark}  {finding.where}: {finding.what}", "red" if finding.weight is Weight.FAULT else None)
        say.line(f"       {finding.means}", "dim")
    say.line(
        "looked at: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in audit.checked.items()), "dim"
    )
    shown = {**about, "findings": as_rows(audit), "checked": audit.checked}
    return int(say.result(shown, 0 if audit.sound else 1))
