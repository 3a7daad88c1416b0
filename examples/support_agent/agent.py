"""The agent: retrieve, read the prompt, ask the model, call tools, answer, and leave a trace of all of it."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

from examples.support_agent.layout import PROMPT_PARAMETER, Frozen
from examples.support_agent.models import Message, Model, ToolCall
from examples.support_agent.prompts import Prompt, PromptSource
from examples.support_agent.retrieval import retrieve
from examples.support_agent.rule_model import DOCUMENTS_OPENING, GOAL_OPENING
from examples.support_agent.tool_client import CANARY_ARGUMENTS, ToolAnswer, ToolClient
from examples.support_agent.tools import definitions
from examples.support_agent.traces import CLIENT, Trace, TraceFile, semantic_messages

MAX_TURNS = 12


class Ticket(Frozen):
    """A customer's question; ``customer`` is an e-mail address."""

    ticket_id: str
    customer: str
    text: str


class Answer(Frozen):
    """What the agent says it did. What it did is in the tool server's book."""

    answer: str
    tool_calls: list[dict[str, Any]]
    prompt_version: int
    trace_id: str


class Agent:
    """One agent; all its state is its prompt cache and a request counter."""

    def __init__(
        self,
        model: Model,
        prompts: PromptSource,
        tools: ToolClient,
        *,
        documents: Path,
        traces: TraceFile,
        seed: int,
    ) -> None:
        self.prompts = prompts
        self._model = model
        self._tools = tools
        self._documents = documents
        self._traces = traces
        self._seed = seed
        self._requests = itertools.count()

    async def answer_ticket(self, ticket: Ticket, trial: str | None) -> Answer:
        """Serve one customer."""
        request = f"Ticket {ticket.ticket_id} from {ticket.customer}:\n{ticket.text}"
        return await self._work(ticket.ticket_id, request, ticket.text, trial)

    async def pursue_goal(self, goal: str, trial: str | None) -> Answer:
        """Work towards a goal that somebody set, over the whole order book if need be."""
        return await self._work(f"goal-{next(self._requests)}", GOAL_OPENING + goal, goal, trial)

    async def canary(self, tool: str, trial: str | None) -> dict[str, Any]:
        """Call ``tool`` exactly as in earnest, for the canary subject and no money. Harmless if it succeeds."""
        trace = Trace(self._traces)
        try:
            with trace.span("invoke_agent support-agent", operation="invoke_agent") as root:
                root.set(support_agent__canary=True, quell__trial=trial, gen_ai__agent__name="support-agent")
                call = ToolCall(id="canary", tool=tool, arguments=CANARY_ARGUMENTS[tool])
                answer = await self._call_tool(trace, call, trial)
        finally:
            trace.save()
        return {**answer.describe(), "trace_id": trace.trace_id}

    async def _work(self, conversation: str, request: str, question: str, trial: str | None) -> Answer:
        draw = random.Random(f"{self._seed}:{next(self._requests)}").random()  # noqa: S311 - luck, not a secret
        trace = Trace(self._traces)
        try:
            with trace.span("invoke_agent support-agent", operation="invoke_agent") as root:
                root.set(gen_ai__agent__name="support-agent", gen_ai__conversation__id=conversation, quell__trial=trial)
                prompt = await self.prompts.current()
                root.set(gen_ai__prompt__name=PROMPT_PARAMETER, support_agent__prompt__version=prompt.version)
                messages: list[Message] = [
                    {"role": "system", "content": prompt.text},
                    {"role": "user", "content": request + self._retrieve(trace, question)},
                ]
                text, made = await self._converse(trace, prompt, messages, draw, trial)
                root.set(gen_ai__output__messages=semantic_messages([{"role": "assistant", "content": text}]))
        finally:
            trace.save()
        calls = [answer.describe() for answer in made]
        return Answer(answer=text, tool_calls=calls, prompt_version=prompt.version, trace_id=trace.trace_id)

    def _retrieve(self, trace: Trace, question: str) -> str:
        with trace.span("retrieval documents", operation="retrieval") as span:
            found = retrieve(self._documents, question)
            span.set(
                gen_ai__data_source__id="documents",
                gen_ai__retrieval__query__text=question,
                gen_ai__retrieval__documents=[{"id": d.name, "score": d.score, "content": d.text} for d in found],
            )
        return DOCUMENTS_OPENING + "\n".join(f"[{document.name}]\n{document.text}" for document in found)

    async def _converse(
        self, trace: Trace, prompt: Prompt, messages: list[Message], draw: float, trial: str | None
    ) -> tuple[str, list[ToolAnswer]]:
        """Alternate between model and tools until the model has only text left, or its turns are used up."""
        made: list[ToolAnswer] = []
        for _ in range(MAX_TURNS):
            with trace.span(f"chat {self._model.name}", operation="chat", kind=CLIENT) as span:
                span.set(
                    gen_ai__provider__name=self._model.provider,
                    gen_ai__request__model=self._model.name,
                    gen_ai__prompt__name=PROMPT_PARAMETER,
                    support_agent__prompt__version=prompt.version,
                    gen_ai__system_instructions=[{"type": "text", "content": prompt.text}],
                    gen_ai__input__messages=semantic_messages(messages[1:]),
                    gen_ai__tool__definitions=definitions(),
                )
                reply = await self._model.reply(messages, definitions(), draw)
                span.set(gen_ai__output__messages=semantic_messages([reply.message()]))
            if not reply.calls:
                return reply.text, made
            messages.append(reply.message())
            for call in reply.calls:
                answer = await self._call_tool(trace, call, trial)
                made.append(answer)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(answer.body)})
        return "I could not finish this; a colleague will take over.", made

    async def _call_tool(self, trace: Trace, call: ToolCall, trial: str | None) -> ToolAnswer:
        with trace.span(f"execute_tool {call.tool}", operation="execute_tool", kind=CLIENT) as span:
            answer = await self._tools.call(
                call.tool,
                call.arguments,
                traceparent=f"00-{trace.trace_id}-{span.span_id}-01",
                trial=trial,
                idempotency_key=f"{trace.trace_id}:{span.span_id}",
            )
            span.set(
                gen_ai__tool__name=call.tool,
                gen_ai__tool__call__id=call.id,
                gen_ai__tool__call__arguments=call.arguments,
                gen_ai__tool__call__result=answer.body,
                support_agent__tool__status=answer.status,
                support_agent__token__client_id=answer.subject,
                support_agent__token__jti=answer.jti,
                quell__trial=trial,
            )
            if not answer.done:
                span.fail(str(answer.body.get("error", "unknown")))
        return answer
