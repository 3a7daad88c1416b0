"""What the agent asks of a model, in the shape of the OpenAI chat API, and the model behind any such endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import httpx

from examples.support_agent.layout import Frozen

Message = dict[str, Any]


class ToolCall(Frozen):
    """One call that the model wants made; ``id`` is unique within a conversation."""

    id: str
    tool: str
    arguments: dict[str, Any]


class Reply(Frozen):
    """Either text for the customer or calls to make first."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()

    def message(self) -> Message:
        """This reply as a chat message, to be remembered in the conversation."""
        if not self.calls:
            return {"role": "assistant", "content": self.text}
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.tool, "arguments": json.dumps(call.arguments)},
            }
            for call in self.calls
        ]
        return {"role": "assistant", "content": self.text or None, "tool_calls": calls}


class ModelError(Exception):
    """The model could not be asked, or answered something that is no chat completion. Nothing was done for it."""


class Model(Protocol):
    """``draw`` is the request's own random number in [0, 1); a model with its own chance may ignore it."""

    name: str
    provider: str

    async def reply(self, messages: list[Message], definitions: list[dict[str, Any]], draw: float) -> Reply: ...


class ChatModel:
    """Any OpenAI-compatible ``/chat/completions`` endpoint that knows tools. The key file is read at each use."""

    provider = "openai_compatible"

    def __init__(self, base_url: str, name: str, key_file: Path | None) -> None:
        self.name = name
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._key_file = key_file
        self.http = httpx.AsyncClient(timeout=60.0)

    async def reply(self, messages: list[Message], definitions: list[dict[str, Any]], draw: float) -> Reply:  # noqa: ARG002
        body = {"model": self.name, "messages": messages, "tools": definitions}
        try:
            answer = await self.http.post(self._url, json=body, headers=self._headers())
            answer.raise_for_status()
            return _read(answer.json()["choices"][0]["message"])
        except (httpx.HTTPError, OSError) as problem:
            raise ModelError(f"expected a chat completion, found {type(problem).__name__}") from problem
        except (ValueError, KeyError, IndexError, TypeError) as problem:
            raise ModelError("expected a chat completion, found something else") from problem

    def _headers(self) -> dict[str, str]:
        if self._key_file is None:
            return {}
        return {"Authorization": f"Bearer {self._key_file.read_text(encoding='utf-8').strip()}"}


def _read(message: dict[str, Any]) -> Reply:
    calls = tuple(
        ToolCall(
            id=call["id"], tool=call["function"]["name"], arguments=json.loads(call["function"]["arguments"] or "{}")
        )
        for call in message.get("tool_calls") or ()
    )
    return Reply(text=message.get("content") or "", calls=calls)
