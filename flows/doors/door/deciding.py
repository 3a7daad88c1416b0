"""`POST /decisions`: the signed answer of somebody who is not on the machine, through the one function of every door.

The body is `{"statement": {…}, "signature": "-----BEGIN SSH SIGNATURE…"}`, or a form with these two fields; the statement
is what `quell approve --print-statement` prints. Signatures only: a one-time code would let a stranger guess. Whoever does not know the
digest of a standing request, which nobody can guess, reaches neither the ledger nor anything else.
"""

import asyncio
from urllib.parse import parse_qs

import orjson
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from flows.doors.commands._bell import ring_bell
from flows.doors.door.answers import Refusal, refuse, say, unwell
from flows.doors.door.reading import SenderLeftError, read_body
from flows.doors.door.receiving import demand_readable
from flows.doors.door.reception import Reception
from runbooks.domain.approval import ApprovalRequest, RequestVerdict, Statement
from runbooks.domain.errors import ApprovalError, QuellError
from runbooks.domain.value import Json, Value
from tasks.approval import find_request
from tasks.decisions import submit_decision
from tasks.ledger import door_actor

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 64 * 1024
MOST_FIELDS = 10
AT_ONE_TIME = 4


class SignedDecision(Value):
    """What is posted."""

    statement: Statement
    signature: str


class DecisionRoute:
    """The route as ASGI calls it."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._turns = asyncio.Semaphore(AT_ONE_TIME)
        self._bells: set[asyncio.Task[object]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        counted, outcome = self._reception.counts.requests, "accepted"
        try:
            decision = await self._read(scope, receive)
            async with self._turns:
                request, verdict = await asyncio.to_thread(self._submit, decision)
        except Refusal as refusal:
            outcome = refusal.word
            await refuse(send, refusal)
        except SenderLeftError:
            outcome = "sender left"
        except ApprovalError as error:
            outcome = "not accepted"
            await say(send, 403, {"status": "refused", "because": error.problem, "next": error.next_step})
        except QuellError:
            outcome = "not recorded"
            await refuse(send, unwell(outcome))
        else:
            await say(send, 200, _shown(request, verdict))
            bell = asyncio.create_task(asyncio.to_thread(ring_bell, self._reception.installation, request.incident))
            self._bells.add(bell)
            bell.add_done_callback(self._bells.discard)
        counted["(decisions)", outcome] += 1

    async def _read(self, scope: Scope, receive: Receive) -> SignedDecision:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        demand_readable(headers, MOST_BYTES)
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in ("application/json", FORM):
            raise Refusal(415, "content type", close=True)
        body = await read_body(receive, keep=MOST_BYTES, most=MOST_BYTES, held=self._reception.held)
        try:
            return SignedDecision.model_validate(_of_form(body.kept) if media == FORM else orjson.loads(body.kept))
        except (ValidationError, ValueError):
            raise Refusal(400, "not a signed decision") from None

    def _submit(self, decision: SignedDecision) -> tuple[ApprovalRequest, RequestVerdict]:
        installation = self._reception.installation
        try:
            request = find_request(installation, decision.statement.request)
        except ApprovalError:
            raise Refusal(404, "unknown request") from None
        verdict = submit_decision(
            installation, decision.statement, door=door_actor("http"), signature=decision.signature
        )
        return request, verdict


def _of_form(body: bytes) -> Json:
    """Two files as `curl --data-urlencode` sends them."""
    fields = {key: values[-1] for key, values in parse_qs(body.decode(), max_num_fields=MOST_FIELDS).items()}
    return {**fields, "statement": orjson.loads(fields.get("statement", ""))}


def _shown(request: ApprovalRequest, verdict: RequestVerdict) -> Json:
    return {
        "status": "recorded", "request": request.id, "standing": verdict.standing, "because": verdict.because,
        "approvers": list(verdict.approvers), "still_needed": verdict.still_needed,
        "not_counted": list(verdict.not_counted),
    }  # fmt: skip
