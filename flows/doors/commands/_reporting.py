"""`quell signal report` and `state`: what somebody saw, in two fields, and how far it has come. The form's own routes."""

import argparse
import base64
import json
import re
import sys
import urllib.error
import urllib.request
import uuid
from urllib.parse import urlencode

from flows.doors.commands._say import plain
from flows.doors.door.address import door_url
from runbooks.domain.errors import ApprovalError, UnreachableError
from runbooks.domain.value import Json
from tasks.settings import resolve_secret

LONGEST = 20_000
SECONDS = 10
RECEIPT = re.compile(r"DLV-[0-9A-HJKMNP-TV-Z]{26}")
HOW_BAD = ("stopped", "exposure", "uncontrolled_action", "rights_or_safety")


def add_report(report: argparse.ArgumentParser) -> None:
    """Arguments; two suffice."""
    report.add_argument("--system", required=True, help="which AI system")
    report.add_argument("--what", required=True, metavar="TEXT", help="what you saw; - reads stdin")
    report.add_argument("--how-bad", choices=HOW_BAD, help="if you can say: stopped before harm, or what is touched")
    add_door(report)


def add_door(parser: argparse.ArgumentParser) -> None:
    """Where the form is, and its password where it has one."""
    parser.add_argument("--to", metavar="URL", help="the form's address, https://…/report; default: this home's door")
    parser.add_argument(
        "--secret", metavar="REF", help="file:PATH or env:NAME of user:password, where the form asks for it"
    )


def send_report(args: argparse.Namespace) -> int:
    """Send it, and say the receipt."""
    what = sys.stdin.read(LONGEST) if args.what == "-" else args.what
    fields = {"system": args.system, "what_happened": what, "how_bad": args.how_bad or "", "nonce": uuid.uuid4().hex}
    form = _form(args)
    answer = _ask(args, form, urlencode(fields).encode())
    receipt = plain(answer.get("receipt", ""), 40)
    args.say.line(f"Received: {receipt}", "bold")
    args.say.line(f"How it stands: quell signal state {receipt}, or {form}/{receipt}")
    return int(args.say.result({"receipt": receipt, "address": f"{form}/{receipt}"}))


def show_state(args: argparse.Namespace) -> int:
    """How far a report has come: received, unreadable, noted, responding, over."""
    if not RECEIPT.fullmatch(args.receipt):
        args.refuse("expected a receipt, DLV- and 26 letters and digits")
    state = plain(_ask(args, f"{_form(args)}/{args.receipt}").get("state"), 40)
    args.say.line(state, "bold")
    return int(args.say.result({"receipt": args.receipt, "state": state}))


def _form(args: argparse.Namespace) -> str:
    form = (args.to or (door_url(args.home) and f"{door_url(args.home)}/report")).rstrip("/")
    if not form:
        raise UnreachableError(
            "this home's door was never started.", now="nothing was sent.", next_step="`quell up`, or say --to URL."
        )
    if not form.startswith(("http://", "https://")):
        args.refuse("--to: expected an address that begins with https:// (or http:// on this machine)")
    return str(form)


def _ask(args: argparse.Namespace, url: str, body: bytes | None = None) -> dict[str, Json]:
    request = urllib.request.Request(url, data=body, headers={"accept": "application/json"})  # noqa: S310 - checked above
    if args.secret:
        if not args.secret.startswith(("file:", "env:")):
            args.refuse("--secret: expected a reference, file:PATH or env:NAME, found something else (not shown)")
        proof = base64.b64encode(resolve_secret(args.secret, args.home).encode()).decode()
        request.add_header("authorization", f"Basic {proof}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - the same
            found = json.loads(answer.read(65_536))
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error.code) from error
    except (OSError, ValueError) as error:
        raise UnreachableError(
            f"the door did not answer as expected ({type(error).__name__}).",
            now="unknown: it may have arrived; nothing else was done.", next_step="`quell up`, then try again.",
        ) from error  # fmt: skip
    return found if isinstance(found, dict) else {}


def _refused(status: int) -> ApprovalError | UnreachableError:
    if status >= 500:
        return UnreachableError(
            f"the door is unwell ({status}).", now="nothing was kept.", next_step="try again in a minute."
        )
    why = {
        401: ("the form wants a name and password.", "say --secret REF."),
        404: ("there is no such report, or no form here.", 'look at the receipt; a form needs a source with sender = "report".'),
    }  # fmt: skip
    problem, next_step = why.get(status, (f"the door refused it ({status}).", "fill in both fields."))
    return ApprovalError(problem, now="nothing was kept.", next_step=next_step)
