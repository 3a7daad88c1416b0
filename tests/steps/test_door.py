"""What the door takes, what it refuses, and what stands in the spool afterwards: over real connections."""

import base64
import hashlib
import time
from collections.abc import Iterator

import pytest

from runbooks.domain.signal import Strength
from runbooks.domain.value import digest_of
from tests.steps.doorstep import WORDS, Answer, Door, a_door, bearer, furnish, hub, keep_secret, signed

BODY = b'{"alert": "it refunds \xe2\x82\xac 5000", "n": [1, 2, 3]}'


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    limits = "door_body_kept_bytes = 65536\ndoor_body_most_bytes = 1048576\n"
    with a_door(furnish(tmp_path_factory.mktemp("door") / "home", limits=limits)) as found:
        yield found
    log = found.said()
    for word in (*WORDS.values(), base64.b64encode(WORDS["basic"].encode()).decode(), "whsec_", "5000"):
        assert word not in log


def accepted(answer: Answer) -> str:
    assert (answer.status, answer.json["status"]) == (200, "accepted")
    return str(answer.json["receipt"])


def refused(answer: Answer, status: int, word: str) -> None:
    assert (answer.status, answer.json) == (status, {"status": "refused", "because": word})


def test_a_signed_delivery_is_kept_as_it_came(door: Door) -> None:
    named = accepted(door.send("detector", BODY, signed(BODY, name="msg_kept"), "application/json; charset=utf-8"))
    delivery, body = next((one, kept) for one, kept in door.kept if one.id == named)
    assert body == BODY
    assert delivery.body_digest == digest_of(BODY)
    assert (delivery.source, delivery.strength, delivery.truncated) == ("detector", Strength.SIGNED, False)
    assert delivery.content_type == "application/json; charset=utf-8"
    assert dict(delivery.headers)["webhook-id"] == "msg_kept"
    assert not {"webhook-signature", "authorization"} & set(dict(delivery.headers))
    assert delivery.signed_at is not None


def test_how_well_each_is_proven_is_kept(door: Door) -> None:
    sent = {
        accepted(door.send("github", BODY, hub(BODY))): Strength.SIGNED_UNDATED,
        accepted(door.send("alerts", BODY, bearer("old"))): Strength.TOKEN,
        accepted(door.send("alerts", BODY, bearer("new"))): Strength.TOKEN,
        accepted(door.send(f"secret-path/{WORDS['new']}", BODY, {})): Strength.TOKEN,
        accepted(door.send(f"query?auth_token={WORDS['new']}", BODY, {})): Strength.TOKEN,
        accepted(door.send("anybody", BODY, {})): Strength.UNPROVEN,
        accepted(door.send("lost", BODY, bearer("new"))): Strength.TOKEN,
    }
    assert {one.id: one.strength for one, _ in door.kept if one.id in sent} == sent


def test_who_proves_nothing_is_refused_and_leaves_nothing(door: Door) -> None:
    before = len(door.kept)
    late = int(time.time()) - 301
    tries = [
        ("github", {}), ("github", hub(BODY + b" ")), ("github", {"x-hub-signature-256": "sha256=" + "0" * 64}),
        ("detector", signed(BODY, at=late)), ("detector", signed(BODY + b" ")),
        ("detector", {**signed(BODY), "webhook-id": "msg_2"}), ("alerts", {}), ("alerts", bearer("basic")),
        ("secret-path", {}), ("secret-path/wrong", {}), ("query?auth_token=wrong", {}),
        ("query", {"authorization": f"Bearer {WORDS['new']}"}),
    ]  # fmt: skip
    for source, headers in tries:
        refused(door.send(source, BODY, headers), 401, "not proven")
    refused(door.send("nobody", BODY, {}), 404, "unknown source")
    assert len(door.kept) == before


def test_a_secret_that_cannot_be_read_sends_its_sender_away_to_come_again(door: Door) -> None:
    answer = door.send("lost", BODY, bearer("old"))
    refused(answer, 503, "secret")
    assert answer.headers["retry-after"] == "30"


def test_kinds_of_body(door: Door) -> None:
    refused(door.send("github", BODY, hub(BODY), "text/html"), 415, "content type")
    refused(door.send("github", BODY, {**hub(BODY), "content-encoding": "gzip"}), 415, "content encoding")
    accepted(door.ask("POST", "/signals/github", BODY, hub(BODY)))
    accepted(door.send("anybody", b"\x00\xff", {}, "image/png"))
    accepted(door.ask("POST", "/signals/anybody"))


def test_a_long_body_is_kept_in_part_and_proven_whole(door: Door) -> None:
    body = bytes(range(256)) * 2048
    named = accepted(door.send("detector", body, signed(body)))
    delivery, kept = next((one, kept) for one, kept in door.kept if one.id == named)
    assert delivery.truncated
    assert kept == body[:65536]
    assert delivery.body_digest == "sha256:" + hashlib.sha256(body).hexdigest()
    refused(door.send("detector", body[:-1] + b"x", signed(body)), 401, "not proven")
    exact = body[:65536]
    named = accepted(door.send("detector", exact, signed(exact)))
    assert next((one.truncated, kept) for one, kept in door.kept if one.id == named) == (False, exact)


def test_a_body_beyond_all_bounds_is_refused(door: Door) -> None:
    refused(door.ask("POST", "/signals/anybody", b"x", {"content-length": "1048577"}), 413, "too long")
    refused(door.ask("POST", "/signals/anybody", b"x", {"content-length": "9" * 19}), 413, "too long")


def test_kept_headers_by_their_beginning(door: Door) -> None:
    named = accepted(door.send("anybody", BODY, {"ce-id": "7", "ce-source": "é", "authorization": "x", "cookie": "y"}))
    delivery = next(one for one, _ in door.kept if one.id == named)
    assert sorted(delivery.headers) == [("ce-id", "7"), ("ce-source", "é")]


def test_the_handshake_of_cloudevents(door: Door) -> None:
    answer = door.ask("OPTIONS", "/signals/anybody", headers={"webhook-request-origin": "events.example.com"})
    assert (answer.status, answer.headers["webhook-allowed-origin"]) == (200, "events.example.com")
    assert answer.headers["webhook-allowed-rate"] == "600", "what is taken from a source that proves nothing"
    asked = {"webhook-request-origin": "events.example.com", "webhook-request-rate": "120"}
    assert door.ask("OPTIONS", "/signals/github", headers=asked).headers["webhook-allowed-rate"] == "*"
    assert not {"webhook-allowed-origin", "webhook-allowed-rate"} & set(door.ask("OPTIONS", "/signals/github").headers)
    refused(door.ask("OPTIONS", "/signals/nobody"), 404, "unknown source")


def test_a_secret_is_changed_without_a_gap(door: Door) -> None:
    accepted(door.send("alerts", BODY, bearer("old")))
    accepted(door.send("alerts", BODY, bearer("new")))
    keep_secret(door.home, "old", "an0ther-w0rd")
    deadline = time.monotonic() + 15
    while door.send("alerts", BODY, bearer("old")).status == 200:
        assert time.monotonic() < deadline
        accepted(door.send("alerts", BODY, bearer("new")))
    accepted(door.send("alerts", BODY, {"authorization": "Bearer an0ther-w0rd"}))
    accepted(door.send("alerts", BODY, bearer("new")))
    keep_secret(door.home, "old", WORDS["old"])


def test_how_it_is_in_words_for_everybody_and_in_sentences_for_the_log(door: Door) -> None:
    assert door.ask("GET", "/health").json == {"status": "ok"}
    answer = door.ask("GET", "/ready")
    assert (answer.status, answer.json) == (503, {"status": "unwell", "problems": ["secret"]})
    keep_secret(door.home, "gone", "here-1t-is-again")
    deadline = time.monotonic() + 15
    while (answer := door.ask("GET", "/ready")).status != 200:
        assert time.monotonic() < deadline
    assert answer.json == {"status": "ready", "problems": []}
    assert "secret: well again" in door.said()
    accepted(door.send("lost", BODY, {"authorization": "Bearer here-1t-is-again"}))
    (door.home / "secrets" / "gone").unlink()
    while door.ask("GET", "/ready").status != 503:
        assert time.monotonic() < deadline
    assert "the secret gone of the source lost cannot be used" in door.said()


def test_a_senders_clock_that_drifts_is_told_of_before_it_is_refused(door: Door) -> None:
    accepted(door.send("detector", BODY, signed(BODY, at=int(time.time()) - 200)))
    deadline = time.monotonic() + 15
    while "clock: the source detector signs -20" not in door.said():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    accepted(door.send("detector", BODY, signed(BODY)))


def test_metrics_count_by_configured_names_only(door: Door) -> None:
    accepted(door.send("detector", BODY, signed(BODY)))
    refused(door.send("github", BODY, {}), 401, "not proven")
    door.send("no-such-name", BODY, {})
    answer = door.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert values['quell_door_requests_total{source="detector",outcome="accepted"}'] >= 1
    assert values['quell_door_requests_total{source="github",outcome="not proven"}'] >= 1
    assert values['quell_door_requests_total{source="(unknown)",outcome="unknown source"}'] >= 1
    assert "no-such-name" not in answer.body.decode()
    assert values["quell_spool_waiting"] == len(door.kept)
    assert abs(values['quell_door_clock_skew_seconds{source="detector"}']) < 30
    assert values['quell_door_secret_last_used_seconds{source="detector",secret="only"}'] > 1_700_000_000
    assert values["quell_door_seconds_count"] == values['quell_door_seconds_bucket{le="+Inf"}'] > 0
    named = [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))
