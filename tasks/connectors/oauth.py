"""An OAuth 2 authorization server: block a client (reversible), revoke a token (not).

`block_client` reads and writes the client's record through the server's admin API, by compare-and-set where the server
gives an ETag. `revoke_token` is RFC 7009, and its 200 proves nothing, since a bogus token gets one too: only RFC 7662
introspection, before and after, tells. A self-contained token stays good at resource servers that never introspect:
block the client as well. A token is named by a reference; it never stands in a state, only a keyed digest of it does.
"""

import hashlib
import hmac
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import Field

from runbooks.domain.containment import ContainmentAction, Verb
from runbooks.domain.reference import SecretReference
from tasks.connectors._http import Answer, BaseUrl, Http, Network, demand_success
from tasks.connectors._signals import Act, MaybeDoneError, MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector, State

_KEPT = ("jti", "client_id", "sub", "exp")


class Settings(Network):
    """`issuer` and quell's own client at it. Endpoints come from the issuer's metadata unless stated."""

    issuer: BaseUrl
    client_id: str
    client_secret: SecretReference
    introspection_path: str | None = None
    revocation_path: str | None = None
    client_path: Annotated[str, Field(pattern=r"^/[^?#\s]*\{id\}[^?#\s]*$")] = "/admin/clients/{id}"
    """Path of one client's record below `issuer`."""
    blocked_field: str = "blocked"
    blocked_value: bool = True
    """What `blocked_field` is when the client is blocked; false where the field is called `enabled`."""
    tokens: dict[str, SecretReference] = Field(default={})
    """Tokens that may be revoked, by name: a target is a name of this table."""
    protected_clients: tuple[str, ...] = ()
    """Clients besides quell's own that are never blocked."""


class OAuth(Connector):
    """Targets: a client id (`block_client`), a name of `tokens` (`revoke_token`)."""

    verbs = frozenset({Verb.BLOCK_CLIENT, Verb.REVOKE_TOKEN})

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._settings = settings
        self._http = Http(settings.issuer, settings, self.deadline)

    def _observe(self, action: ContainmentAction) -> State:
        if action.verb is Verb.BLOCK_CLIENT:
            return self._client(action.target)[0]
        token = self._token(action.target)
        claims = self._introspect(token)
        mark = hmac.new(self._secret().encode(), token.encode(), hashlib.sha256).hexdigest()[:32]
        state = {"active": "true" if claims.get("active") is True else "false", "token_mark": mark}
        return state | {key: str(claims[key]) for key in _KEPT if state["active"] == "true" and key in claims}

    def _desired(self, act: Act) -> State:
        if act.action.verb is Verb.BLOCK_CLIENT:
            return {"blocked": "true"}
        return {"active": "false", "token_mark": act.photo.state["token_mark"]}

    def _apply(self, act: Act) -> None:
        if act.action.verb is Verb.BLOCK_CLIENT:
            self._write(act, blocked=True)
            return
        token = self._token(act.action.target)
        if self._observe(act.action) != act.current:
            raise NotDoneError(f"the token {shown(act.action.target)} is not the one that was looked at just now")
        path = self._settings.revocation_path or self._discovered("revocation_endpoint")
        answer = self._http.call("POST", path, form={"token": token}, auth=self._own())
        demand_success(answer, "revocation", (200,))

    def _restore(self, act: Act) -> None:
        self._write(act, blocked=act.photo.state["blocked"] == "true")

    def _conclusive(self, verb: Verb) -> bool:
        """A token that looks inactive may only belong to a blocked client. RFC 7009 revocation may be sent twice."""
        return verb is not Verb.REVOKE_TOKEN

    def _own_access(self, action: ContainmentAction) -> str | None:
        own = (self._settings.client_id, *self._settings.protected_clients)
        if action.verb is Verb.BLOCK_CLIENT:
            return f"the client {shown(action.target)} is quell's own or protected" if action.target in own else None
        client = self._introspect(self._token(action.target)).get("client_id")
        return f"the token belongs to the client {shown(client)}, quell's own or protected" if client in own else None

    def _check(self) -> list[str]:
        wrong = []
        if self._introspect("quell-check-no-such-token").get("active") is not False:
            wrong.append("introspection answers active for a token that does not exist")
        for reference in self._settings.tokens.values():
            self.place.secret(reference)
        return wrong

    def _client(self, client_id: str) -> tuple[State, str | None]:
        """Whether the client is blocked, and its ETag if the server gives one."""
        answer = self._http.call("GET", self._path(client_id), auth=self._own())
        if answer.status == 404:
            raise MissingError(f"the server knows no client {shown(client_id)}")
        demand_success(answer, "reading the client", (200,))
        value = _object(answer).get(self._settings.blocked_field)
        if not isinstance(value, bool):
            raise NotDoneError(f"the client's record has no {self._settings.blocked_field}: expected true or false")
        blocked = value is self._settings.blocked_value
        return {"blocked": "true" if blocked else "false"}, answer.headers.get("ETag")

    def _write(self, act: Act, *, blocked: bool) -> None:
        state, etag = self._client(act.action.target)
        if state != act.current:
            raise NotDoneError(f"the client {shown(act.action.target)} was changed by somebody else just now")
        value = self._settings.blocked_value if blocked else not self._settings.blocked_value
        answer = self._http.call(
            "PUT",
            self._path(act.action.target),
            json_body={self._settings.blocked_field: value},
            headers={"Idempotency-Key": act.key} | ({"If-Match": etag} if etag else {}),
            auth=self._own(),
        )
        demand_success(answer, "writing the client")

    def _path(self, client_id: str) -> str:
        if client_id in {"", ".", ".."}:
            raise MissingError("a client id is neither empty nor dots")
        return self._settings.client_path.replace("{id}", quote(client_id, safe=""))

    def _introspect(self, token: str) -> dict[str, Any]:
        path = self._settings.introspection_path or self._discovered("introspection_endpoint")
        answer = self._http.call("POST", path, form={"token": token}, auth=self._own())
        demand_success(answer, "introspection", (200,))
        return _object(answer)

    def _discovered(self, endpoint: str) -> str:
        """The path of an endpoint from RFC 8414 metadata; one on another host is refused, not followed."""
        for document in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
            answer = self._http.call("GET", document)
            if answer.status != 200:
                continue
            url = _object(answer).get(endpoint)
            if isinstance(url, str) and url.startswith(self._settings.issuer + "/") and not urlsplit(url).query:
                return url.removeprefix(self._settings.issuer)
            raise NotDoneError(
                f"the issuer's metadata names no {endpoint} below the issuer; state its path in settings"
            )
        raise NotDoneError(f"the issuer shows no metadata; state the path of its {endpoint} in settings")

    def _token(self, name: str) -> str:
        reference = self._settings.tokens.get(name)
        if reference is None:
            raise MissingError(f"settings.tokens has no {shown(name)}")
        return self.place.secret(reference)

    def _secret(self) -> str:
        return self.place.secret(self._settings.client_secret)

    def _own(self) -> tuple[str, str]:
        return self._settings.client_id, self._secret()


def _object(answer: Answer) -> dict[str, Any]:
    body = answer.json()
    if not isinstance(body, dict):
        raise MaybeDoneError(f"answered {answer.status} with JSON that is no object")
    return body


connect = OAuth
