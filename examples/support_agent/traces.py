"""Traces as OTLP/JSON with OpenTelemetry's GenAI names: one line per request, on disk before the answer leaves."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Self

from examples.support_agent.layout import AGENT_CLIENT
from examples.support_agent.models import Message

SCHEMA_URL = "https://opentelemetry.io/schemas/1.42.0"
INTERNAL, CLIENT = 1, 3  # OTLP span kinds


class Span:
    """One span; ends when its ``with`` block does. Attribute values that are lists or objects become JSON text."""

    def __init__(self, trace_id: str, parent: str | None, name: str, kind: int) -> None:
        self.span_id = secrets.token_hex(8)
        self._record: dict[str, Any] = {
            "traceId": trace_id,
            "spanId": self.span_id,
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(time.time_ns()),
            "status": {},
        }
        if parent is not None:
            self._record["parentSpanId"] = parent
        self._attributes: dict[str, Any] = {}

    def set(self, **attributes: Any) -> None:
        """Add attributes; ``gen_ai__tool__name`` stands for ``gen_ai.tool.name``. None is left out."""
        for key, value in attributes.items():
            if value is not None:
                self._attributes[key.replace("__", ".")] = value

    def fail(self, reason: str) -> None:
        self._record["status"] = {"code": 2, "message": reason}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, _: object) -> None:
        if problem is not None:
            self.fail(type(problem).__name__)
        self._record["endTimeUnixNano"] = str(time.time_ns())

    def encode(self) -> dict[str, Any]:
        return {**self._record, "attributes": _attributes(self._attributes)}


class Trace:
    """The spans of one request; the first is the root."""

    def __init__(self, file: TraceFile) -> None:
        self.trace_id = secrets.token_hex(16)
        self._file = file
        self._spans: list[Span] = []

    def span(self, name: str, *, operation: str, kind: int = INTERNAL) -> Span:
        parent = self._spans[0].span_id if self._spans else None
        span = Span(self.trace_id, parent, name, kind)
        span.set(gen_ai__operation__name=operation)
        self._spans.append(span)
        return span

    def save(self) -> None:
        """Append the whole trace to the file. All spans must have ended."""
        self._file.append([span.encode() for span in self._spans])


class TraceFile:
    """An append-only file of OTLP/JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        resource = {"service.name": AGENT_CLIENT}
        self._resource = {"attributes": _attributes(resource)}

    def append(self, spans: list[dict[str, Any]]) -> None:
        scope_spans = {"scope": {"name": "support_agent"}, "spans": spans, "schemaUrl": SCHEMA_URL}
        line = json.dumps({"resourceSpans": [{"resource": self._resource, "scopeSpans": [scope_spans]}]})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def semantic_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """Chat messages as GenAI messages: ``{role, parts: [{type: text | tool_call | tool_call_response, …}]}``."""
    return [{"role": message["role"], "parts": _parts(message)} for message in messages]


def _parts(message: Message) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        response = {"type": "tool_call_response", "id": message["tool_call_id"], "response": message["content"]}
        return [response]
    parts: list[dict[str, Any]] = []
    if message.get("content"):
        parts.append({"type": "text", "content": message["content"]})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = json.loads(function["arguments"])
        parts.append({"type": "tool_call", "id": call["id"], "name": function["name"], "arguments": arguments})
    return parts


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}
