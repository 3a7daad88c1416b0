"""The agent goes its own way: nobody attacked it, its goal was too broad or it read it too broadly, and it acts.

It acts now, so reversible things come first: its tools go off and its client is blocked. When a monitor's signed signal
began this and the policy allows it beforehand, that happens as soon as the evidence is sealed; what a person started,
and what cannot be undone, revoking its token, waits for people. Then the goal is tried again, harmlessly, and only a fix
that holds gives anything back.
"""

from prefect import flow

from flows._form import Start
from flows._stages import close, contain_at_once, contain_with_consent, inform, plan, recover, response, seal
from runbooks.domain.incident import Archetype


@flow(name="agentic-misalignment", persist_result=False)
async def agentic_misalignment(start: Start) -> str:
    """Respond to an agent that goes its own way: seal, stop it (for a monitor's signal unasked), prove, recover, review."""
    async with response(start, Archetype.AGENTIC_MISALIGNMENT) as incident:
        seal(incident)
        plan(incident)
        contain_at_once(incident)
        inform(incident)
        contained = await contain_with_consent(incident)
        if contained.complete:
            await recover(incident)
        return close(incident)
