"""CloudEvents 1.0 over HTTP: one event in the body, one in headers and body, or a batch.

Source: the CloudEvents specification 1.0.2 with its HTTP protocol binding and JSON event format.
"""

import base64
import binascii
from urllib.parse import unquote

import orjson

from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.value import Json

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
_REQUIRED = ("specversion", "id", "source", "type")


Events = tuple[list[dict[str, Json]], list[IntakeDefectError]]
"""Events, and what is wrong with those of a batch that are none."""


def events(content_type: str, headers: dict[str, str], body: bytes) -> Events:
    """Each event as its attributes with the payload under `data`: parsed where it is JSON, else as text.

    Raises IntakeDefectError where it is one event, or a batch, that cannot be read.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media == BATCH:
        batch = _json(body)
        if not isinstance(batch, list):
            raise IntakeDefectError("expected a batch of CloudEvents to be a list, found something else.")
        return _batch(batch)
    if media == STRUCTURED:
        return [_structured(_json(body))], []
    if media.startswith("application/cloudevents"):
        raise IntakeDefectError("expected CloudEvents as JSON, found another event format.")
    return [_binary(content_type, media, headers, body)], []


def _batch(batch: list[Json]) -> Events:
    found: list[dict[str, Json]] = []
    bad: list[IntakeDefectError] = []
    for one in batch:
        try:
            found.append(_structured(one))
        except IntakeDefectError as error:
            bad.append(error)
    return found, bad


def _structured(event: Json) -> dict[str, Json]:
    if not isinstance(event, dict):
        raise IntakeDefectError("expected a CloudEvent to be an object, found something else.")
    found = dict(event)
    media = str(found.get("datacontenttype") or "application/json").partition(";")[0].strip().lower()
    if "data_base64" in found:
        try:
            raw = base64.b64decode(str(found.pop("data_base64")), validate=True)
        except (binascii.Error, ValueError):
            raise IntakeDefectError("the data_base64 of a CloudEvent is not base64.") from None
        found["data"] = _payload(media, raw)
    return _checked(found)


def _binary(content_type: str, media: str, headers: dict[str, str], body: bytes) -> dict[str, Json]:
    found: dict[str, Json] = {
        key.removeprefix("ce-"): _header(value) for key, value in headers.items() if key.startswith("ce-")
    }
    if content_type:
        found["datacontenttype"] = content_type
    found["data"] = _payload(media, body) if body else None
    return _checked(found)


def _header(value: str) -> str:
    """A header's value as it was meant: without quotes around it, percent-decoded as UTF-8."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return unquote(value, errors="replace")


def _payload(media: str, raw: bytes) -> Json:
    if media == "application/json" or media.endswith("+json"):
        return _json(raw)
    return raw.decode("utf-8", "replace")


def _checked(event: dict[str, Json]) -> dict[str, Json]:
    for attribute in _REQUIRED:
        if not isinstance(event.get(attribute), str) or not event[attribute]:
            raise IntakeDefectError(f"a CloudEvent has no {attribute}; expected it as text.")
    if not event["specversion"].startswith("1."):
        raise IntakeDefectError("expected CloudEvents 1.x, found another version.")
    return event


def _json(raw: bytes) -> Json:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise IntakeDefectError("expected JSON, found bytes that are none.") from None
