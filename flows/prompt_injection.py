"""Somebody's text made the agent act: a ticket, a document or a web page told it what to do, and it obeyed.

Keep the traces and the book of effects first. Then, with people's consent, switch off the tools that were abused and
put the prompt back to the version that does not obey. Prove both by trying. Replay the recorded attack, made harmless,
until the numbers say that the fix holds; only then give the tools back, with other eyes on it. Review within days.
"""

from prefect import flow

from flows._form import Start
from flows._stages import close, contain_at_once, contain_with_consent, inform, plan, recover, response, seal
from runbooks.domain.incident import Archetype


@flow(name="prompt-injection", persist_result=False)
async def prompt_injection(start: Start) -> str:
    """Respond to a prompt injection: seal, ask, contain, prove, recover, review."""
    async with response(start, Archetype.PROMPT_INJECTION) as incident:
        seal(incident)
        plan(incident)
        contain_at_once(incident)
        inform(incident)
        contained = await contain_with_consent(incident)
        if contained.complete:
            await recover(incident)
        return close(incident)
