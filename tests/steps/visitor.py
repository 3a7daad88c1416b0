"""What schemathesis does at the door beside making requests up: it proves them like their sources, and writes its visits down.

What was reported it asks for by its receipt. The program loads this file by itself (tests/data/door.schemathesis.toml), in its own
process; what it shall do there stands in the variable QUELL_ERRAND.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import schemathesis
from pydantic import ValidationError
from requests import PreparedRequest
from schemathesis import Case, HookContext, Response

from runbooks.domain.approval import DECISION_NAMESPACE, Statement
from tasks.proofs import sign_bytes
from tests.steps.doorstep import WORDS, bearer, hub, signed

VARIABLE = "QUELL_ERRAND"


@dataclass(frozen=True)
class Errand:
    """What one run of schemathesis is for."""

    book: str = os.devnull
    """Where visits are written down."""
    proves: bool = False
    """Whether each signal carries the proof that its source wants."""
    installation: str = ""
    standing: dict[str, str] = field(default_factory=dict)
    """Digests of requests that stand, by the answer that they get: decisions are about them."""
    keys: dict[str, str] = field(default_factory=dict)
    """People's key files: decisions are signed with them."""


@dataclass(frozen=True)
class Visit:
    """One request and its answer."""

    route: str
    method: str
    url: str
    sent: str
    status: int
    said: str
    location: str

    @property
    def source(self) -> str:
        return source_in(self.url)

    @property
    def body(self) -> bytes:
        return base64.b64decode(self.sent)

    @property
    def statement(self) -> Any:
        """What was posted as decided."""
        if self.body.startswith(b"{"):
            return json.loads(self.body)["statement"]
        return json.loads(parse_qs(self.body.decode())["statement"][0])

    @property
    def receipt(self) -> str | None:
        """What the door calls the delivery that it says it has taken."""
        if self.method != "POST" or self.route == "/decisions" or self.status not in (200, 303):
            return None
        return self.location.removeprefix("report/") if self.status == 303 else str(json.loads(self.said)["receipt"])


def visits_in(book: Path) -> Iterator[Visit]:
    """All that were written down."""
    for line in book.read_text().splitlines():
        yield Visit(**json.loads(line))


def slack(body: bytes) -> dict[str, str]:
    """The headers of a slash command."""
    at = str(int(time.time()))
    mac = hmac.new(WORDS["new"].encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": at, "x-slack-signature": f"v0={mac}"}


HEADS: dict[str, Callable[[bytes], dict[str, str]]] = {
    "github": hub,
    "alerts": lambda _: bearer("old"),
    "detector": signed,
    "lost": lambda _: bearer("new"),
    "commands": slack,
    "anybody": lambda _: {},
    "people": lambda _: {},
}
PLACES = {"secret-path": f"/{WORDS['new']}", "query": f"?auth_token={WORDS['new']}"}
PROVABLE = HEADS.keys() | PLACES.keys()
JSON_TURNS = cycle(sorted(PROVABLE - {"commands", "people"}))
FORM_TURNS = cycle(["commands", "people", "anybody"])
"""Who is next to send a body of this kind: chance alone would leave some out."""
TAKEN: list[str] = []
"""The receipts of what was reported in this run, oldest first."""
RECEIPT_TURNS = cycle([True, False])
"""Whether the next question is about a receipt that was given: chance alone follows a link rarely, and in some runs never."""


def source_in(url: str) -> str:
    """The source that an address names; empty when it names none."""
    _, _, after = urlsplit(url).path.partition("/signals/")
    return after.partition("/")[0]


def next_for(media_type: str) -> str:
    """The next source in turn that takes such a body; whoever takes anything, for all others."""
    if media_type.endswith("json"):
        return next(JSON_TURNS)
    return next(FORM_TURNS) if media_type.endswith("urlencoded") else "anybody"


def bytes_of(request: PreparedRequest) -> bytes:
    """The body as it goes over the wire."""
    body = request.body or b""
    assert isinstance(body, bytes | str)
    return body.encode() if isinstance(body, str) else body


def proven(request: PreparedRequest) -> PreparedRequest:
    """The request with the proof that its source wants; called last, when the bytes of the body are known."""
    url = str(request.url)
    source = source_in(url)
    if source in PLACES:
        request.url = f"{url.partition('/signals/')[0]}/signals/{source}{PLACES[source]}"
    elif source in HEADS:
        request.headers.update(HEADS[source](bytes_of(request)))
    return request


def decided(errand: Errand, body: Any) -> Any:
    """What was made up, as a decision about a request that stands, signed by whom it names; what cannot be one stays as it is."""
    told: Any = body.get("statement") if isinstance(body, dict) and "signature" in body else None
    form = isinstance(told, str)
    if form:
        told = {"answer": "approve", "person": "ana", "reason": told}
    try:
        here = {"installation": errand.installation, "request": errand.standing[told["answer"]]}
        statement = Statement.model_validate(told | here)
    except (KeyError, TypeError, ValidationError):
        return body
    key = Path(errand.keys.get(statement.person, errand.keys["ana"]))
    signature = sign_bytes(statement.canonical(), key, namespace=DECISION_NAMESPACE)
    shown = statement.as_json()
    return body | {"statement": json.dumps(shown) if form else shown, "signature": signature}


ERRAND = Errand(**json.loads(os.environ.get(VARIABLE, "{}")))


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """The last word before a request is sent."""
    del context
    kwargs["allow_redirects"] = False
    if ERRAND.proves:
        kwargs["auth"] = proven
        if case.path_parameters.get("source") in PROVABLE:
            case.path_parameters = {**case.path_parameters, "source": next_for(case.media_type or "")}
    if case.path == "/report/{receipt}" and TAKEN and next(RECEIPT_TURNS):
        case.path_parameters = {**case.path_parameters, "receipt": TAKEN[-1]}
    if ERRAND.standing and case.path == "/decisions":
        case.body = decided(ERRAND, case.body)


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """Written down before it is judged."""
    del context
    request = response.request
    visit = Visit(
        case.path, str(request.method), str(request.url), base64.b64encode(bytes_of(request)).decode(), response.status_code,
        response.content.decode(errors="replace"), response.headers.get("location", [""])[0],
    )  # fmt: skip
    if visit.route == "/report" and visit.receipt:
        TAKEN.append(visit.receipt)
    with Path(ERRAND.book).open("a") as book:
        book.write(json.dumps(asdict(visit)) + "\n")
