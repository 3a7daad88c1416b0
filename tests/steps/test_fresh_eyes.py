"""Whoever took something away is not enough to give it back, in whatever way they did: alone, or through a deputy."""

import pytest

from runbooks.domain.approval import ApprovalRequest, Purpose, Standing
from tasks.approval import people_who_disabled, requests_of, settle, verdict_on
from tasks.ledger import flow_actor
from tests.steps.desk import Desk
from tests.steps.glass import judged_again, policy_plus, smash, status
from tests.steps.test_glass_and_consent import MONITOR, signal

ANA_ALONE = """
[[break_glass]]
roles = ["incident-commander"]
verbs = ["disable_tool"]
systems = ["helper"]
max_minutes = 30
"""


def asked_to_undo(desk: Desk, incident: str) -> ApprovalRequest:
    desk("undo", incident, "--action", "refund-tool", "--json")
    found = [one for one in requests_of(desk.installation, incident) if one.purpose is Purpose.UNDO]
    return found[-1]


@pytest.fixture
def ana_broke_it(desk: Desk) -> str:
    """A monitor's signal opened it, so the requester is proven; ana took refunds away alone."""
    (desk.home / "config" / "sources.toml").write_text(MONITOR)
    policy_plus(desk, ANA_ALONE)
    incident = signal(desk)
    assert smash(desk, incident, "ana").json["status"] == "effective"
    return incident


def test_who_broke_the_glass_does_not_give_it_back_alone(desk: Desk, ana_broke_it: str) -> None:
    request = asked_to_undo(desk, ana_broke_it)
    ran = desk.approve(request.id, "ana")
    assert (ran.json["standing"], "at least one of them not ana" in ran.json["because"]) == ("waiting", True)
    assert desk("undo", ana_broke_it, "--json").code == 1
    assert status(desk) == "off"
    assert desk.approve(request.id, "dora").json["standing"] == "granted"
    assert desk("undo", ana_broke_it, "--json").code == 0
    assert status(desk) == "on"
    assert judged_again(desk, ana_broke_it) == []


def test_undoing_by_hand_is_asked_for_by_nobody_known_and_costs_one_person_more(desk: Desk, ana_broke_it: str) -> None:
    assert desk.installation.incident(ana_broke_it).requester.proven
    request = asked_to_undo(desk, ana_broke_it)
    assert (request.requester.proven, request.people) == (False, 2)
    assert desk.approve(request.id, "dora").json["standing"] == "waiting", "fresh eyes, and one alone"


def test_who_asked_for_the_response_decides_on_undoing_it_no_more_than_before(desk: Desk) -> None:
    words = ["declare", "--system", "helper", "--what", "it refunds", "--archetype", "prompt-injection", "--drill"]
    ran = desk(*words, "--as", "dora", "--json")
    incident = str(ran.json["incident"])
    desk.respond(incident)
    desk.contain(incident)
    ran = desk.approve(asked_to_undo(desk, incident).id, "dora")
    assert "dora may not decide on this request" in ran.json["not_counted"][0]


def test_whose_deputy_took_it_away_has_no_fresh_eyes(desk: Desk) -> None:
    """Fay stands for dora, the product owner; both are one voice, when it is taken away and when it is given back."""
    people = (desk.home / "config" / "people.toml").read_text()
    people += '\n[people.fay]\nname = "Fay"\nroles = ["helpers"]\nssh_keys = ["{}"]\ndeputy_for = "dora"\n'.format(
        desk.keys["ben"].with_suffix(".key.pub").read_text().strip()
    )
    people = people.replace(
        f'ssh_keys = ["{desk.keys["ben"].with_suffix(".key.pub").read_text().strip()}"]', "ssh_keys = []", 1
    )
    desk.write("people.toml", people)
    desk.change(
        "policy.toml", 'roles = ["incident-commander", "on-call", "security"]\nproofs = ["ssh", "code"]',
        'roles = ["product-owner", "security"]\nproofs = ["ssh"]',
    )  # fmt: skip
    incident = desk.declare()
    desk.respond(incident)
    desk.keys = desk.keys | {"fay": desk.keys["ben"]}
    place = desk.installation
    for request in requests_of(place, incident):
        for person in ("fay", "cleo"):
            assert desk.approve(request.id, person).json["approvers"]
        verdict = settle(place.pen(flow_actor("test")), request, verdict_on(place, request))
        assert (verdict.standing, verdict.for_others) == (Standing.GRANTED, {"fay": "dora"})
    assert people_who_disabled(place, incident) == {"fay", "dora", "cleo"}
