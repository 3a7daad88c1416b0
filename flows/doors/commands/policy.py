"""`quell policy show|diff|activate`: who may decide what, and how a changed configuration becomes the one that holds."""

import argparse

from pydantic import ValidationError

from flows.doors.commands._proof import add_person, add_signing, print_statement, signature_from
from flows.doors.commands._say import Say, add_json
from runbooks.domain.configuration import Configuration, Right
from runbooks.domain.errors import ApprovalError
from runbooks.domain.signed import POLICY_NAMESPACE, Activation
from runbooks.domain.value import short
from tasks.installation import Installation, open_installation
from tasks.ledger import door_actor
from tasks.policy import activate_files, activation_of, differences, refusals_on_record


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments."""
    parser.add_argument("what", choices=["show", "diff", "activate"], help="show what holds; compare files; make it so")
    add_person(parser, required=False)
    add_signing(parser)
    add_json(parser)
    parser.epilog = f"Where the active policy names owners: quell {name} activate --as OWNER --key ~/.ssh/id_ed25519"


def run(args: argparse.Namespace) -> int:
    """One of the three."""
    installation = open_installation(args.home)
    installation.activate_if_fresh()
    return {"show": _show, "diff": _diff, "activate": _activate}[args.what](args, installation)


def _show(args: argparse.Namespace, installation: Installation) -> int:
    say: Say = args.say
    policy = installation.active().policy
    signatures = installation.signatures()
    entry = signatures.activations[-1]
    signer = signatures.signer(entry)
    signed = signer or f"nobody ({entry.body['proof']})"
    say.line(
        f"Active configuration {short(entry.subject['configuration'])}, since {entry.at[:19]} UTC, signed by {signed}"
    )
    say.line(f"Owners, who sign a change: {', '.join(policy.owners) or 'none: the installation itself activates'}")
    say.line(f"May waive the seal (unsafe to wait): {', '.join(policy.waiver_roles) or 'nobody'}")
    say.head("Rights: the first line that matches holds; what none matches, nobody may")
    say.table(
        ("", "for", "people", "of", "proof", "within"),
        (_right(n, right) for n, right in enumerate(policy.rights, start=1)),
    )
    say.head("Break-glass: one person alone, with a signature, given back by itself; never what cannot be undone")
    say.table(
        ("roles", "verbs", "systems", "at most", "review within"),
        (
            (", ".join(rule.roles), ", ".join(v.shown for v in rule.verbs), ", ".join(rule.systems),
             f"{rule.max_minutes} min", f"{rule.review_within_hours} h")
            for rule in policy.break_glass
        ),
        empty="nobody",
    )  # fmt: skip
    say.head("Pre-authorised: after the seal, without waiting")
    say.table(
        ("", "archetypes", "systems", "verbs", "severities", "by signals of", "an hour", "why"),
        (
            (rule.id, ", ".join(rule.archetypes), ", ".join(rule.systems), ", ".join(v.shown for v in rule.verbs),
             ", ".join(rule.severities) or "all", ", ".join(rule.sources) or "nobody", rule.incidents_per_hour, rule.why)
            for rule in policy.preauthorised
        ),
        empty="nothing",
    )  # fmt: skip
    shown = {
        "configuration": entry.subject["configuration"], "activated_at": entry.at, "entry": entry.index,
        "signed_by": signer, "policy": policy.as_json(),
    }  # fmt: skip
    return say.result(shown)


def _right(number: int, right: Right) -> tuple[object, ...]:
    narrowed = [
        ", ".join(part)
        for part in (
            right.purposes,
            tuple(v.shown for v in right.verbs),
            right.reversibilities,
            right.severities,
            right.systems,
        )
        if part
    ]
    return (
        number, "; ".join(narrowed) or "everything", right.people,
        " or ".join(right.roles) + (f", never {' or '.join(right.never)}" if right.never else ""), " or ".join(right.proofs),
        f"{right.expires_minutes} min",
    )  # fmt: skip


def _diff(args: argparse.Namespace, installation: Installation) -> int:
    say: Say = args.say
    changed = differences(installation.active(), installation.proposed())
    say.table(
        ("key", "active", "files"),
        ((one.key, one.active or "(not there)", one.files or "(not there)") for one in changed),
        empty="The files say what is active.",
    )
    if changed:
        say.line("The files grant nothing until: quell policy activate")
    return say.result({"same": not changed, "differences": [one.as_json() for one in changed]}, 1 if changed else 0)


def _activate(args: argparse.Namespace, installation: Installation) -> int:
    with refusals_on_record(installation, door_actor("cli"), args.person):
        return _activate_files(args, installation)


def _activate_files(args: argparse.Namespace, installation: Installation) -> int:
    say: Say = args.say
    files, before = installation.proposed(), installation.active_digest()
    if files.digest() == before:
        say.line("Nothing to do: the files say what is active.")
        return say.result({"configuration": before, "previous": before, "changed": False, "signed_by": None})
    activation = _activation(args, installation, files) if args.person else None
    if args.print_statement and activation is not None:
        again = ["quell", "policy", "activate", "--as", activation.person]
        return print_statement(activation.canonical(), POLICY_NAMESPACE, again)
    signature = signature_from(args, activation.canonical(), POLICY_NAMESPACE) if activation is not None else ""
    entry = activate_files(installation, files, activation, signature)
    signed = entry.actor.name if entry.body["signed_by_person"] else None
    digest = entry.subject["configuration"]
    say.line(
        f"Configuration {short(digest)} is active now, {f'signed by {signed}' if signed else 'not signed by a person'}.",
        "bold",
    )
    say.line("It holds at once for open requests too, where it is tighter: people, roles, proofs, rights, controls.")
    say.line("What it adds or loosens holds for requests that are asked from now on.")
    return say.result({"configuration": digest, "previous": before, "changed": True, "signed_by": signed})


def _activation(args: argparse.Namespace, installation: Installation, files: Configuration) -> Activation:
    try:
        return activation_of(installation, files, args.person)
    except ValidationError as error:
        raise ApprovalError(
            f"{args.person!r} is no name of config/people.toml.", now="the earlier configuration stays active.",
            next_step="use the name under which your key is listed.",
        ) from error  # fmt: skip
