"""Did the sender show a secret of its source? For those that cannot sign.

Compared in constant time, with every secret that is valid now; nothing here raises on what a sender wrote.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from runbooks.domain.signal import Strength
from runbooks.domain.sources import Token, TokenPlace
from tasks.intake.verifying import Key, Proof


def check_token(
    token: Token, keys: Iterable[Key], headers: Mapping[str, str], path: str, query: Mapping[str, str]
) -> Proof | None:
    """The proof, when the sender showed one of these secrets."""
    shown = hashlib.sha256(_shown(token, headers, path, query)).digest()
    found: str | None = None
    for key in keys:
        found = key.id if hmac.compare_digest(hashlib.sha256(key.shared).digest(), shown) else found
    return None if found is None else Proof(Strength.TOKEN, found)


def _shown(token: Token, headers: Mapping[str, str], path: str, query: Mapping[str, str]) -> bytes:
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    text = ""
    match token.place:
        case TokenPlace.BEARER:
            text = credential.strip() if scheme.lower() == "bearer" else ""
        case TokenPlace.BASIC:
            try:
                return base64.b64decode(credential.strip(), validate=True) if scheme.lower() == "basic" else b""
            except (binascii.Error, ValueError):
                return b""
        case TokenPlace.HEADER:
            text = headers.get(token.name.lower(), "")
        case TokenPlace.PATH:
            text = path
        case TokenPlace.QUERY:
            text = query.get(token.name, "")
    return text.encode("utf-8", "surrogatepass")
