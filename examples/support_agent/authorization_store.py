"""Clients and tokens of the authorization server, durable in SQLite. Secrets and tokens are kept as digests."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin

SCHEMA = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
CREATE TABLE IF NOT EXISTS client (
  client_id TEXT PRIMARY KEY, secret_digest TEXT NOT NULL, scope TEXT NOT NULL,
  blocked INTEGER NOT NULL DEFAULT 0, version INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS token (
  digest TEXT PRIMARY KEY, jti TEXT NOT NULL UNIQUE, client_id TEXT NOT NULL REFERENCES client,
  scope TEXT NOT NULL, issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0);
"""


def digest(secret: str) -> str:
    """SHA-256 in hex. Enough here, since all our secrets are 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]
    """A confidential OAuth client; ``version`` counts its changes and is its ETag."""

    client_id: str
    secret_digest: str
    scope: str
    blocked: bool
    version: int

    def may(self, scope: str) -> bool:
        return scope in self.scope.split()

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(self.secret_digest, digest(client_secret))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials" and not self.blocked

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """All its scopes if none is named; None (refused) if it asks for more than it may have."""
        if not scope:
            return self.scope
        return scope if set(scope.split()) <= set(self.scope.split()) else None


@dataclass(frozen=True)
class Token(TokenMixin):  # type: ignore[misc]
    """An access token as the server remembers it; times are seconds since the epoch."""

    jti: str
    client_id: str
    scope: str
    issued_at: int
    expires_at: int
    revoked: bool
    client_blocked: bool

    def check_client(self, client: Client) -> bool:
        """Its own client may revoke it, and so may one with the scope ``revoke_any`` (the responder)."""
        return client.client_id == self.client_id or client.may("revoke_any")

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at

    def is_revoked(self) -> bool:
        """A blocked client's tokens count as revoked for as long as the block lasts."""
        return self.revoked or self.client_blocked


class Store:
    """All reads and writes. One instance per process; the server is single-threaded."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(SCHEMA)

    def register(self, client_id: str, secret: str, scope: str) -> None:
        """Make the client known; a known one keeps its block."""
        self._connection.execute(
            "INSERT INTO client (client_id, secret_digest, scope) VALUES (?, ?, ?) ON CONFLICT (client_id)"
            " DO UPDATE SET secret_digest = excluded.secret_digest, scope = excluded.scope",
            (client_id, digest(secret), scope),
        )

    def client(self, client_id: str) -> Client | None:
        row = self._connection.execute(
            "SELECT client_id, secret_digest, scope, blocked, version FROM client WHERE client_id = ?", (client_id,)
        ).fetchone()
        return Client(row[0], row[1], row[2], bool(row[3]), row[4]) if row else None

    def set_blocked(self, client_id: str, blocked: bool, expected_version: int | None) -> bool:
        """Compare-and-set; False when ``expected_version`` (None: any) is stale. The version changes at every write."""
        changed = self._connection.execute(
            "UPDATE client SET blocked = ?, version = version + 1 WHERE client_id = ? AND version = ifnull(?, version)",
            (blocked, client_id, expected_version),
        )
        return changed.rowcount == 1

    def save_token(self, access_token: str, jti: str, client_id: str, scope: str, seconds: int) -> None:
        now = int(time.time())
        self._connection.execute(
            "INSERT INTO token (digest, jti, client_id, scope, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
            (digest(access_token), jti, client_id, scope, now, now + seconds),
        )

    def token(self, access_token: str) -> Token | None:
        row = self._connection.execute(
            "SELECT jti, token.client_id, token.scope, issued_at, expires_at, revoked, blocked"
            " FROM token JOIN client USING (client_id) WHERE digest = ?",
            (digest(access_token),),
        ).fetchone()
        return Token(*row[:5], revoked=bool(row[5]), client_blocked=bool(row[6])) if row else None

    def revoke(self, jti: str) -> None:
        self._connection.execute("UPDATE token SET revoked = 1 WHERE jti = ?", (jti,))
