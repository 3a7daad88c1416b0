"""SNS as Amazon signs it, with a certificate of our own making; every address that is not Amazon's; subscriptions."""

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from flows.doors.door.answers import Refusal
from flows.doors.door.notifying import MOST_BYTES, FetchError, Notary, fetch
from runbooks.domain.signal import Strength
from runbooks.domain.sources import Notifications
from tasks.intake.sns import check_envelope, is_amazons, read_envelope, signed_text
from tasks.intake.verifying import Proof

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem"
RULES = Notifications(topics=(TOPIC,))
BOTH = Notifications(topics=(TOPIC,), version_1=True)
NOW = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)
NOW_NS = int(NOW.timestamp()) * 1_000_000_000
KEY = rsa.generate_private_key(65537, 2048)


def certificate(key: rsa.RSAPrivateKey = KEY, days: int = 30) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = (
        built.serial_number(7).not_valid_before(NOW - timedelta(days=60)).not_valid_after(NOW + timedelta(days=days))
    )
    return built.sign(key, SHA256()).public_bytes(Encoding.PEM)


CERTIFICATE = certificate()
FIELDS = {
    "Type": "Notification", "MessageId": "m-1", "TopicArn": TOPIC, "Subject": "ALARM: é", "Message": '{"AlarmName": "x"}',
    "Timestamp": "2026-11-21T02:00:00.000Z", "SignatureVersion": "2", "SigningCertURL": CERTIFICATE_URL,
}  # fmt: skip
SUBSCRIBE = {
    **{key: value for key, value in FIELDS.items() if key != "Subject"}, "Type": "SubscriptionConfirmation", "Token": "t0ken",
    "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t0ken",
}  # fmt: skip


def sent(fields: Mapping[str, object], *order: str, key: rsa.RSAPrivateKey = KEY) -> bytes:
    """The message as Amazon sends it. The signed text is written here once more, from Amazon's page."""
    names = order or ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    text = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields).encode()
    how = SHA256() if fields["SignatureVersion"] == "2" else SHA1()  # noqa: S303
    return json.dumps(
        {**fields, "Signature": base64.b64encode(key.sign(text, padding.PKCS1v15(), how)).decode()}
    ).encode()


def judged(body: bytes, rules: Notifications = RULES, given: bytes = CERTIFICATE, later: int = 0) -> Proof | None:
    envelope = read_envelope(body, rules)
    return None if envelope is None else check_envelope(envelope, given, NOW_NS + later * 1_000_000_000)


@pytest.mark.parametrize("fields", [FIELDS, SUBSCRIBE, {k: v for k, v in FIELDS.items() if k != "Subject"}])
def test_what_amazon_signs_is_proven(fields: Mapping[str, object]) -> None:
    assert judged(sent(fields)) == Proof(Strength.SIGNED, None, NOW_NS)
    assert judged(sent(fields), later=3600) == Proof(Strength.SIGNED_UNDATED, None, NOW_NS)
    old = {**fields, "SignatureVersion": "1"}
    assert judged(sent(old)) is None
    assert judged(sent(old), BOTH) == Proof(Strength.SIGNED, None, NOW_NS)


def test_the_signed_text_of_amazons_page() -> None:
    envelope = read_envelope(sent(FIELDS), RULES)
    assert envelope is not None
    assert signed_text(envelope) == (
        'Message\n{"AlarmName": "x"}\nMessageId\nm-1\nSubject\nALARM: é\nTimestamp\n2026-11-21T02:00:00.000Z\n'
        f"TopicArn\n{TOPIC}\nType\nNotification\n"
    ).encode()  # fmt: skip


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "Type", "TopicArn"])
def test_a_changed_field_proves_nothing(name: str) -> None:
    message = json.loads(sent(FIELDS))
    changed = {"Timestamp": "2026-11-21T02:00:01.000Z", "Type": "UnsubscribeConfirmation"}.get(name, "other")
    assert judged(json.dumps({**message, name: changed}).encode()) is None
    del message[name]
    assert judged(json.dumps(message).encode()) is None


def test_whose_key_counts() -> None:
    other = rsa.generate_private_key(65537, 2048)
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
    assert judged(sent(FIELDS, key=other)) is None
    assert judged(sent(FIELDS, key=other), given=certificate(other)) is not None
    assert judged(sent(FIELDS, key=small), given=certificate(small)) is None
    assert judged(sent(FIELDS), given=certificate(days=-1)) is None
    assert judged(sent(FIELDS), given=b"no certificate") is None


NOT_AMAZONS = [
    "http://sns.eu-west-1.amazonaws.com/a.pem", "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
    "https://sns.evil.example/a.pem", "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
    "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem", "https://user@sns.eu-west-1.amazonaws.com/a.pem",
    "https://sns.eu-west-1.amazonaws.com:8443/a.pem", "https://sns.eu-west-1.amazonaws.com\\.evil.example/a.pem",
    "https://s3.amazonaws.com/a.pem", "https://sns.eu_west.amazonaws.com/a.pem", "https://sns.a.amazonaws.com/a.pem",
    "https://sns.eu-west-1.amazonaws.com:x/a.pem", "https://[::1]/a.pem", "file:///etc/a.pem", "", "https:///a.pem",
    "https://sns.eu-west-1.amazonaws.com/ a.pem", "https://sns.eu-west-1.amazonaws.com/\n.pem", "//sns.eu-west-1.amazonaws.com/a.pem",
]  # fmt: skip


@pytest.mark.parametrize("url", NOT_AMAZONS)
def test_no_other_address_is_ever_followed(url: str) -> None:
    assert not is_amazons(url)
    assert read_envelope(sent({**FIELDS, "SigningCertURL": url}), RULES) is None
    envelope = read_envelope(sent({**SUBSCRIBE, "SubscribeURL": url}), RULES)
    assert envelope is not None
    assert envelope.confirm is None


@pytest.mark.parametrize("path", ["/a.txt", "/", "/a.pem?x=1", "/a.pem#x", "/a.pem/b"])
def test_a_certificates_address_ends_as_one(path: str) -> None:
    url = f"https://sns.eu-west-1.amazonaws.com{path}"
    assert is_amazons(url)
    assert read_envelope(sent({**FIELDS, "SigningCertURL": url}), RULES) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"1", b"\xff", b"[" * 2000, b'{"Type": 1}', b'{"Type": "Notification"}', b'{"Signature": "x"}',
     sent({**FIELDS, "Timestamp": "yesterday"}), sent({**FIELDS, "Timestamp": "2026-13-41T00:00:00Z"}),
     sent({**FIELDS, "TopicArn": TOPIC + "2"}), sent({**FIELDS, "Type": "Other"})],
)  # fmt: skip
def test_what_is_no_envelope_is_refused_without_asking_anybody(body: bytes) -> None:
    assert read_envelope(body, RULES) is None


class Amazon:
    """What would be fetched."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, bytes] = {CERTIFICATE_URL: CERTIFICATE}

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.answers:
            raise FetchError("status 404")
        return self.answers[url]


def refusal(work: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(Refusal) as refused:
        work()
    return refused.value.status, refused.value.word


def test_a_certificate_is_fetched_once_and_only_when_it_proved_something() -> None:
    amazon = Amazon()
    notary = Notary(amazon)
    for _ in range(3):
        _, proof = asyncio.run(notary.judge(sent(FIELDS), RULES, NOW_NS))
        assert proof.strength is Strength.SIGNED
    assert amazon.asked == [CERTIFICATE_URL]
    forged = sent({**FIELDS, "SigningCertURL": CERTIFICATE_URL.replace("0123", "4567")})
    assert refusal(lambda: asyncio.run(notary.judge(forged, RULES, NOW_NS))) == (503, "certificate")
    amazon.answers[CERTIFICATE_URL.replace("0123", "4567")] = b"garbage for now"
    assert refusal(lambda: asyncio.run(notary.judge(forged, RULES, NOW_NS))) == (401, "not proven")
    amazon.answers[CERTIFICATE_URL.replace("0123", "4567")] = CERTIFICATE
    assert asyncio.run(notary.judge(forged, RULES, NOW_NS))[1].strength is Strength.SIGNED
    for number in range(100):
        made_up = sent({**FIELDS, "SigningCertURL": f"https://sns.eu-west-1.amazonaws.com/{number}.pem"})
        assert refusal(lambda body=made_up: asyncio.run(notary.judge(body, RULES, NOW_NS))) == (503, "certificate")  # type: ignore[misc]
    assert len(amazon.asked) < 40
    assert asyncio.run(notary.judge(sent(FIELDS), RULES, NOW_NS))[1].strength is Strength.SIGNED


def test_a_subscription_is_confirmed_after_its_signature_and_asked_for_again_when_that_fails() -> None:
    amazon = Amazon()
    notary = Notary(amazon)
    envelope, _ = asyncio.run(notary.judge(sent(SUBSCRIBE), RULES, NOW_NS))
    assert amazon.asked == [CERTIFICATE_URL]
    assert refusal(lambda: asyncio.run(notary.confirm(envelope))) == (503, "not confirmed")
    amazon.answers[SUBSCRIBE["SubscribeURL"]] = b"<ok/>"
    asyncio.run(notary.confirm(envelope))
    assert amazon.asked[1:] == [SUBSCRIBE["SubscribeURL"]] * 2
    notification, _ = asyncio.run(notary.judge(sent(FIELDS), RULES, NOW_NS))
    asyncio.run(notary.confirm(notification))
    assert len(amazon.asked) == 3


class _Place(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = {"/ok": (200, b"yes"), "/long": (200, b"x" * (MOST_BYTES + 1))}.get(self.path)
        status, body = found or (302 if self.path == "/away" else 404, b"")
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if status == 302:
            self.send_header("location", "/ok")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        del format, args


@pytest.fixture
def place() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Place)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_fetched_is_small_and_follows_nothing(place: str) -> None:
    assert asyncio.run(fetch(f"{place}/ok")) == b"yes"
    for path in ("/away", "/long", "/none"):
        with pytest.raises(FetchError):
            asyncio.run(fetch(f"{place}{path}"))
    with pytest.raises(FetchError):
        asyncio.run(fetch("http://127.0.0.1:1/"))
