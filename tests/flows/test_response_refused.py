"""Responses in which something is missing or refused: each takes its own branch, and says which."""

from __future__ import annotations

import pytest

from flows.doors import practice
from runbooks.domain.approval import Answer
from runbooks.domain.incident import Archetype
from runbooks.domain.ledger import EntryType
from runbooks.domain.signed import RECLASSIFICATION_NAMESPACE, Reclassification
from runbooks.domain.situation import UNTIL_NAMED, situation
from tasks.ledger import door_actor
from tasks.proofs import sign_bytes
from tasks.reclassifying import reclassify
from tests.flows.ground import Ground
from tests.flows.papers import effects_on_paper
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]

ACTS = (EntryType.EFFECT_CLAIMED, EntryType.EFFECT_SENDING, EntryType.EFFECT_APPLIED)


def test_five_responses_at_once_each_end_as_they_should(ground: Ground) -> None:
    unknown, near = ground.open("no-such-system"), ground.open("passing", near_miss=True)
    dark, lame, denied = ground.open("dark"), ground.open("lame"), ground.open("denied")

    until(lambda: ground.open_requests(denied), what="somebody is asked")
    ground.decide(ground.open_requests(denied)[0], "ben", Answer.DENY)
    assert ground.ending(denied, helped=False) == "not_contained"
    assert ground.has(denied, EntryType.REQUEST_DENIED, action="tool-0")
    assert not ground.entries(denied, *ACTS)
    assert effects_on_paper(ground.home, "denied") == []
    assert ground.has(denied, EntryType.REVIEW_SCHEDULED)

    assert ground.ending(unknown) == "evidence_only"
    gaps = ground.wait(unknown, EntryType.EVIDENCE_SEALED).body["gaps"]
    assert any("the inventory does not know the system no-such-system" in gap for gap in gaps)
    assert not ground.entries(unknown, *ACTS, EntryType.APPROVAL_REQUESTED)

    assert ground.ending(near) == "near_miss"
    assert not ground.entries(near, *ACTS, EntryType.APPROVAL_REQUESTED)
    assert ground.has(near, EntryType.REVIEW_SCHEDULED)

    assert ground.ending(dark) == "contained"
    gaps = ground.wait(dark, EntryType.EVIDENCE_SEALED).body["gaps"]
    assert any(gap.startswith("B ") and "nobody:calls" in gap for gap in gaps), gaps
    assert effects_on_paper(ground.home, "dark") == ["tool-0 off"]

    assert ground.ending(lame) == "partial"
    assert ground.has(lame, EntryType.PROBES_JUDGED, action="tool-0", status="effective")
    assert ground.has(lame, EntryType.EFFECT_FAILED, action="tool-1")
    missing = ground.wait(lame, EntryType.CONTAINMENT_JUDGED).body["verdict"]["missing"]
    assert [name.split()[0] for name in missing] == ["tool-1"]
    assert any("tool-1" in str(e.body["because"]) for e in ground.entries(lame, EntryType.PERSON_NEEDED))
    assert situation(ground.entries(lame)).calls == ("decide about what is not taken away: tool-1",), "closed or not"
    assert effects_on_paper(ground.home, "lame") == ["tool-0 off"]

    for incident in (unknown, near, dark, lame, denied):
        ground.sound(incident)


def test_answers_in_the_form(ground: Ground) -> None:
    """Nothing, then a wrong code, then a right one: only the last changes anything."""
    incident = ground.open("coded")
    run = ground.suspended(incident)
    assert ground.resume(run) == "ACCEPT"
    ground.wait(incident, EntryType.RUN_WOKEN)
    assert ground.suspended(incident) == run
    assert not ground.entries(incident, *ACTS, EntryType.DECISION_RECORDED, EntryType.DECISION_REFUSED)

    (request,) = ground.open_requests(incident)
    answer = {"answer": "approve", "reason": "seen"} | {
        field: ground.choice(run, field, name) for field, name in (("request", request.id), ("person", "ben"))
    }
    right = ground.code("ben")
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    assert ground.resume(run, **answer, one_time_code=wrong) == "ACCEPT"
    ground.wait(incident, EntryType.DECISION_REFUSED)
    assert ground.suspended(incident) == run
    woken = ground.entries(incident, EntryType.RUN_WOKEN)[-1].body["because"]
    assert "not accepted" in str(woken).lower()
    assert not ground.entries(incident, *ACTS, EntryType.DECISION_RECORDED)

    assert ground.resume(run, **answer, one_time_code=ground.code("ben")) == "ACCEPT"
    ground.wait(incident, EntryType.DECISION_RECORDED, request=request.id, attested="attested by quell")
    assert ground.ending(incident) == "contained"
    assert effects_on_paper(ground.home, "coded") == ["tool-0 off"]
    ground.sound(incident)


def test_a_request_that_nobody_answers_expires(ground: Ground) -> None:
    incident = ground.unanswered
    assert ground.ending(incident, helped=False) == "not_contained"
    assert ground.has(incident, EntryType.REQUEST_EXPIRED, action="tool-0")
    assert not ground.entries(incident, *ACTS)
    assert effects_on_paper(ground.home, "quick") == []
    ground.sound(incident)


def test_what_nobody_can_name_calls_a_person_and_is_contained_under_its_name(ground: Ground) -> None:
    """The response that continues it is not started here: an open incident without a run is the keeper's to start."""
    unnamed = ground.open("unnamed", Archetype.UNCLASSIFIED)
    assert ground.ending(unnamed) == "evidence_only"
    assert ground.has(unnamed, EntryType.PERSON_NEEDED, until=UNTIL_NAMED)
    assert effects_on_paper(ground.home, "unnamed") == []

    place = ground.installation
    said = Reclassification(
        installation=place.id, incident=unnamed, was=place.incident(unnamed).digest(), person="ana",
        archetype=Archetype.PROMPT_INJECTION, reason="the ticket told it to",
    )  # fmt: skip
    key = practice.key_file(ground.home, "ana")
    signature = sign_bytes(said.canonical(), key, namespace=RECLASSIFICATION_NAMESPACE)
    named = reclassify(place, said, signature, door=door_actor("test")).id
    assert ground.ending(named) == "contained"
    assert ground.has(named, EntryType.EFFECT_APPLIED, action="tool-0")
    assert "ana" not in {entry.actor.name for entry in ground.entries(named, EntryType.DECISION_RECORDED)}
    assert situation(ground.entries(unnamed)).calls == ()
