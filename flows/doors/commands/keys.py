"""`quell keys show|log|rotate`: who decides with which key, the log's public key, and another one for the log."""

import argparse

from flows.doors.commands._say import Say, add_json
from tasks.installation import Installation, open_installation
from tasks.keys import log_key, log_keys, rotate
from tasks.proofs import allowed_signers, listed_fingerprints


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument(
        "what", choices=["show", "log", "rotate"],
        help="show: the allowed_signers text of the active configuration; log: the log's public key, for auditors to pin; "
        "rotate: give the log another key, signed by both",
    )  # fmt: skip
    add_json(parser)
    parser.epilog = (
        f"quell {name} show > allowed_signers; ssh-keygen -Y verify -f allowed_signers -I PERSON -n quell-decision "
        f"-s FILE.sig < FILE; quell {name} log > quell-log.vkey"
    )


def run(args: argparse.Namespace) -> int:
    """The text alone, so that it can be written to a file."""
    installation = open_installation(args.home)
    installation.activate_if_fresh()
    acts = {"show": _show, "log": _log, "rotate": _rotate}
    return acts[args.what](installation, args.say)


def _show(installation: Installation, say: Say) -> int:
    configuration = installation.active()
    text = allowed_signers(configuration)
    if not say.wants_json:
        print(text, end="")
    lines = {line: fingerprint for fingerprint, line in listed_fingerprints(configuration).items()}
    people = {
        name: {
            "name": person.name, "roles": list(person.roles), "keys": [lines[line] for line in person.ssh_keys],
            "code": person.code_secret is not None,
        }
        for name, person in sorted(configuration.people.items())
    }  # fmt: skip
    return say.result({"configuration": installation.active_digest(), "allowed_signers": text, "people": people})


def _log(installation: Installation, say: Say) -> int:
    key = log_key(installation).verifier.line()
    if not say.wants_json:
        print(key)
    say.notice("Hand it to auditors now, by another way than the bundles: quell verify DIR --key KEY")
    return say.result({"key": key, "earlier": [one.line() for one in log_keys(installation)[:-1]]})


def _rotate(installation: Installation, say: Say) -> int:
    before = log_key(installation).verifier.line()
    key = rotate(installation).line()
    say.line("The log has another key. Both signed the change, it is an entry, and the old key's file is gone.", "bold")
    say.pairs([("before", before), ("now", key)])
    say.line(
        "Hand the new one to auditors, by another way than the bundles. Whoever pinned the old one can go on: it leads"
    )
    say.line(
        "to the new one. If the old one was stolen, tell them to trust it no more: its thief can sign heads like you."
    )
    return say.result({"key": key, "before": before})
