"""Answers in the very instant in which somebody is asked, before the run has gone to sleep: none is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from runbooks.domain.ledger import EntryType
from tests.flows.ground import Ground
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]
TRIES = 5


def test_an_answer_in_the_instant_of_the_question_is_not_lost(ground: Ground) -> None:
    """Whoever answers so early may ring in vain, since no run waits yet."""
    incidents = [ground.open("early") for _ in range(TRIES)]

    def answer_at_once(incident: str) -> bool:
        (request,) = until(lambda: ground.open_requests(incident), 120, what=f"{incident} asks")
        ground.decide(request, "ben")
        early = not ground.entries(incident, EntryType.RUN_SUSPENDED)
        ground.ring(incident)
        return early

    with ThreadPoolExecutor(TRIES) as people:
        early = list(people.map(answer_at_once, incidents))
    assert any(early), "at least one was answered before the run had written that it waits"
    for incident in incidents:
        assert ground.ending(incident, helped=False) == "contained"
        assert len(ground.entries(incident, EntryType.DECISION_RECORDED)) == 1
        ground.sound(incident)
