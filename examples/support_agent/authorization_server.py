"""The authorization server: RFC 6749 client credentials, RFC 7662 introspection, RFC 7009 revocation, RFC 8414 metadata.

Authlib's endpoint classes decide; Starlette carries. ``/admin/clients/{id}`` blocks a client reversibly, by
compare-and-set. Only the responder may use it, or revoke somebody else's token.
"""

from __future__ import annotations

import os
import secrets
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.support_agent.authorization_admin import RefusedError, admin_routes, refused
from examples.support_agent.authorization_store import Client, Store, Token
from examples.support_agent.layout import AGENT_CLIENT, RESPONDER_CLIENT, TOOL_SERVER_CLIENT, Layout, ServeSettings

TOKEN_SECONDS = 8 * 3600
SCOPES = {
    AGENT_CLIENT: "tools",
    TOOL_SERVER_CLIENT: "introspect",
    RESPONDER_CLIENT: "introspect revoke_any block_clients",
}


class FormRequest(OAuth2Request):  # type: ignore[misc]
    """A Starlette request whose form was already read, as Authlib wants it."""

    def __init__(self, request: Request, form: dict[str, str]) -> None:
        super().__init__(request.method, str(request.url), headers=dict(request.headers.items()))
        self.headers = request.headers
        self.payload = BasicOAuth2Payload(form)
        self._form = form

    @property
    def args(self) -> dict[str, str]:
        return {}

    @property
    def form(self) -> dict[str, str]:
        return self._form


class BasicClientCredentials(ClientCredentialsGrant):  # type: ignore[misc]
    """The grant, for clients that authenticate with HTTP Basic."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)


class Server(AuthorizationServer):  # type: ignore[misc]
    """Authlib's server on our store."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.register_grant(BasicClientCredentials)
        self.register_endpoint(Introspection)
        self.register_endpoint(Revocation)
        self.register_token_generator(
            "default",
            BearerTokenGenerator(lambda **_: secrets.token_urlsafe(32), expires_generator=TOKEN_SECONDS),
        )

    def query_client(self, client_id: str) -> Client | None:
        return self.store.client(client_id)

    def save_token(self, token: dict[str, Any], request: FormRequest) -> None:
        """Remember the token and tell its holder the ``jti``, the name under which the books know it."""
        token["jti"] = secrets.token_hex(8)
        self.store.save_token(
            token["access_token"], token["jti"], request.client.client_id, token["scope"], token["expires_in"]
        )

    def create_oauth2_request(self, request: FormRequest) -> FormRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Response:
        return JSONResponse(body, status, dict(headers))

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """No listeners."""


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """RFC 7662: who may ask, and what is told."""

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:  # noqa: ARG002
        return self._store.token(token_string)

    def check_permission(self, token: Token, client: Client, request: FormRequest) -> bool:  # noqa: ARG002
        return not client.blocked and (client.may("introspect") or client.client_id == token.client_id)

    def introspect_token(self, token: Token) -> dict[str, Any]:
        return {
            "active": True,
            "client_id": token.client_id,
            "sub": token.client_id,
            "scope": token.scope,
            "token_type": "Bearer",
            "iat": token.issued_at,
            "exp": token.expires_at,
            "jti": token.jti,
        }

    @property
    def _store(self) -> Store:
        store: Store = self.server.store
        return store


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009: 200 for unknown tokens too, so only introspection proves anything."""

    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:  # noqa: ARG002
        token: Token | None = self.server.store.token(token_string)
        return token

    def revoke_token(self, token: Token, request: FormRequest) -> None:  # noqa: ARG002
        self.server.store.revoke(token.jti)


def build(settings: ServeSettings) -> Starlette:
    """The ASGI application; registers the three clients with the secrets found in the world's directory."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP is fine: it never leaves loopback
    layout = Layout(settings.directory)
    store = Store(layout.authorization_file)
    for client_id, scope in SCOPES.items():
        store.register(client_id, layout.client_secret(client_id).read_text(encoding="utf-8"), scope)
    server = Server(store)
    issuer = settings.addresses.authorization

    async def read(request: Request) -> FormRequest:
        return FormRequest(request, dict(parse_qsl((await request.body()).decode("utf-8", "replace"))))

    async def token(request: Request) -> Response:
        response: Response = server.create_token_response(await read(request))
        return response

    async def introspect(request: Request) -> Response:
        response: Response = server.create_endpoint_response("introspection", await read(request))
        return response

    async def revoke(request: Request) -> Response:
        response: Response = server.create_endpoint_response("revocation", await read(request))
        return response

    async def metadata(_: Request) -> Response:
        return JSONResponse(
            {
                "issuer": issuer,
                "token_endpoint": f"{issuer}/token",
                "introspection_endpoint": f"{issuer}/introspect",
                "revocation_endpoint": f"{issuer}/revoke",
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": [],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
                "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
                "scopes_supported": sorted({scope for text in SCOPES.values() for scope in text.split()}),
            }
        )

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[
            Route("/token", token, methods=["POST"]),
            Route("/introspect", introspect, methods=["POST"]),
            Route("/revoke", revoke, methods=["POST"]),
            Route("/.well-known/oauth-authorization-server", metadata),
            Route("/healthz", health),
            *admin_routes(store),
        ],
        exception_handlers={RefusedError: refused},
    )
