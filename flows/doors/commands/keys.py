"""`quell keys show`: who decides with which key, in the form that ssh-keygen verifies with."""

import argparse

from flows.doors.commands._say import add_json
from tasks.installation import open_installation
from tasks.proofs import allowed_signers, listed_fingerprints


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("what", choices=["show"], help="the allowed_signers text of the active configuration")
    add_json(parser)
    parser.epilog = (
        f"quell {name} show > allowed_signers; ssh-keygen -Y verify -f allowed_signers -I PERSON -n quell-decision "
        "-s FILE.sig < FILE"
    )


def run(args: argparse.Namespace) -> int:
    """The text alone, so that it can be written to a file."""
    installation = open_installation(args.home)
    installation.activate_if_fresh()
    configuration = installation.active()
    text = allowed_signers(configuration)
    if not args.say.wants_json:
        print(text, end="")
    lines = {line: fingerprint for fingerprint, line in listed_fingerprints(configuration).items()}
    people = {
        name: {
            "name": person.name, "roles": list(person.roles), "keys": [lines[line] for line in person.ssh_keys],
            "code": person.code_secret is not None,
        }
        for name, person in sorted(configuration.people.items())
    }  # fmt: skip
    shown = {"configuration": installation.active_digest(), "allowed_signers": text, "people": people}
    return int(args.say.result(shown))
