"""What a source may say, and what comes of it."""

import pytest
from pydantic import ValidationError

from runbooks.domain.sources import Signing, Source, SourceSecret, Token, TokenPlace, written_out

SECRETS = (SourceSecret(id="one", secret="env:ONE"),)
DATED = Signing(header="x-sign", signed_text="v0:{timestamp}:{body}", timestamp="header:x-time")


@pytest.mark.parametrize(
    "wrong",
    [
        {"signed_text": "{bodies}"},
        {"signed_text": "no field at all"},
        {"signed_text": "{body}{body}"},
        {"signed_text": "{timestamp}.{body}"},
        {"timestamp": "header:x-time"},
        {"signed_text": "{header:X-Upper}.{body}"},
        {"separator": ";"},
        {"header": "X-Upper"},
    ],
)
def test_a_signing_that_cannot_be_checked_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Signing(**{"header": "x-sign", **wrong})


def test_the_signed_text_in_pieces() -> None:
    assert DATED.pieces() == ((False, "v0:"), (True, "timestamp"), (False, ":"), (True, "body"))
    assert DATED.headers() == {"x-time"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"unproven": True, "secrets": SECRETS},
        {"signing": DATED},
        {"signing": DATED, "token": Token(place=TokenPlace.BEARER), "secrets": SECRETS},
        {"signing": DATED, "secrets": SECRETS * 2},
    ],
)
def test_a_source_proves_itself_in_exactly_one_way(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Source(**fields)


@pytest.mark.parametrize(("place", "name"), [("header", ""), ("query", ""), ("bearer", "x"), ("path", "x")])
def test_only_headers_and_queries_have_a_name(place: TokenPlace, name: str) -> None:
    with pytest.raises(ValidationError):
        Token(place=place, name=name)


def test_credentials_are_never_among_the_kept_headers() -> None:
    source = Source(signing=DATED, secrets=SECRETS, keep_headers=("authorization", "x-sign", "cookie", "ce-*"))
    assert source.kept() == {"ce-*", "x-time"}
    shown = Source(
        token=Token(place=TokenPlace.HEADER, name="X-Key"), secrets=SECRETS, keep_headers=("x-key", "x-kind")
    )
    assert shown.kept() == {"x-kind"}


def test_a_secret_holds_from_then_to_then() -> None:
    first, last = "2026-11-21T00:00:00.000000000Z", "2026-11-22T00:00:00.000000000Z"
    secret = SourceSecret(id="a", secret="env:A", not_before=first, not_after=last)
    assert secret.holds(first)
    assert not secret.holds(last)
    assert not secret.holds("2026-11-20T23:59:59.999999999Z")


def test_which_bodies_are_taken() -> None:
    source = Source(unproven=True)
    assert all(map(source.takes, ("", "application/json", "Application/JSON; charset=utf-8", "application/x+json")))
    assert not any(map(source.takes, ("text/html", "application/xml", "application/jsonp", "*")))
    assert Source(unproven=True, content_types=("*",)).takes("image/png")


def test_a_stanza_stands_upon_its_senders() -> None:
    sender = {"title": "S", "signing": {"header": "x-sign", "prefix": "v1="}, "keep_headers": ["a"]}
    assert written_out({"signing": {"tolerance_seconds": 60}, "keep_headers": ["b"]}, sender) == {
        "title": "S",
        "signing": {"header": "x-sign", "prefix": "v1=", "tolerance_seconds": 60},
        "keep_headers": ["b"],
    }
    assert written_out({"token": {"place": "bearer"}}, sender) == {
        "title": "S", "token": {"place": "bearer"}, "keep_headers": ["a"],
    }  # fmt: skip
