"""The review: some working days later, draft it from the ledger, so that people argue about causes and not about times."""

from prefect import flow

from tasks.outcome import show_review
from tasks.review import write_review


@flow(name="post-incident-review", persist_result=False)
async def post_incident_review(incident: str) -> str:
    """Draft the review of this incident and leave it on the run page."""
    review = write_review(incident)
    show_review(review)
    return review.digest()
