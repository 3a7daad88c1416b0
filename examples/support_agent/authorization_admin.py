"""Blocking a client, reversibly: ``GET`` and ``PUT /admin/clients/{client_id}`` with ETag and If-Match."""

from __future__ import annotations

import json

from authlib.oauth2.rfc6749.util import extract_basic_authorization
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.support_agent.authorization_store import Client, Store


def _etag(client: Client) -> str:
    return f'"{client.version}"'


def _describe(client: Client) -> Response:
    body = {"client_id": client.client_id, "blocked": client.blocked, "scope": client.scope}
    return JSONResponse(body, headers={"ETag": _etag(client)})


def _error(status: int, error: str) -> Response:
    return JSONResponse({"error": error}, status)


def admin_routes(store: Store) -> list[Route]:
    """The admin API on ``store``; callers authenticate with HTTP Basic and need the scope ``block_clients``."""

    def refusal(request: Request) -> Response | None:
        client_id, secret = extract_basic_authorization(request.headers)
        caller = store.client(client_id) if client_id else None
        if caller is None or not secret or not caller.check_client_secret(secret):
            return _error(401, "invalid_client")
        if caller.blocked or not caller.may("block_clients"):
            return _error(403, "not_allowed")
        return None

    async def read(request: Request) -> Response:
        if (refused := refusal(request)) is not None:
            return refused
        client = store.client(request.path_params["client_id"])
        return _describe(client) if client else _error(404, "unknown_client")

    async def write(request: Request) -> Response:
        if (refused := refusal(request)) is not None:
            return refused
        client = store.client(request.path_params["client_id"])
        if client is None:
            return _error(404, "unknown_client")
        try:
            blocked = json.loads(await request.body())["blocked"]
        except (ValueError, KeyError, TypeError):
            return _error(400, "expected a JSON object with blocked: true or false")
        if not isinstance(blocked, bool):
            return _error(400, "expected a JSON object with blocked: true or false")
        expected = request.headers.get("If-Match")
        if expected not in (None, "*", _etag(client)):
            return _error(412, "stale_etag")
        if not store.set_blocked(client.client_id, blocked, client.version if expected else None):
            return _error(412, "stale_etag")
        after = store.client(client.client_id)
        return _describe(after) if after else _error(404, "unknown_client")

    path = "/admin/clients/{client_id}"
    return [Route(path, read, methods=["GET"]), Route(path, write, methods=["PUT"])]
