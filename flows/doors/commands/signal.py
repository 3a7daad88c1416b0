"""`quell signal`: send one, signed; see what a delivery would be read as; read again after a mapping was corrected."""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flows.doors.commands._reporting import add_door, add_report, send_report, show_state
from flows.doors.commands._rereading import add_replay, replay_deliveries
from flows.doors.commands._say import Say, add_json, plain
from flows.doors.door.address import door_url
from flows.doors.sender import WAITS, NotSentError, deliver, signal_body
from runbooks.domain.classification import classify, rules_of
from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ApprovalError, IntakeDefectError, UnreachableError
from runbooks.domain.instants import Instant
from runbooks.domain.mapping import BodyFormat
from runbooks.domain.signal import Delivery, Strength
from runbooks.domain.sources import SecretForm, Source
from runbooks.domain.value import Json, digest_of
from runbooks.loader import load_book
from tasks.installation import open_installation
from tasks.intake.normalising import Normalised, normalise
from tasks.intake.receipts import receipt
from tasks.ledger import clock
from tasks.settings import resolve_secret

CONTENT_TYPES = {BodyFormat.JSON: "application/json", BodyFormat.FORM: "application/x-www-form-urlencoded",
                 BodyFormat.CLOUDEVENTS: "application/cloudevents+json"}  # fmt: skip
LONGEST = 20_000


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """Arguments of each of its words."""
    words = parser.add_subparsers(dest="word", required=True, metavar="send|report|state|read|replay")
    send = words.add_parser("send", help="send one signal, signed by Standard Webhooks")
    send.add_argument("--source", help="the source that it is sent as; default: the one that signs so")
    send.add_argument("--to", metavar="URL", help="the door's address with /signals/SOURCE; default: this home's door")
    send.add_argument("--secret", metavar="REF", help="file:PATH or env:NAME; default: the source's own")
    send.add_argument("--type", required=True, metavar="KIND", help="what happened: tool_use.untrusted")
    send.add_argument("--system", help="the AI system's short name in the inventory")
    send.add_argument("--text", metavar="TEXT", help="what was seen; - reads stdin")
    send.add_argument("--archetype", help="what kind of incident it is, when you know: prompt-injection")
    send.add_argument("--label", action="append", default=[], metavar="L", help="may be repeated")
    for key in ("environment", "severity", "title", "entity"):
        send.add_argument(f"--{key}")
    send.add_argument("--alert", metavar="NAME", help="under which it fires and is later resolved")
    send.add_argument("--resolved", action="store_true", help="it is over")
    send.add_argument("--near-miss", action="store_true", help="it was stopped before harm")
    send.add_argument("--id", metavar="ID", help="of the event; the same id counts once")
    add_json(send)
    report = words.add_parser("report", help="tell what you saw, as the form does; you get a receipt")
    add_report(report)
    add_json(report)
    state = words.add_parser("state", help="how far a report has come")
    state.add_argument("receipt", metavar="DLV")
    add_door(state)
    add_json(state)
    read = words.add_parser("read", help="which signals a body becomes, by the files' mapping; nothing is kept")
    read.add_argument("source", help="a source of config/sources.toml")
    read.add_argument("file", help="the body as it is sent; - reads stdin")
    read.add_argument("--content-type", metavar="T")
    read.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="one that the mapping reads")
    add_json(read)
    replay = words.add_parser("replay", help="after a mapping was corrected: read what came before it again")
    add_replay(replay)
    add_json(replay)
    for one in (send, report, state, read, replay):
        one.set_defaults(refuse=one.error)
    parser.epilog = (
        f"Example: quell {name} send --type tool_use.untrusted --system support-agent --archetype prompt-injection"
    )


def run(args: argparse.Namespace) -> int:
    """The word that was said."""
    work = {
        "send": _send, "report": send_report, "state": show_state, "read": _read, "replay": replay_deliveries,
    }  # fmt: skip
    return int(work[args.word](args))


def _send(args: argparse.Namespace) -> int:
    text = sys.stdin.read(LONGEST) if args.text == "-" else args.text
    told: dict[str, Json] = {
        "system": args.system, "environment": args.environment, "archetype": args.archetype, "labels": args.label,
        "severity": args.severity, "title": args.title, "text": text, "alert": args.alert, "entity": args.entity,
        "state": "resolved" if args.resolved else None, "near_miss": args.near_miss,
    }  # fmt: skip
    body = signal_body(args.type, {key: value for key, value in told.items() if value})
    where = _destination(args)
    try:
        answer = deliver(where.url, where.secret, body, message_id=args.id, waits=WAITS[:3])
    except ValueError as error:
        raise ApprovalError(f"{error}.", now="nothing was sent.", next_step="correct --to or --secret.") from error
    except NotSentError as error:
        raise UnreachableError(
            str(error), now="unknown: it may have arrived; a signal with the same --id counts once."
            if error.status is None or error.status >= 500 else "it was refused; nothing was kept.",
            next_step="`quell up`, then send it again." if error.status is None
            else "look at the source's name, its secret and this machine's clock.",
        ) from error  # fmt: skip
    found = _receipt(answer)
    args.say.line(f"Received: {found or plain(answer, 200)}", "bold")
    return int(args.say.result({"receipt": found, "to": where.url}))


def _receipt(answer: str) -> str | None:
    try:
        decoded = json.loads(answer)
    except ValueError:
        return None
    found = decoded.get("receipt") if isinstance(decoded, dict) else None
    return found if isinstance(found, str) else None


@dataclass(frozen=True)
class _Destination:
    url: str
    secret: str


def _destination(args: argparse.Namespace) -> _Destination:
    """Where to and with which secret; the installation is looked at only for what was not said."""
    if args.to and args.secret:
        return _Destination(args.to, resolve_secret(_reference(args), args.home))
    installation = open_installation(args.home)
    installation.activate_if_fresh()
    sources = installation.active().sources
    signing = {name: source for name, source in sources.items() if _signs_so(source)}
    name = args.source or (next(iter(signing)) if len(signing) == 1 else None)
    if name not in signing:
        raise ApprovalError(
            f"expected --source to be one that signs by Standard Webhooks, found {name or 'none'}.",
            now="nothing was sent.", next_step=f"name one of {', '.join(sorted(signing)) or '(none is configured)'}.",
        )  # fmt: skip
    url = args.to or _own_door(args.home) + f"/signals/{name}"
    now = clock()
    reference = args.secret or next((one.secret for one in signing[name].secrets if one.holds(now)), None)
    if reference is None:
        raise ApprovalError(
            f"no secret of {name} is valid now.", now="nothing was sent.", next_step=f"give {name} one in sources.toml."
        )
    return _Destination(url, resolve_secret(_reference(args) if args.secret else reference, args.home))


def _reference(args: argparse.Namespace) -> str:
    if not args.secret.startswith(("file:", "env:")):
        args.refuse("--secret: expected a reference, file:PATH or env:NAME, found something else (not shown)")
    return str(args.secret)


def _signs_so(source: Source) -> bool:
    signing = source.signing
    return signing is not None and signing.secret_form is SecretForm.WHSEC and signing.header == "webhook-signature"


def _own_door(home: Path) -> str:
    url = door_url(home)
    if not url:
        raise UnreachableError(
            "this home's door was never started.", now="nothing was sent.", next_step="`quell up`, or say --to URL."
        )
    return url


def _read(args: argparse.Namespace) -> int:
    configuration = open_installation(args.home).proposed()
    if args.source not in configuration.sources:
        listed = ", ".join(sorted(configuration.sources)) or "(none is configured)"
        args.refuse(f"expected a source of config/sources.toml: one of {listed}; found {args.source}")
    source = configuration.sources[args.source]
    raw = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    try:
        said = normalise(_delivery(args, source, raw, clock()), raw, source)
    except IntakeDefectError as error:
        args.say.line(f"A defect: {error.problem}", "bold")
        return int(args.say.result({"defect": error.problem, "signals": []}, 1))
    return _show(args.say, configuration, said)


def _delivery(args: argparse.Namespace, source: Source, raw: bytes, now: Instant) -> Delivery:
    headers = [tuple(part.strip() for part in header.partition(":")[::2]) for header in args.header]
    try:
        return Delivery(
            id=receipt(time.time_ns()), source=args.source, received_at=now, strength=Strength.UNPROVEN,
            content_type=args.content_type or CONTENT_TYPES[source.body], body_digest=digest_of(raw),
            headers=tuple((name.lower(), value) for name, value in headers),
        )  # fmt: skip
    except ValidationError as error:
        args.refuse(f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}")
        raise AssertionError("unreachable") from error


def _show(say: Say, configuration: Configuration, said: Normalised) -> int:
    rules = rules_of(configuration, load_book())
    shown: list[Json] = []
    for signal in said.signals:
        found = classify(signal, rules)
        say.head(f"{signal.kind}  {signal.state}")
        near = ", stopped before harm" if found.near_miss else ""
        say.table(("", ""), (
            ("system", signal.system or "(named nowhere: say scope.system)"),
            ("is", f"{found.outcome.replace('_', ' ')}{near}: {found.archetype.shown} runbook, by {found.basis}"),
            ("severity", f"{found.severity.severity}{' (provisional)' if found.severity.provisional else ''}"),
            ("because", "\n".join(found.reasons)),
            ("labels", ", ".join(signal.labels) or "none"),
            ("text", plain(signal.text, 400)),
        ))  # fmt: skip
        shown.append({"signal": signal.as_json(), "classified": found.as_json()})
    if not said.signals:
        say.line("It says nothing: a heartbeat, or an event that the mapping skips.")
    if said.defect:
        say.line(f"A defect: {said.defect}", "bold")
    return say.result({"defect": said.defect or None, "signals": shown}, 1 if said.defect else 0)
