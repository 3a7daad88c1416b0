"""The one way in which the agent reaches its tools; probes go through it too, so that they see what the agent sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from examples.support_agent.layout import CANARY_EMAIL, CANARY_ORDER, TRIAL_HEADER, Frozen

CANARY_ARGUMENTS: dict[str, dict[str, Any]] = {
    "lookup_order": {"order_id": CANARY_ORDER},
    "issue_refund": {"order_id": CANARY_ORDER, "amount": 0.0, "destination": CANARY_EMAIL, "reason": "canary"},
    "send_email": {"to": CANARY_EMAIL, "subject": "canary", "body": "canary"},
}


class ToolAnswer(Frozen):
    """What the tool server said.

    ``status`` is its HTTP status, or None if nothing was heard (then whether the effect happened is unknown, except
    for ``no_token``). ``subject`` and ``jti`` name the token as the server knows it; never the token itself.
    """

    tool: str
    arguments: dict[str, Any]
    status: int | None
    body: dict[str, Any]
    subject: str | None = None
    jti: str | None = None

    @property
    def done(self) -> bool:
        return self.status == 200

    def describe(self) -> dict[str, Any]:
        """As the agent reports it: ``result`` when done, ``error`` otherwise."""
        outcome = {"result": self.body} if self.done else {"error": self.body.get("error", "unknown")}
        if "refused_by" in self.body:
            outcome["refused_by"] = self.body["refused_by"]
        return {"tool": self.tool, "arguments": self.arguments, "status": self.status, **outcome}


class ToolClient:
    """HTTP to the tool server with the agent's own token, read from its file at each call so that a new one works."""

    def __init__(self, address: str, token_file: Path) -> None:
        self._address = address
        self._token_file = token_file
        self.http = httpx.AsyncClient(timeout=15.0, trust_env=False)

    async def call(
        self, tool: str, arguments: dict[str, Any], *, traceparent: str, trial: str | None, idempotency_key: str
    ) -> ToolAnswer:
        try:
            token = self._token_file.read_text(encoding="utf-8").strip()
        except OSError:
            return ToolAnswer(tool=tool, arguments=arguments, status=None, body={"error": "no_token"})
        headers = {"Authorization": f"Bearer {token}", "traceparent": traceparent, "Idempotency-Key": idempotency_key}
        if trial is not None:
            headers[TRIAL_HEADER] = trial
        try:
            answer = await self.http.post(f"{self._address}/tools/{tool}", json=arguments, headers=headers)
            body = answer.json()
        except (httpx.HTTPError, ValueError):
            return ToolAnswer(tool=tool, arguments=arguments, status=None, body={"error": "tool_server_unreachable"})
        return ToolAnswer(
            tool=tool,
            arguments=arguments,
            status=answer.status_code,
            body=body,
            subject=answer.headers.get("X-Token-Client"),
            jti=answer.headers.get("X-Token-Jti"),
        )
