"""Who may send signals, and how each proves it: a source is data, part of the configuration that grants power.

What a vendor's webhook looks like is shipped once, as a sender (`config/senders/NAME.toml`); a source names its sender
and adds what only this installation knows: secrets above all. The active configuration holds the source written out.
"""

import re
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from runbooks.domain.incident import Name
from runbooks.domain.instants import Instant
from runbooks.domain.mapping import BodyFormat, Expression, Scope, SignalMapping
from runbooks.domain.reference import SecretReference
from runbooks.domain.rules import SignalRule
from runbooks.domain.value import Json, Value

HeaderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\*?$")]
"""Lower case. In `keep_headers` it may end with `*`: every header that begins so."""

NEVER_KEPT = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
"""Headers that carry credentials; no delivery keeps them."""

_PIECE = re.compile(r"\{([^{}]*)\}")
_FIELD = re.compile(r"^(body|timestamp|header:[a-z0-9-]{1,63})$")


class Encoding(StrEnum):
    """How the sender writes a signature."""

    HEX = "hex"
    BASE64 = "base64"
    EITHER = "either"


class SecretForm(StrEnum):
    """How a secret's text becomes the key: as it is, or base64 after `whsec_`."""

    RAW = "raw"
    WHSEC = "whsec"


class TimeForm(StrEnum):
    """How the sender writes the time that it signs."""

    UNIX = "unix"
    RFC3339 = "rfc3339"


class Signing(Value):
    """How a sender signs with HMAC-SHA256 over text that contains the body as it was sent.

    `signed_text` is literal text with `{body}`, `{timestamp}` and `{header:NAME}` in it. `timestamp` says where the
    signed time stands: `header:NAME`, or `pair:t` for `t=…` inside the signature's own header.
    """

    header: HeaderName
    prefix: str = ""
    """What stands before each signature, for example `sha256=`; offers without it are passed over."""
    separator: Annotated[str, StringConstraints(pattern=r"^[ ,]?$")] = ""
    """Between several offers in one header; empty: there is one."""
    encoding: Encoding = Encoding.HEX
    signed_text: str = "{body}"
    secret_form: SecretForm = SecretForm.RAW
    timestamp: Annotated[str, StringConstraints(pattern=r"^(header:[a-z0-9-]{1,63}|pair:[a-z]{1,16})$")] | None = None
    time_form: TimeForm = TimeForm.UNIX
    tolerance_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    ed25519_prefix: str = ""
    """What stands before Ed25519 signatures (`v1a,`), whose keys are `whpk_` and base64; empty: none are taken."""

    @model_validator(mode="after")
    def _text_is_whole(self) -> "Signing":
        fields = _PIECE.findall(self.signed_text)
        for field in fields:
            if not _FIELD.match(field):
                raise ValueError("{body}, {timestamp} and {header:name} only in signed_text")
        if fields.count("body") != 1:
            raise ValueError("{body} exactly once in signed_text")
        if ("timestamp" in fields) != (self.timestamp is not None):
            raise ValueError("{timestamp} in signed_text when, and only when, timestamp says where it stands")
        return self

    def pieces(self) -> tuple[tuple[bool, str], ...]:
        """The signed text in order: (whether it is a field, its name or the literal)."""
        found = _PIECE.split(self.signed_text)
        return tuple((bool(n % 2), text) for n, text in enumerate(found) if text)

    def headers(self) -> frozenset[str]:
        """Headers whose text is signed."""
        named = {text.removeprefix("header:") for field, text in self.pieces() if field and text.startswith("header:")}
        if self.timestamp and self.timestamp.startswith("header:"):
            named.add(self.timestamp.removeprefix("header:"))
        return frozenset(named)


class TokenPlace(StrEnum):
    """Where a sender that cannot sign shows its token."""

    BEARER = "bearer"
    BASIC = "basic"  # the secret is user:password
    HEADER = "header"
    PATH = "path"  # POST /signals/SOURCE/TOKEN
    QUERY = "query"


class Token(Value):
    """A shared secret shown with each delivery: it proves who can read it, nothing about the body."""

    place: TokenPlace
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,63}$")] = ""
    """Of the header or of the query's key."""

    @model_validator(mode="after")
    def _named(self) -> "Token":
        if (self.place in (TokenPlace.HEADER, TokenPlace.QUERY)) != bool(self.name):
            raise ValueError("a name for a header or a query's key, and none elsewhere")
        return self


class Notifications(Value):
    """Amazon SNS: its own envelope, signed with a certificate of Amazon's."""

    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """Topic ARNs that are listened to; anything else is refused."""
    version_1: bool = False
    """Whether SHA-1 signatures are taken as well (SNS's default until a topic's SignatureVersion is set to 2)."""


class SourceSecret(Value):
    """One of several secrets that are valid at the same time, so that changing one leaves no gap."""

    id: Name
    secret: SecretReference
    not_before: Instant | None = None
    not_after: Instant | None = None

    def holds(self, now: Instant) -> bool:
        """Whether it is valid at this time."""
        return (self.not_before is None or self.not_before <= now) and (self.not_after is None or now < self.not_after)


class Source(Value):
    """One sender of signals, as this installation knows it."""

    title: str = ""
    sender: Name | None = None
    """The shipped stanza that this one was built on."""
    signing: Signing | None = None
    token: Token | None = None
    notifications: Notifications | None = None
    unproven: bool = False
    """Anybody may send. Such a signal is never acted upon without people."""
    secrets: tuple[SourceSecret, ...] = ()
    keep_headers: tuple[HeaderName, ...] = ()
    """Headers that the mapping reads; kept beside the body."""
    content_types: tuple[str, ...] = ("application/json", "application/*+json")
    """What its bodies may call themselves; `*` stands for anything. A delivery that does not say is taken."""
    quiet_after_minutes: Annotated[int, Field(ge=1)] | None = None
    """An alarm when nothing came for so long. Let the sender send something regularly."""
    body: BodyFormat = BodyFormat.JSON
    nested: Expression | None = None
    """A text inside the body that is JSON itself; the mappings see it as `nested`."""
    mappings: tuple[SignalMapping, ...] = ()
    """How its deliveries are read. None: whatever comes is kept and shown as a defect."""
    scope: Scope = Scope()
    vendor_rules: tuple[SignalRule, ...] = ()
    """What the sender's own kinds of event are; shipped with its stanza."""

    @model_validator(mode="after")
    def _proves_in_one_way(self) -> "Source":
        ways = [self.signing, self.token, self.notifications, self.unproven or None]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("exactly one of signing, token, notifications, unproven = true (or a sender that has it)")
        if bool(self.secrets) != (self.signing is not None or self.token is not None):
            raise ValueError("at least one secret for signing or token, and none otherwise")
        if len({secret.id for secret in self.secrets}) != len(self.secrets):
            raise ValueError("a different id for each secret")
        return self

    def takes(self, content_type: str) -> bool:
        """Whether a body of this type is taken; parameters such as `charset` do not matter here."""
        media = content_type.partition(";")[0].strip().lower()
        return not media or any(fnmatchcase(media, pattern) for pattern in self.content_types)

    def kept(self) -> frozenset[str]:
        """Names of the headers that a delivery keeps, in lower case; the signed ones too, never the credentials."""
        names = set(self.keep_headers) | (self.signing.headers() if self.signing else frozenset())
        hidden = {self.signing.header} if self.signing else set()
        if self.token is not None and self.token.place is TokenPlace.HEADER:
            hidden.add(self.token.name.lower())
        return frozenset(names - hidden - NEVER_KEPT)


WAYS = ("signing", "token", "notifications", "unproven")
"""The keys of a source that say how it proves itself."""


def written_out(stanza: dict[str, Json], sender: dict[str, Json]) -> dict[str, Json]:
    """A source's own stanza upon its sender's: what the source says holds; tables are merged, lists replaced.

    A stanza that says another way of proving it takes the sender's place in that.
    """
    replaced = set(WAYS) - set(stanza) if set(WAYS) & set(stanza) else set()
    return _merged(stanza, {key: value for key, value in sender.items() if key not in replaced})


def _merged(upper: dict[str, Json], lower: dict[str, Json]) -> dict[str, Json]:
    merged = dict(lower)
    for key, value in upper.items():
        under = merged.get(key)
        merged[key] = _merged(value, under) if isinstance(value, dict) and isinstance(under, dict) else value
    return merged
