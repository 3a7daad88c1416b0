"""Reading sealed OTLP/JSON trace lines: what the agent was asked, and which calls it made. Hostile text stays data.

Attribute names: OpenTelemetry GenAI semantic conventions (v1.36 names and the later repository's), see the reference.
A line that cannot be read is skipped here and stays in evidence as it is; the caller is told how many there were.
"""

import json
from collections.abc import Iterable

from runbooks.domain.value import Json, Value

_NOT_DONE = ("error",)


class ToolCall(Value):
    """One tool call of a trace: which tool, with what, and whether the tool did it."""

    tool: str
    arguments: str
    """JSON text as the trace has it."""
    done: bool


class Conversation(Value):
    """One request to the agent, as one trace tells it."""

    trace_id: str
    conversation: str
    asked: str
    """The person's (or attacker's) words: the first user text."""
    calls: tuple[ToolCall, ...]
    trial: bool
    started_ns: str


def read_conversations(lines: Iterable[bytes]) -> tuple[list[Conversation], int]:
    """Every conversation of these trace lines, and how many lines could not be read."""
    found: list[Conversation] = []
    unreadable = 0
    for line in lines:
        try:
            spans = _spans(json.loads(line))
            conversation = _conversation(spans)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            unreadable += 1
            continue
        if conversation is not None:
            found.append(conversation)
    return found, unreadable


def harmful(conversations: Iterable[Conversation], tools: frozenset[str]) -> list[Conversation]:
    """Real (not trial) conversations in which one of these tools was done; most calls first."""
    chosen = [c for c in conversations if not c.trial and any(call.done and call.tool in tools for call in c.calls)]
    return sorted(chosen, key=lambda c: (-sum(call.tool in tools for call in c.calls), c.started_ns))


def _spans(document: Json) -> list[dict[str, Json]]:
    spans = []
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                flat = {a["key"]: _plain(a["value"]) for a in span.get("attributes", [])}
                spans.append({**span, "attributes": flat})
    return spans


def _plain(value: dict[str, Json]) -> Json:
    return next(iter(value.values()), None)


def _conversation(spans: list[dict[str, Json]]) -> Conversation | None:
    if not spans:
        return None
    root = next((span for span in spans if not span.get("parentSpanId")), spans[0])
    attributes: dict[str, Json] = {}
    for span in reversed(spans):
        attributes |= span["attributes"]
    calls = tuple(
        ToolCall(
            tool=str(span["attributes"].get("gen_ai.tool.name", "")),
            arguments=str(span["attributes"].get("gen_ai.tool.call.arguments", "{}")),
            done=span.get("status", {}).get("code") != 2,
        )
        for span in spans
        if span["attributes"].get("gen_ai.operation.name") == "execute_tool"
    )
    return Conversation(
        trace_id=str(root["traceId"]), conversation=str(attributes.get("gen_ai.conversation.id", "")),
        asked=_asked(spans), calls=calls, trial="quell.trial" in attributes,
        started_ns=str(root.get("startTimeUnixNano", "0")).zfill(20),
    )  # fmt: skip


def _asked(spans: list[dict[str, Json]]) -> str:
    for span in spans:
        raw = span["attributes"].get("gen_ai.input.messages")
        if not raw:
            continue
        messages = json.loads(raw) if isinstance(raw, str) else raw
        for message in messages:
            if message.get("role") == "user":
                texts = [part.get("content", "") for part in message.get("parts", []) if part.get("type") == "text"]
                if texts:
                    return str(texts[0])
    return ""
