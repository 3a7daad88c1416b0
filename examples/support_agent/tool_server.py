"""The tool server: the last door before money moves.

Each call must pass two independent checks, its caller's token (asked of the authorization server each time, never
cached) and the tool's feature flag. Every call is written into the book before it is answered.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.support_agent.book import Book, Entry
from examples.support_agent.flags import Flags
from examples.support_agent.layout import TOOL_SERVER_CLIENT, TOOLS, TRIAL_HEADER, Layout, ServeSettings
from examples.support_agent.tools import Arguments, Shop, ToolError, is_canary, parse


@dataclass(frozen=True)
class Caller:
    """Who calls, as the authorization server knows them; ``refusal`` is a status and a word, or None when let in."""

    subject: str | None = None
    jti: str | None = None
    refusal: tuple[int, str] | None = None


class Introspector:
    """Asks the authorization server about every token, every time."""

    def __init__(self, address: str, secret: str) -> None:
        self._url = f"{address}/introspect"
        self.http = httpx.AsyncClient(timeout=5.0, auth=(TOOL_SERVER_CLIENT, secret), trust_env=False)

    async def caller(self, request: Request) -> Caller:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            return Caller(refusal=(401, "invalid_token"))
        try:
            answer = await self.http.post(self._url, data={"token": token})
            answer.raise_for_status()
            claims: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError):
            return Caller(refusal=(503, "introspection_unavailable"))
        if claims.get("active") is not True:
            return Caller(refusal=(401, "invalid_token"))
        known = Caller(claims["client_id"], claims["jti"])
        if "tools" not in str(claims.get("scope", "")).split():
            return Caller(known.subject, known.jti, (403, "insufficient_scope"))
        return known


class Door:
    """Lets a call in or refuses it, and books which."""

    def __init__(self, introspector: Introspector, flags: Flags, book: Book) -> None:
        self._introspector = introspector
        self._flags = flags
        self.book = book
        self._shop = Shop()

    async def call(self, tool: str, request: Request) -> Response:
        try:
            arguments = json.loads(await request.body())
        except ValueError:
            arguments = None
        caller = await self._introspector.caller(request)
        # No await from here on: the event loop makes check, effect and booking one step.
        entry = _entry(tool, arguments, request, caller)
        refusals = [] if caller.refusal is None else [caller.refusal]
        if not self._flags.enabled(tool):
            refusals.append((403, "tool_disabled"))
        try:
            parsed = parse(tool, entry.arguments)
            entry = entry.model_copy(update={"canary": is_canary(parsed, trial=entry.trial)})
            return self._refuse(entry, refusals) if refusals else self._do(entry, parsed)
        except ToolError as problem:
            return self._refuse(entry, [*refusals, (problem.status, problem.error)])

    def _do(self, entry: Entry, arguments: Arguments) -> Response:
        if entry.trial and not entry.canary:
            raise ToolError(422, "not_a_canary")
        if (earlier := self._replay(entry)) is not None:
            return earlier
        result, cents = self._shop.run(arguments, canary=entry.canary)
        done = entry.model_copy(update={"outcome": "done", "moved_cents": cents, "result": result})
        return self._answer(done, 200, result)

    def _replay(self, entry: Entry) -> Response | None:
        if entry.idempotency_key is None or entry.subject is None:
            return None
        earlier = self.book.done(entry.subject, entry.idempotency_key)
        if earlier is None:
            return None
        if earlier.arguments != entry.arguments:
            raise ToolError(422, "idempotency_key_reused")
        return self._answer(entry.model_copy(update={"outcome": "replayed"}), 200, earlier.result or {})

    def _refuse(self, entry: Entry, refusals: list[tuple[int, str]]) -> Response:
        """Answer with the first refusal; ``refused_by`` names all, so that a probe of one is not hidden by another."""
        status, error = refusals[0]
        body = {"error": error, "refused_by": [word for _, word in refusals]}
        return self._answer(entry.model_copy(update={"reason": error}), status, body)

    def _answer(self, entry: Entry, status: int, body: dict[str, Any]) -> Response:
        headers = {"X-Book-Seq": str(self.book.append(entry))}
        if entry.subject and entry.jti:
            headers |= {"X-Token-Client": entry.subject, "X-Token-Jti": entry.jti}
        if entry.outcome == "replayed":
            headers["Idempotency-Replayed"] = "true"
        return JSONResponse(body, status, headers)


def _entry(tool: str, arguments: object, request: Request, caller: Caller) -> Entry:
    """What is known of a call before it is judged."""
    trial = request.headers.get(TRIAL_HEADER)
    return Entry(
        tool=tool,
        arguments=arguments if isinstance(arguments, dict) else {"not_an_object": arguments},
        subject=caller.subject,
        jti=caller.jti,
        outcome="refused",
        trial=trial is not None,
        trial_id=trial,
        trace_id=_trace_id(request),
        idempotency_key=request.headers.get("Idempotency-Key") if tool == "issue_refund" else None,
    )


def _trace_id(request: Request) -> str | None:
    """The trace id of a W3C ``traceparent`` header (32 hex digits)."""
    parts = request.headers.get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None


def build(settings: ServeSettings) -> Starlette:
    """The ASGI application."""
    layout = Layout(settings.directory)
    secret = layout.client_secret(TOOL_SERVER_CLIENT).read_text(encoding="utf-8")
    introspector = Introspector(settings.addresses.authorization, secret)
    door = Door(introspector, Flags(layout.flags_file), Book(layout.book_file))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with introspector.http:
            yield

    async def call(request: Request) -> Response:
        tool = request.path_params["tool"]
        return await door.call(tool, request) if tool in TOOLS else JSONResponse({"error": "unknown_tool"}, 404)

    async def book(request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            return JSONResponse({"error": "since must be a whole number"}, 400)
        rows = [row.model_dump() for row in door.book.since(int(since))]
        return JSONResponse({"rows": rows, "last_seq": rows[-1]["seq"] if rows else int(since)})

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[
            Route("/tools/{tool}", call, methods=["POST"]),
            Route("/book", book),
            Route("/healthz", health),
        ],
        lifespan=lifespan,
    )
