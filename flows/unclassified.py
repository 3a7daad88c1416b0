"""Nobody knows yet what it is, or its runbook does not exist yet.

Keep everything, name a lead, tell people. Nothing is taken away by somebody who does not know what is going on: a
person is called who names the archetype (`quell reclassify`), whose runbook then continues, and the review is scheduled
all the same.
"""

from prefect import flow

from flows._form import Start
from flows._stages import close, inform, plan, response, seal
from runbooks.domain.incident import Archetype
from tasks.triage import call_for_a_name


@flow(name="unclassified", persist_result=False)
async def unclassified(start: Start) -> str:
    """Triage of anything that no archetype fits yet: seal, tell, schedule the review."""
    async with response(start, Archetype.UNCLASSIFIED) as incident:
        seal(incident)
        call_for_a_name(incident)
        inform(incident)
        plan(incident)
        return close(incident)
