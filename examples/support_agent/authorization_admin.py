"""Blocking a client, reversibly: ``GET`` and ``PUT /admin/clients/{client_id}`` with ETag and If-Match."""

from __future__ import annotations

import json

from authlib.oauth2.rfc6749.util import extract_basic_authorization
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.support_agent.authorization_store import Client, Store


class RefusedError(Exception):
    """Nothing was changed: an HTTP status and a word that says why."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.response = JSONResponse({"error": error}, status)


async def refused(_request: Request, problem: Exception) -> Response:
    """Exception handler for ``RefusedError``."""
    if not isinstance(problem, RefusedError):
        raise problem
    return problem.response


def admin_routes(store: Store) -> list[Route]:
    """The admin API on ``store``; callers authenticate with HTTP Basic and need the scope ``block_clients``."""

    async def read(request: Request) -> Response:
        _check_caller(store, request)
        return _describe(_find(store, request))

    async def write(request: Request) -> Response:
        _check_caller(store, request)
        client = _find(store, request)
        blocked = _wanted(await request.body())
        expected = request.headers.get("If-Match")
        if expected not in {None, "*", _etag(client)}:
            raise RefusedError(412, "stale_etag")
        if not store.set_blocked(client.client_id, blocked, client.version if expected else None):
            raise RefusedError(412, "stale_etag")
        return _describe(_find(store, request))

    path = "/admin/clients/{client_id}"
    return [Route(path, read, methods=["GET"]), Route(path, write, methods=["PUT"])]


def _check_caller(store: Store, request: Request) -> None:
    client_id, secret = extract_basic_authorization(request.headers)
    caller = store.client(client_id) if client_id else None
    if caller is None or not secret or not caller.check_client_secret(secret):
        raise RefusedError(401, "invalid_client")
    if caller.blocked or not caller.may("block_clients"):
        raise RefusedError(403, "not_allowed")


def _find(store: Store, request: Request) -> Client:
    client = store.client(request.path_params["client_id"])
    if client is None:
        raise RefusedError(404, "unknown_client")
    return client


def _wanted(body: bytes) -> bool:
    try:
        wanted = json.loads(body)
    except ValueError:
        wanted = None
    if isinstance(wanted, dict) and isinstance(wanted.get("blocked"), bool):
        return bool(wanted["blocked"])
    raise RefusedError(400, "expected a JSON object with blocked: true or false")


def _etag(client: Client) -> str:
    return f'"{client.version}"'


def _describe(client: Client) -> Response:
    body = {"client_id": client.client_id, "blocked": client.blocked, "scope": client.scope}
    return JSONResponse(body, headers={"ETag": _etag(client)})
