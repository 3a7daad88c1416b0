"""`quell keys`: who decides with which key, as ssh-keygen reads them; one-time codes of people; the log's own key."""

import argparse

from flows.doors.commands._say import add_json
from tasks.enrolment import enrol, practice_code
from tasks.installation import Installation, open_installation
from tasks.keys import log_key, log_keys, rotate
from tasks.proofs import allowed_signers, listed_fingerprints

OF_A_PERSON = ("enrol", "code")


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument(
        "what", choices=["show", *OF_A_PERSON, "log", "rotate"],
        help="show: the allowed_signers text of the active configuration; enrol: make the secret of somebody's one-time "
        "codes, as the otpauth:// line for their authenticator app; code: what a practice person's app shows now; "
        "log: the log's public key, for auditors to pin; rotate: give the log another key, signed by both",
    )  # fmt: skip
    parser.add_argument("person", metavar="PERSON", nargs="?", help="for enrol and code: a name in people.toml")
    parser.add_argument("--again", action="store_true", help="enrol: a new secret in place of one that was lost")
    add_json(parser)
    parser.set_defaults(refuse=parser.error)
    parser.epilog = (
        f"quell {name} show > allowed_signers; ssh-keygen -Y verify -f allowed_signers -I PERSON -n quell-decision "
        f"-s FILE.sig < FILE; quell {name} log > quell-log.vkey"
    )


def run(args: argparse.Namespace) -> int:
    """Only what was asked for stands on standard output, so that it can be written to a file or typed into a form."""
    of_a_person = args.what in OF_A_PERSON
    if of_a_person == (args.person is None):
        args.refuse(f"keys {args.what}: expected {'a PERSON' if of_a_person else 'no PERSON'}")
    if args.again and args.what != "enrol":
        args.refuse("--again is for enrol")
    installation = open_installation(args.home)
    installation.activate_if_fresh()
    acts = {"show": _show, "enrol": _enrol, "code": _code, "log": _log, "rotate": _rotate}
    return acts[args.what](args, installation)


def _show(args: argparse.Namespace, installation: Installation) -> int:
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


def _enrol(args: argparse.Namespace, installation: Installation) -> int:
    line = enrol(installation, args.person, again=args.again)
    if not args.say.wants_json:
        print(line)
    args.say.notice(
        f"{args.person} adds this to an authenticator app now: it is not shown again. As a picture: qrencode -t utf8 LINE"
    )
    args.say.notice("Clear the terminal afterwards. `quell check` says whether everything is ready.")
    return int(args.say.result({"person": args.person, "otpauth": line}))


def _code(args: argparse.Namespace, installation: Installation) -> int:
    code = practice_code(installation, args.person)
    if not args.say.wants_json:
        print(code.digits)
    args.say.notice(
        f"{args.person}'s app shows this for {code.seconds} s more. Each code counts once; then wait for the next one."
    )
    return int(args.say.result({"person": args.person, "code": code.digits, "seconds": code.seconds}))


def _log(args: argparse.Namespace, installation: Installation) -> int:
    key = log_key(installation).verifier.line()
    if not args.say.wants_json:
        print(key)
    args.say.notice("Hand it to auditors now, by another way than the bundles: quell verify DIR --key KEY")
    return int(args.say.result({"key": key, "earlier": [one.line() for one in log_keys(installation)[:-1]]}))


def _rotate(args: argparse.Namespace, installation: Installation) -> int:
    before = log_key(installation).verifier.line()
    key = rotate(installation).line()
    args.say.line(
        "The log has another key. Both signed the change, it is an entry, and the old key's file is gone.", "bold"
    )
    args.say.pairs([("before", before), ("now", key)])
    args.say.line(
        "Hand the new one to auditors, by another way than the bundles. Whoever pinned the old one can go on: it leads"
    )
    args.say.line(
        "to the new one. If the old one was stolen, tell them to trust it no more: its thief can sign heads like you."
    )
    return int(args.say.result({"key": key, "before": before}))
