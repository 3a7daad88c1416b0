"""`quell export INC DIR`: a bundle that proves itself to somebody who trusts nobody here."""

import argparse
from pathlib import Path

from flows.doors.commands._say import add_json
from runbooks.domain.bundle import withheld_words
from runbooks.domain.evidence import EvidenceClass
from tasks.bundle import export
from tasks.installation import open_installation


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("incident", metavar="INC")
    parser.add_argument("directory", metavar="DIR", type=Path, help="must not exist yet")
    parser.add_argument(
        "--only", nargs="+", metavar="CLASS", help="hand over only these evidence classes (A to J); the rest is counted"
    )
    add_json(parser)
    parser.epilog = f"quell {name} INC-7K2QF9 bundle; quell verify bundle --key KEY"


def run(args: argparse.Namespace) -> int:
    """Write it, and say which key to hand over by another channel."""
    for letter in args.only or ():
        if letter not in set(EvidenceClass):
            args.say.notice(f"--only: expected classes of {', '.join(EvidenceClass)}, found {letter}")
            return 2
    only = None if args.only is None else frozenset(EvidenceClass(letter) for letter in args.only)
    with args.say.busy("exporting"):
        done = export(open_installation(args.home), args.incident, args.directory, only)
    args.say.line(f"{done.incident}: {done.files} files, {done.octets} bytes, in {done.directory}", "bold")
    args.say.line(f"{done.seal.count} entries, {done.seal.items} items; sealed by entry {done.entry}.")
    for words in withheld_words(done.seal):
        args.say.line(f"  {words}")
    if done.unanchored:
        args.say.line(f"{done.unanchored} entries at the end of the log are covered by no anchor.")
    args.say.line("The log's key, for the auditor, through another channel than the bundle:")
    args.say.line(f"  {done.key}")
    args.say.line(f"Check it: quell verify {done.directory} --key {done.key}")
    return int(args.say.result(done.model_dump(mode="json")))
