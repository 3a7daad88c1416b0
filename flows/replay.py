"""Was it decided rightly? The incident again, from its entries alone, beside vault and Prefect's own history."""

from prefect import flow

from tasks.replay_page import replay_incident


@flow(name="replay", persist_result=False)
async def replay(incident: str) -> bool:
    """Judge every step of this incident again and leave the findings on the run page. Acts on nothing."""
    holds: bool = replay_incident(incident)
    return holds
