"""Signatures as the vendors' own pages show them, every shipped sender, and what is refused."""

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from runbooks.domain.signal import Strength
from runbooks.domain.sources import Encoding, SecretForm, Signing, Source, Token, TokenPlace
from tasks.intake.tokens import check_token
from tasks.intake.verifying import (
    ClaimReader,
    Key,
    LongCheck,
    Proof,
    UnusableSecretError,
    check_signature,
    signing_key,
)
from tasks.settings import SENDERS, load_configuration, load_settings

NS = 1_000_000_000
NOW = 1_795_000_000
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


@pytest.fixture(scope="module")
def senders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """Every shipped sender, as the configuration reads it."""
    home = tmp_path_factory.mktemp("home")
    config = home / "config"
    config.mkdir()
    for name in ("people", "systems", "policy"):
        (config / f"{name}.toml").write_text("rights = []\n" if name == "policy" else "")
    stanzas = []
    for file in sorted(SENDERS.glob("*.toml")):
        needs_secret = "[signing]" in file.read_text() or "[token]" in file.read_text()
        more = 'secrets = [{id = "one", secret = "env:ONE"}]' if needs_secret else ""
        if file.stem == "aws-sns":
            more = 'notifications = {topics = ["arn:aws:sns:eu-west-1:1:t"]}'
        elif file.stem == "report":
            more = "unproven = true"
        stanzas.append(f'[sources.{file.stem}]\nsender = "{file.stem}"\n{more}\n')
    (config / "sources.toml").write_text("\n".join(stanzas))
    found = load_configuration(load_settings(home, {})).sources
    assert set(found) == {file.stem for file in SENDERS.glob("*.toml")}
    return dict(found)


def signing_of(source: Source) -> Signing:
    assert source.signing is not None
    return source.signing


def judged(signing: Signing, headers: dict[str, str], secret: str, body: bytes, now: int = NOW) -> Proof | None:
    key = signing_key("one", secret, signing.secret_form)
    claim = ClaimReader(signing).read(headers, now * NS)
    if claim is None:
        return None
    whole, long = check_signature(claim, [key], body), LongCheck(claim, [key])
    for at in range(0, len(body), 7):
        long.feed(body[at : at + 7])
    assert long.end() == whole
    return whole


def test_githubs_own_example(senders: dict[str, Source]) -> None:
    shown = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers, secret = {"x-hub-signature-256": shown}, "It's a Secret to Everybody"
    github = signing_of(senders["github"])
    assert judged(github, headers, secret, b"Hello, World!") == Proof(Strength.SIGNED_UNDATED, "one", None)
    assert judged(github, headers, secret, b"Hello, World?") is None


def test_slacks_own_example(senders: dict[str, Source]) -> None:
    shown = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers, secret = (
        {"x-slack-signature": shown, "x-slack-request-timestamp": "1531420618"},
        "8f742231b10e8888abcd99yyyzzz85a5",
    )
    slack = signing_of(senders["slack"])
    assert judged(slack, headers, secret, SLACK_BODY, 1531420618 + 300) == Proof(
        Strength.SIGNED, "one", 1531420618 * NS
    )
    for late in (301, -301):
        assert judged(slack, headers, secret, SLACK_BODY, 1531420618 + late) is None


@pytest.mark.parametrize("name", ["standard-webhooks", "openai"])
def test_the_example_of_standard_webhooks(senders: dict[str, Source], name: str) -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }  # fmt: skip
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signing = signing_of(senders[name])
    proof = judged(signing, headers, secret, body, 1614265330)
    assert proof == Proof(Strength.SIGNED, "one", 1614265330 * NS)
    several = {**headers, "webhook-signature": f"v1,AAAA v2,x  v1a,x {headers['webhook-signature']}"}
    assert judged(signing, several, secret, body, 1614265330) == proof
    for name_, other in (("webhook-id", "msg_other"), ("webhook-timestamp", "1614265331")):
        assert judged(signing, {**headers, name_: other}, secret, body, 1614265330) is None
        without = {key: value for key, value in headers.items() if key != name_}
        assert judged(signing, without, secret, body, 1614265330) is None


def test_ed25519_of_standard_webhooks(senders: dict[str, Source]) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    body = b'{"test": 1}'
    shown = base64.b64encode(private.sign(b"msg_1.%d." % NOW + body)).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": f"v1a,{shown}"}
    signing = signing_of(senders["standard-webhooks"])
    assert judged(signing, headers, public, body) == Proof(Strength.SIGNED, "one", NOW * NS)
    assert judged(signing, headers, public, body + b" ") is None
    assert judged(signing_of(senders["openai"]), headers, public, body) is None


def mac(secret: str, message: bytes) -> bytes:
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()


def zendesk_time() -> str:
    return datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


BODY = b'{"a": "\xc3\xa9"}'
SENT = {
    "pagerduty": lambda s: {"x-pagerduty-signature": f"v1={mac('other', BODY).hex()},v1={mac(s, BODY).hex()}"},
    "sentry": lambda s: {"sentry-hook-signature": mac(s, BODY).hex()},
    "grafana": lambda s: {
        "x-grafana-alerting-timestamp": str(NOW),
        "x-grafana-alerting-signature": mac(s, b"%d:" % NOW + BODY).hex(),
    },
    "langfuse": lambda s: {"x-langfuse-signature": f"t={NOW},v1={mac(s, b'%d.' % NOW + BODY).hex()}"},
    "mlflow": lambda s: {
        "x-mlflow-delivery-id": "d-1", "x-mlflow-timestamp": str(NOW),
        "x-mlflow-signature": "v1," + base64.b64encode(mac(s, b"d-1.%d." % NOW + BODY)).decode(),
    },
    "zendesk": lambda s: {
        "x-zendesk-webhook-signature-timestamp": zendesk_time(),
        "x-zendesk-webhook-signature": base64.b64encode(mac(s, zendesk_time().encode() + BODY)).decode(),
    },
}  # fmt: skip
"""What these senders send, written here once more by hand from their pages."""


@pytest.mark.parametrize("name", SENT)
def test_what_other_senders_send(senders: dict[str, Source], name: str) -> None:
    signing, secret = signing_of(senders[name]), "lf-whsec_00ff"
    headers = SENT[name](secret)
    proof = judged(signing, headers, secret, BODY)
    dated = signing.timestamp is not None
    strength = Strength.SIGNED if dated else Strength.SIGNED_UNDATED
    assert proof == Proof(strength, "one", NOW * NS if dated else None)
    assert judged(signing, headers, "another", BODY) is None
    assert judged(signing, headers, secret, BODY[:-1]) is None
    assert judged(signing, {}, secret, BODY) is None
    if dated:
        assert judged(signing, headers, secret, BODY, NOW + signing.tolerance_seconds + 1) is None


def test_a_timestamp_that_is_not_signed_in_this_request_proves_nothing(senders: dict[str, Source]) -> None:
    langfuse, secret = signing_of(senders["langfuse"]), "lf-whsec_00"
    signature = mac(secret, b"%d." % NOW + BODY).hex()
    for shown in (
        f"v1={signature}",
        f"t={NOW},t={NOW + 1},v1={signature}",
        f"t=,v1={signature}",
        f"t=x,v1={signature}",
    ):
        assert judged(langfuse, {"x-langfuse-signature": shown}, secret, BODY) is None


def test_both_encodings_where_a_sender_uses_either() -> None:
    signing = Signing(header="x-sign", encoding=Encoding.EITHER)
    raw = mac("k", BODY)
    for shown in (raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode()):
        assert judged(signing, {"x-sign": shown}, "k", BODY) is not None
    only = signing.model_copy(update={"encoding": Encoding.HEX})
    assert judged(only, {"x-sign": base64.b64encode(raw).decode()}, "k", BODY) is None


def test_secrets_change_without_a_gap() -> None:
    signing = Signing(header="x-sign")
    keys = [Key("old", b"old"), Key("new", b"new")]
    for name in ("old", "new"):
        claim = ClaimReader(signing).read({"x-sign": mac(name, BODY).hex()}, NOW * NS)
        assert claim is not None
        assert check_signature(claim, keys, BODY) == Proof(Strength.SIGNED_UNDATED, name)
        assert check_signature(claim, [key for key in keys if key.id != name], BODY) is None


def test_only_so_many_offers_are_looked_at() -> None:
    signing = Signing(header="x-sign", separator=",")
    right = mac("k", BODY).hex()
    assert judged(signing, {"x-sign": ",".join([mac("x", BODY).hex()] * 7 + [right])}, "k", BODY) is not None
    assert judged(signing, {"x-sign": ",".join([mac("x", BODY).hex()] * 8 + [right])}, "k", BODY) is None


@pytest.mark.parametrize(
    ("text", "form"),
    [("", SecretForm.RAW), ("whsec_!!", SecretForm.WHSEC), ("whsec_AAAA", SecretForm.WHSEC),
     ("whsec_" + "A" * 88, SecretForm.WHSEC), ("whpk_AAAA", SecretForm.WHSEC), ("é", SecretForm.WHSEC)],
)  # fmt: skip
def test_a_secret_that_is_no_key_is_refused_and_not_repeated(text: str, form: SecretForm) -> None:
    with pytest.raises(UnusableSecretError) as refused:
        signing_key("one", text, form)
    assert not text or text.removeprefix("whsec_") not in str(refused.value)


SHOWN: tuple[tuple[Token, dict[str, str], str, dict[str, str]], ...] = (
    (Token(place=TokenPlace.BEARER), {"authorization": "Bearer s3cret"}, "", {}),
    (Token(place=TokenPlace.BEARER), {"authorization": "bearer  s3cret "}, "", {}),
    (Token(place=TokenPlace.HEADER, name="X-Key"), {"x-key": "s3cret"}, "", {}),
    (Token(place=TokenPlace.PATH), {}, "s3cret", {}),
    (Token(place=TokenPlace.QUERY, name="auth_token"), {}, "", {"auth_token": "s3cret"}),
    (Token(place=TokenPlace.BASIC), {"authorization": "Basic czNjcmV0"}, "", {}),
)


@pytest.mark.parametrize(("token", "headers", "path", "query"), SHOWN)
def test_tokens(token: Token, headers: dict[str, str], path: str, query: dict[str, str]) -> None:
    keys = [Key("other", b"other"), Key("one", b"s3cret")]
    assert check_token(token, keys, headers, path, query) == Proof(Strength.TOKEN, "one")
    assert check_token(token, keys[:1], headers, path, query) is None
    assert check_token(token, keys, {}, "", {}) is None
    everywhere = {"authorization": "s3cret", "x-other": "s3cret"}
    assert check_token(token, keys, everywhere, "", {"other": "s3cret"}) is None


@given(
    st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "x-langfuse-signature", "authorization"]),
        st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")) | st.sampled_from(["v1,", "v1,,", " v1,=", "v1a," + "A" * 88, f"t={NOW},v1=", str(NOW), "Basic =", "-1", "٣"]),
    ),
    st.binary(max_size=40),
)  # fmt: skip
def test_nothing_that_a_sender_writes_raises_or_is_believed(headers: dict[str, str], body: bytes) -> None:
    standard = Signing(
        header="webhook-signature", prefix="v1,", separator=" ", encoding=Encoding.BASE64, ed25519_prefix="v1a,",
        signed_text="{header:webhook-id}.{timestamp}.{body}", timestamp="header:webhook-timestamp",
    )  # fmt: skip
    langfuse = Signing(
        header="x-langfuse-signature", prefix="v1=", separator=",", signed_text="{timestamp}.{body}", timestamp="pair:t"
    )
    ed = Key("ed", public=Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())
    for signing in (standard, langfuse, standard.model_copy(update={"time_form": "rfc3339"})):
        claim = ClaimReader(signing).read(headers, NOW * NS)
        assert claim is None or check_signature(claim, [Key("one", b"k"), ed], body) is None
    for token, _, _, _ in SHOWN:
        assert check_token(token, [Key("one", b"s3cret")], headers, "", {}) is None


def test_the_clock_that_counts_is_ours(senders: dict[str, Source]) -> None:
    zendesk, secret = signing_of(senders["zendesk"]), "k"
    for bad in ("2026-13-01T00:00:00Z", "2026-11-21 02:00:00Z", "2026-11-21T02:00:00", "0001-01-01T00:00:00+23:59"):
        headers = {
            "x-zendesk-webhook-signature-timestamp": bad,
            "x-zendesk-webhook-signature": base64.b64encode(mac(secret, bad.encode() + BODY)).decode(),
        }
        assert judged(zendesk, headers, secret, BODY) is None


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_the_mac_is_hmac_sha256(key: bytes, message: bytes) -> None:
    one = Key("one", key)
    assert [one.mac(message), one.mac(message)] == [hmac.digest(key, message, "sha256")] * 2


def test_a_claim_holds_for_its_own_prefix_only() -> None:
    signing = Signing(header="x-sign", prefix="sha256=")
    assert ClaimReader(signing).read({"x-sign": mac("k", BODY).hex()}, 0) is None
    claim = ClaimReader(signing).read({"x-sign": "sha256=" + mac("k", BODY).hex()}, 0)
    assert claim is not None
    assert check_signature(replace(claim, before=b"x"), [Key("one", b"k")], BODY) is None
