"""Whose waiver lets something be taken away before the seal: asked when it is given, planned upon, and acted upon."""

from runbooks.domain.approval import Purpose
from runbooks.domain.ledger import EntryType
from runbooks.domain.signed import WAIVER_NAMESPACE, Waiver
from runbooks.domain.value import digest_of
from tasks.approval import ask, plan_of, requests_of, settle, verdict_on
from tasks.containment import contain, plan_containment
from tasks.evidence import is_waived, seal_evidence
from tasks.ledger import flow_actor, person_actor
from tasks.proofs import sign_bytes, verify_bytes
from tests.steps.desk import Desk
from tests.steps.glass import judged_again, status, written


def waived(desk: Desk, incident: str, person: str) -> None:
    """As an insider writes it: really signed by this person, and nobody asked whether they may."""
    place = desk.installation
    said = Waiver(installation=place.id, incident=incident, person=person, reason="now")
    armor = sign_bytes(said.canonical(), desk.keys[person], namespace=WAIVER_NAMESPACE)
    keys = place.active().people[person].ssh_keys
    proof = verify_bytes(said.canonical(), armor, keys, person=person, namespace=WAIVER_NAMESPACE)
    place.pen(person_actor(person)).write(
        EntryType.EVIDENCE_WAIVED, f"waived/{said.digest()}", incident=incident, subject={"waiver": place.keep(said)},
        body={"because": said.reason, "person": person, "proof": proof.as_json()},
    )  # fmt: skip


def planned(desk: Desk, incident: str) -> None:
    """Planned, asked, and granted by two people."""
    plan_containment.fn(incident)
    place = desk.installation
    plan, pen = plan_of(place, incident), place.pen(flow_actor("test"))
    request = ask(place, pen, place.incident(incident), plan, plan.action("refund-tool"), Purpose.CONTAIN)
    assert request is not None
    for person in ("ben", "cleo"):
        desk.approve(request.id, person)
    settle(pen, request, verdict_on(place, request))


def test_a_waiver_of_somebody_who_may_not_waives_nothing(desk: Desk) -> None:
    incident = desk.declare()
    waived(desk, incident, "ben")
    assert not is_waived(incident), "the response seals first"
    planned(desk, incident)
    assert plan_of(desk.installation, incident).waiver is None
    assert contain.fn(incident, "refund-tool") == "failed"
    assert status(desk) == "on"
    assert "no evidence is sealed" in str(written(desk, incident, EntryType.EFFECT_REFUSED)[-1]["because"])
    assert any("evidence_waived: ('ben may not waive" in one for one in judged_again(desk, incident))


def test_an_entry_that_names_no_waiver_waives_nothing(desk: Desk) -> None:
    incident, place = desk.declare(), desk.installation
    other = Waiver(installation=place.id, incident="INC-OTHER", person="ana", reason="there")
    for number, digest in enumerate((place.keep(other), place.vault.put(b"no waiver"), digest_of(b"nothing"))):
        place.pen(person_actor("ana")).write(
            EntryType.EVIDENCE_WAIVED, f"forged/{number}", incident=incident, subject={"waiver": digest}
        )  # fmt: skip
        assert not is_waived(incident)


def test_who_may_waive_no_more_before_the_act_lets_nothing_be_taken_away_unsealed(desk: Desk) -> None:
    incident = desk.declare()
    waived(desk, incident, "ana")
    assert is_waived(incident)
    planned(desk, incident)
    desk.change("policy.toml", 'waiver_roles = ["incident-commander", "security"]', 'waiver_roles = ["security"]')
    assert desk("policy", "activate").code == 0
    assert contain.fn(incident, "refund-tool") == "failed"
    assert status(desk) == "on"
    assert "ana may not waive" in str(written(desk, incident, EntryType.EFFECT_REFUSED)[-1]["because"])
    assert not written(desk, incident, EntryType.EFFECT_CLAIMED)
    seal_evidence.fn(incident)
    assert contain.fn(incident, "refund-tool") == "effective", "it is sealed by now"
    assert judged_again(desk, incident) == [], "she might when she did"


def test_what_was_taken_away_under_a_waiver_is_given_back_whoever_may_waive_by_then(desk: Desk) -> None:
    incident = desk.declare()
    waived(desk, incident, "ana")
    planned(desk, incident)
    assert contain.fn(incident, "refund-tool") == "effective"
    desk.change("policy.toml", 'waiver_roles = ["incident-commander", "security"]', "waiver_roles = []")
    assert desk("policy", "activate").code == 0
    desk("undo", incident, "--json")
    back = next(one for one in requests_of(desk.installation, incident) if one.purpose is Purpose.UNDO)
    for person in ("dora", "ana"):
        desk.approve(back.id, person)
    assert desk("undo", incident, "--json").json["acts"][0]["outcome"] == "undone"
    assert status(desk) == "on"
    assert judged_again(desk, incident) == []
