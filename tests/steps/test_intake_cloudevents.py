"""CloudEvents 1.0 in its three ways over HTTP; the first two examples are those of the specification."""

import base64
import json

import pytest

from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.value import Json
from tasks.intake import cloudevents

EVENT = {
    "specversion": "1.0", "type": "com.example.someevent", "time": "2018-04-05T03:56:24Z", "id": "1234-1234-1234",
    "source": "/mycontext/subcontext", "datacontenttype": "application/json; charset=utf-8",
}  # fmt: skip
BINARY = {f"ce-{key}": value for key, value in EVENT.items() if key != "datacontenttype"}


def events(content_type: str, headers: dict[str, str], body: bytes) -> list[dict[str, Json]]:
    """The events of a delivery that holds nothing else."""
    found, bad = cloudevents.events(content_type, headers, body)
    if bad:
        raise bad[0]
    return found


def test_the_same_event_in_three_ways() -> None:
    whole = EVENT | {"data": {"a": [1]}}
    binary = events("application/json; charset=utf-8", BINARY, b'{"a": [1]}')
    structured = events("application/cloudevents+json; charset=UTF-8", {}, json.dumps(whole).encode())
    batch = events("application/cloudevents-batch+json", {}, json.dumps([whole, whole]).encode())
    assert binary == structured == [whole]
    assert batch == [whole, whole]
    assert events("application/cloudevents-batch+json", {}, b"[]") == []


def test_payloads_that_are_no_json() -> None:
    (text,) = events("text/plain", BINARY, "grüß \udc80".encode("utf-8", "surrogateescape"))
    assert text["data"] == "grüß \ufffd"
    coded = EVENT | {"data_base64": base64.b64encode(b'{"a": 1}').decode()}
    assert events("application/cloudevents+json", {}, json.dumps(coded).encode())[0]["data"] == {"a": 1}
    plain = coded | {"datacontenttype": "text/plain"}
    assert events("application/cloudevents+json", {}, json.dumps(plain).encode())[0]["data"] == '{"a": 1}'
    (empty,) = events("", BINARY, b"")
    assert empty["data"] is None
    assert "datacontenttype" not in empty


def test_headers_are_read_as_they_were_meant() -> None:
    headers = BINARY | {"ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-note": '"a \\"b\\" %25"', "x-other": "no"}
    (event,) = events("application/json", headers, b"{}")
    assert (event["subject"], event["note"]) == ("Euro € 😀", 'a "b" %')
    assert "x-other" not in event


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_an_event_without_what_every_event_has(missing: str) -> None:
    with pytest.raises(IntakeDefectError, match=missing):
        events("application/json", {k: v for k, v in BINARY.items() if k != f"ce-{missing}"}, b"{}")
    with pytest.raises(IntakeDefectError, match=missing):
        events("application/cloudevents+json", {}, json.dumps(EVENT | {missing: ""}).encode())


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        ("application/cloudevents+json", b"[]", "object"),
        ("application/cloudevents-batch+json", b"{}", "list"),
        ("application/cloudevents-batch+json", b"[1]", "object"),
        ("application/cloudevents+avro", b"x", "another event format"),
        ("application/cloudevents+json", b"nope", "bytes that are none"),
        ("application/cloudevents+json", json.dumps(EVENT | {"specversion": "0.3"}).encode(), "another version"),
        ("application/cloudevents+json", json.dumps(EVENT | {"data_base64": "%"}).encode(), "base64"),
    ],
)
def test_what_is_no_cloudevent(content_type: str, body: bytes, told: str) -> None:
    with pytest.raises(IntakeDefectError, match=told):
        events(content_type, {}, body)
