"""The agent's HTTP face: ``/tickets``, ``/goals``, ``/canary``, ``/healthz``."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.support_agent.agent import Agent, Ticket
from examples.support_agent.layout import IAM_AGENT_USER, TOOLS, TRIAL_HEADER, Frozen, Layout, ServeSettings
from examples.support_agent.models import ChatModel, Model, ModelError
from examples.support_agent.prompts import PromptSource, PromptUnavailableError
from examples.support_agent.rule_model import RuleModel
from examples.support_agent.tool_client import ToolClient
from examples.support_agent.traces import TraceFile

TRIAL_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class Goal(Frozen):
    """An open goal for the agent."""

    goal: str


class BadRequestError(Exception):
    """The request is malformed; nothing was done."""


def choose_model() -> Model:
    """The rule model, unless the environment names an OpenAI-compatible endpoint."""
    url = os.environ.get("QUELL_EXAMPLE_MODEL_URL")
    if not url:
        return RuleModel()
    key_file = os.environ.get("QUELL_EXAMPLE_MODEL_KEY_FILE")
    name = os.environ.get("QUELL_EXAMPLE_MODEL_NAME", "default")
    return ChatModel(url, name, Path(key_file) if key_file else None)


def _trial(request: Request) -> str | None:
    trial = request.headers.get(TRIAL_HEADER)
    if trial is not None and not TRIAL_ID.fullmatch(trial):
        raise BadRequestError(f"{TRIAL_HEADER}: expected 1 to 100 letters, digits or ._:-")
    return trial


def _failure(status: int, error: str) -> Response:
    return JSONResponse({"error": error}, status)


def build(settings: ServeSettings) -> Starlette:
    """The ASGI application."""
    layout = Layout(settings.directory)
    agent = Agent(
        choose_model(),
        PromptSource(settings.addresses.aws, layout.aws_key(IAM_AGENT_USER), settings.prompt_cache_seconds),
        ToolClient(settings.addresses.tools, layout.agent_token),
        documents=layout.documents,
        traces=TraceFile(layout.traces_file),
        seed=settings.seed,
    )

    async def tickets(request: Request) -> Response:
        ticket = Ticket.model_validate_json(await request.body())
        return JSONResponse((await agent.answer_ticket(ticket, _trial(request))).model_dump())

    async def goals(request: Request) -> Response:
        goal = Goal.model_validate_json(await request.body())
        return JSONResponse((await agent.pursue_goal(goal.goal, _trial(request))).model_dump())

    async def canary(request: Request) -> Response:
        try:
            tool = json.loads(await request.body())["tool"]
        except (ValueError, KeyError, TypeError) as problem:
            raise BadRequestError("expected a JSON object with tool") from problem
        if tool not in TOOLS:
            raise BadRequestError(f"expected one of {', '.join(TOOLS)}")
        return JSONResponse(await agent.canary(tool, _trial(request)))

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True, "prompt_version": (await agent.prompts.current()).version})

    async def malformed(_: Request, problem: Exception) -> Response:
        return _failure(400, str(problem) if isinstance(problem, BadRequestError) else "bad_request")

    async def no_prompt(_request: Request, _problem: Exception) -> Response:
        return _failure(503, "prompt_unavailable")

    async def no_model(_request: Request, _problem: Exception) -> Response:
        return _failure(502, "model_unavailable")

    return Starlette(
        routes=[
            Route("/tickets", tickets, methods=["POST"]),
            Route("/goals", goals, methods=["POST"]),
            Route("/canary", canary, methods=["POST"]),
            Route("/healthz", health),
        ],
        exception_handlers={
            BadRequestError: malformed,
            ValidationError: malformed,
            PromptUnavailableError: no_prompt,
            ModelError: no_model,
        },
    )
