"""Far sides on the practice token server: its client records, its tokens, and the same through configuration alone."""

import base64
import secrets
from pathlib import Path
from typing import Any

from examples.support_agent.authorization_store import Store
from examples.support_agent.layout import RESPONDER_CLIENT, Layout
from runbooks.domain.containment import Reversibility, Verb
from tests.contracts.connectors.far_side import LIMITS, FarSide, practice
from tests.contracts.connectors.wire import Wire


def _responder_secret() -> str:
    return practice().describe.secret_paths[f"{RESPONDER_CLIENT}.client_secret"].read_text()


def store_of_practice() -> Store:
    """The token server's own store: two processes may have it open."""
    return Store(Layout(practice().describe.directory).authorization_file)


def _client(store: Store, client_id: str) -> Any:
    client = store.client(client_id)
    assert client
    return client


def _oauth(verb: Verb, target: str, tokens: dict[str, str], wire: Wire) -> dict[str, Any]:
    assert verb
    assert target
    return {
        "issuer": wire.url,
        "client_id": RESPONDER_CLIENT,
        "client_secret": "file:responder",
        "introspection_path": "/introspect",
        "revocation_path": "/revoke",
        "tokens": {name: f"file:{name}" for name in tokens},
        **LIMITS,
    }


def block_client(folder: Path) -> FarSide:
    assert folder
    wire, store, client_id = (
        Wire(practice().describe.addresses.authorization),
        store_of_practice(),
        f"shop-{secrets.token_hex(4)}",
    )
    store.register(client_id, "shop secret", "tools")

    def give_back() -> None:
        store.set_blocked(client_id, blocked=False, expected_version=None)

    return FarSide(
        kind="oauth",
        verb=Verb.BLOCK_CLIENT,
        settings=_oauth(Verb.BLOCK_CLIENT, client_id, {}, wire),
        secrets={"file:responder": _responder_secret()},
        target=client_id,
        missing="shpo",
        own=RESPONDER_CLIENT,
        taken_away=lambda: bool(_client(store, client_id).blocked),
        effects=lambda: int(_client(store, client_id).version) - 1,
        give_back=give_back,
        wire=wire,
        effect=rb"^PUT /admin/clients/",
        down=wire.close,
    )


def revoke_token(folder: Path) -> FarSide:
    assert folder
    wire, store = Wire(practice().describe.addresses.authorization), store_of_practice()
    client_id, jti, token = f"shop-{secrets.token_hex(4)}", secrets.token_hex(8), secrets.token_urlsafe(32)
    own_jti, own_token = secrets.token_hex(8), secrets.token_urlsafe(32)
    store.register(client_id, "shop secret", "tools")
    store.save_token(token, jti, client_id, "tools", 3600)
    store.save_token(own_token, own_jti, RESPONDER_CLIENT, "introspect", 3600)

    def revoked() -> bool:
        found = store.token(token)
        assert found
        return bool(found.revoked)

    return FarSide(
        kind="oauth",
        verb=Verb.REVOKE_TOKEN,
        settings=_oauth(Verb.REVOKE_TOKEN, "agent", {"agent": token, "own": own_token}, wire),
        secrets={"file:responder": _responder_secret(), "file:agent": token, "file:own": own_token},
        target="agent",
        missing="agnet",
        own="own",
        taken_away=revoked,
        effects=lambda: int(revoked()),  # the same revocation again changes nothing (RFC 7009)
        conclusive=False,
        wire=wire,
        effect=rb"^POST /revoke ",
        down=wire.close,
    )


def http_action(folder: Path) -> FarSide:
    """The same client record, reached by nothing but configuration."""
    side = block_client(folder)
    assert side.wire
    basic = base64.b64encode(f"{RESPONDER_CLIENT}:{_responder_secret()}".encode()).decode()
    record = {"method": "GET", "path": "/admin/clients/{target}"}
    change = {"method": "PUT", "path": "/admin/clients/{target}"}
    side.kind, side.verb, side.reversibility = "http_action", Verb.CALL_HTTP, Reversibility.R1
    side.secrets = {"file:basic": basic}
    side.desired = {"blocked": "true"}
    side.repeatable = False
    side.settings = {
        "base_url": side.wire.url,
        "headers": {"Authorization": "Basic {secret:basic}"},
        "secrets": {"basic": "file:basic"},
        "reversibility": "R1",
        "capture": {"request": record, "extract": {"blocked": "blocked"}},
        "apply": {
            "request": {**change, "json": {"blocked": "{desired:blocked|json}"}},
            "ok": {"status": [200], "json_field": "blocked", "any_of": [True]},
        },
        "verify": {"request": record, "extract": {"blocked": "blocked"}, "expect": {"blocked": "{desired:blocked}"}},
        "undo": {"request": {**change, "json": {"blocked": "{captured:blocked|json}"}}},
        "protected_targets": [RESPONDER_CLIENT],
        **LIMITS,
    }
    return side
