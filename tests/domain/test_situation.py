"""Where an incident stands, in words: the newest stage decides, and a call for a person holds until the response went on."""

import pytest

from runbooks.domain.ledger import Actor, ActorKind, Draft, EntryType, LedgerEntry
from runbooks.domain.situation import UNTIL_NAMED, situation
from runbooks.domain.value import Json

KEEPER = Actor(kind=ActorKind.KEEPER, name="keeper")


def story(*told: tuple[EntryType, dict[str, Json]] | EntryType) -> list[LedgerEntry]:
    """Entries of one incident, in this order."""
    entries = []
    for number, one in enumerate(told):
        kind, body = one if isinstance(one, tuple) else (one, {})
        draft = Draft(key=str(number), type=kind, actor=KEEPER, incident="INC-TEST", body=body)
        entries.append(
            LedgerEntry.write(
                draft, index=number, at="2026-11-21T02:00:00.000000000Z", incident_seq=number, incident_prev=None
            )
        )
    return entries


STAGES = {
    "not opened": [],
    "opened; evidence is being sealed": [EntryType.INCIDENT_OPENED, EntryType.COLLECTION_SEALED],
    "evidence sealed; the plan comes next": [EntryType.INCIDENT_OPENED, EntryType.EVIDENCE_SEALED],
    "planned; nothing was taken away yet": [EntryType.PLAN_MADE, EntryType.DECISION_RECORDED],
    "being contained": [EntryType.PLAN_MADE, EntryType.EFFECT_APPLIED],
    "contained; the fix is tried next": [(EntryType.CONTAINMENT_JUDGED, {"verdict": {"complete": True}})],
    "not (fully) contained": [(EntryType.CONTAINMENT_JUDGED, {"verdict": {"complete": False}})],
    "the fix does not hold": [(EntryType.RECOVERY_JUDGED, {"passed": False})],
    "closed: evidence only": [(EntryType.INCIDENT_CLOSED, {"ending": "evidence_only"})],
}


@pytest.mark.parametrize(("stage", "told"), STAGES.items())
def test_the_newest_stage_decides(stage: str, told: list[tuple[EntryType, dict[str, Json]] | EntryType]) -> None:
    assert situation(story(*told)).stage == stage


def test_what_comes_after_the_closing_does_not_open_it_again() -> None:
    where = situation(story((EntryType.INCIDENT_CLOSED, {"ending": "contained"}), EntryType.EFFECT_UNDONE))
    assert (where.stage, where.ending) == ("closed: contained", "contained")


def test_a_call_for_a_person_holds_until_the_response_went_on() -> None:
    call = (EntryType.PERSON_NEEDED, {"because": "the far side is silent", "needed": "look at it"})
    assert situation(story(EntryType.PLAN_MADE, call, call)).calls == ("look at it",)
    assert situation(story(EntryType.PLAN_MADE, call, EntryType.RUN_STARTED)).calls == ("look at it",)
    assert situation(story(EntryType.PLAN_MADE, call, EntryType.EFFECT_APPLIED)).calls == ()


def test_a_call_for_a_name_stays_past_the_closing_until_it_is_named() -> None:
    unnamed = (EntryType.PERSON_NEEDED, {"needed": "say what it is", "until": UNTIL_NAMED})
    other = (EntryType.PERSON_NEEDED, {"needed": "look"})
    closed = (EntryType.INCIDENT_CLOSED, {"ending": "evidence_only"})
    assert situation(story(other, unnamed, EntryType.EVIDENCE_SEALED, EntryType.PLAN_MADE)).calls == ("say what it is",)
    where = situation(story(unnamed, EntryType.PLAN_MADE, closed))
    assert (where.stage, where.calls) == ("closed: evidence only", ("say what it is",))
    assert situation(story(unnamed, closed, EntryType.INCIDENT_RECLASSIFIED)).calls == ()


def test_a_call_that_names_its_ends_is_answered_by_these_about_the_same_act_and_by_nothing_else() -> None:
    call = (EntryType.PERSON_NEEDED, {"needed": "look", "action": "tool", "until": ["effect_undone", "review_drafted"]})
    closed = (EntryType.INCIDENT_CLOSED, {"ending": "contained"})
    other, same = ((EntryType.EFFECT_UNDONE, {"action": name}) for name in ("prompt", "tool"))
    assert situation(story(call, EntryType.REVIEW_SCHEDULED, closed, other)).calls == ("look",)
    assert situation(story(call, closed, same)).calls == ()
    assert situation(story(call, closed, EntryType.REVIEW_DRAFTED)).calls == ()


def test_looking_again_is_no_stage() -> None:
    again = (EntryType.PROBES_JUDGED, {"again": True})
    assert situation(story(EntryType.PLAN_MADE, EntryType.EFFECT_UNDONE, again)).stage == "giving back"
