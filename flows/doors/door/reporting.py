"""`/report`: a form for people, where a source has the sender `report`. What is sent is kept like any other delivery.

Whoever has the receipt can see how the report stands; a receipt cannot be guessed.
"""

import asyncio
import base64
import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from flows.doors.door.answers import Refusal
from flows.doors.door.reading import SenderLeftError, read_body
from flows.doors.door.receiving import UNPROVEN, demand, demand_own_site, demand_readable
from flows.doors.door.reception import Reception
from flows.doors.door.report_page import STYLE, form_page, missing_page, receipt_page
from runbooks.domain.sources import TokenPlace
from tasks.intake.admitting import Admitted
from tasks.intake.committing import Arrival
from tasks.intake.fates import Fate, fate_of
from tasks.intake.receipts import receipt
from tasks.intake.tokens import check_token
from tasks.intake.verifying import Proof

SENDER = "report"
MOST_BYTES = 128 * 1024
MOST_FIELDS = 20
FORM = "application/x-www-form-urlencoded"
ASK = (b"www-authenticate", b'Basic realm="report", charset="UTF-8"')
RECEIPT = re.compile(r"DLV-[0-9A-HJKMNP-TV-Z]{26}")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store",
}  # fmt: skip
_WORDS = {
    Fate.RECEIVED: "We have it. Nobody has looked at it yet.",
    Fate.UNREAD: "We have it. It could not be read by itself; somebody will look at it.",
    Fate.NOTED: "We have it, and it was noted. No response was started because of it alone.",
    Fate.RESPONDING: "A response is going on because of it.",
    Fate.OVER: "The response that it belongs to is over.",
}


class ReportRoute:
    """The three routes, as one ASGI application."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        request, counted, outcome = Request(scope, receive), self._reception.counts.requests, "shown"
        try:
            source = self._source()
            if scope["method"] == "POST":
                answer, outcome = await self._take(source, request, receive)
            else:
                answer = await self._show(source, request)
        except Refusal as refusal:
            outcome = refusal.word
            answer = JSONResponse({"status": "refused", "because": refusal.word}, refusal.status)
            for name, value in refusal.headers:
                answer.headers[name.decode()] = value.decode()
        except SenderLeftError:
            counted["(report)", "sender left"] += 1
            return
        counted["(report)", outcome] += 1
        answer.headers.update(_HEADERS)
        await answer(scope, receive, send)

    def _source(self) -> Admitted:
        for one in self._reception.admitted.values():
            if one.source.sender == SENDER:
                return one
        raise self._reception.unknown("no form here")

    def _prove(self, source: Admitted, headers: Mapping[str, str]) -> Proof:
        """A browser is asked for name and password where the source wants a basic token; else the form is open.

        Whoever shows none is asked even while a secret cannot be read: else nobody could show another one.
        """
        token = source.source.token
        if token is None:
            return UNPROVEN
        if token.place is not TokenPlace.BASIC:
            raise Refusal(404, "no form here", close=True)
        proof = check_token(token, source.keys, headers, "", {})
        if proof is None and not ("authorization" in headers and source.unreadable):
            raise Refusal(401, "not proven", ASK, close=True)
        return demand(proof, source, close=True)

    async def _show(self, source: Admitted, request: Request) -> Response:
        named = request.path_params.get("receipt")
        if named is None:
            self._prove(source, dict(request.headers))
            return HTMLResponse(form_page(secrets.token_hex(16)))
        fate = None
        if RECEIPT.fullmatch(named):
            fate = await asyncio.to_thread(
                fate_of, self._reception.installation, self._reception.reading, named, source.name
            )
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"receipt": named, "state": fate}, 200) if fate else JSONResponse({"state": None}, 404)
        return HTMLResponse(receipt_page(named, _WORDS[fate])) if fate else HTMLResponse(missing_page(), 404)

    async def _take(self, source: Admitted, request: Request, receive: Receive) -> tuple[Response, str]:
        reception, now_ns, headers = self._reception, time.time_ns(), dict(request.headers)
        demand_own_site(headers)
        proof = self._prove(source, headers)
        reception.demand_room(source)
        demand_readable(headers, MOST_BYTES)
        if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise Refusal(415, "content type", close=True)
        body = await read_body(receive, keep=MOST_BYTES, most=MOST_BYTES, held=reception.held)
        if not _is_report(body.kept):
            return HTMLResponse(form_page(secrets.token_hex(16), "Please fill in the first two fields."), 400), "empty"
        named = receipt(now_ns)
        await reception.store(Arrival(
            named, source.name, now_ns, FORM, (), proof.strength, None, proof.secret, False, body.digest, body.kept,
        ))  # fmt: skip
        if "application/json" in headers.get("accept", ""):
            return JSONResponse({"status": "accepted", "receipt": named}), "accepted"
        return RedirectResponse(f"report/{named}", 303), "accepted"


def _is_report(body: bytes) -> bool:
    """Whether both fields that suffice are there. The text itself is looked at by nobody here."""
    try:
        found = parse_qs(body.decode(), max_num_fields=MOST_FIELDS)
    except ValueError:
        return False
    return all(found.get(name, [""])[0].strip() for name in ("system", "what_happened"))
