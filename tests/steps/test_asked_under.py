"""Under which configuration a request is asked, and who can answer it: keys are rotated, people come and go. No engine."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.approval import ApprovalRequest, Standing
from runbooks.domain.configuration import Rung
from runbooks.domain.identifiers import short_id
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.replay import Outcome, Replay
from runbooks.domain.value import canonical, digest_of
from tasks.approval import eligible, plan_of, requests_of, verdict_on
from tasks.approval_page import approval_pages
from tasks.escalation import people_on
from tasks.inbox import look_into
from tasks.inbox_page import page_of
from tasks.installation import Installation
from tasks.proofs import listed_fingerprints
from tests.steps.desk import Desk, make_people, people_toml
from tests.steps.glass import judged_again, status

LATER = "kim"
"""Somebody who is listed while the requests are open."""


def asked(desk: Desk) -> tuple[str, ApprovalRequest]:
    incident = desk.declare()
    desk.respond(incident)
    return incident, next(one for one in requests_of(desk.installation, incident) if one.step == "refund-tool")


def activate(desk: Desk) -> str:
    assert desk("policy", "activate").code == 0
    return desk.installation.active_digest()


@pytest.fixture(scope="module")
def new_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Everybody's next key."""
    return make_people(tmp_path_factory.mktemp("new-keys"))


def rotate(desk: Desk, keys: dict[str, Path]) -> str:
    """Everybody has a new key, and a new secret of codes; returns the configuration that lists them."""
    desk.write("people.toml", people_toml(keys).replace(".code", ".new"))
    desk.keys = keys
    return activate(desk)


def asked_to_undo(desk: Desk, incident: str) -> dict[str, Any]:
    ran = desk("undo", incident, "--action", "refund-tool", "--json")
    act: dict[str, Any] = ran.json["acts"][0]
    return act


def test_after_a_rotation_of_keys_what_is_asked_then_can_be_answered(desk: Desk, new_keys: dict[str, Path]) -> None:
    incident = desk.declare()
    desk.respond(incident)
    desk.contain(incident)
    first = desk.installation.active_digest()
    rotated = rotate(desk, new_keys)
    name = asked_to_undo(desk, incident)["request"]
    request = next(one for one in requests_of(desk.installation, incident) if one.id == name)
    assert request.configuration == rotated != first == plan_of(desk.installation, incident).configuration
    assert eligible(desk.installation, request) == ["ana", "cleo", "dora"]
    for person in ("dora", "cleo"):
        assert desk.approve(name, person).code == 0
    assert verdict_on(desk.installation, request).standing is Standing.GRANTED
    assert asked_to_undo(desk, incident)["outcome"] == "undone"
    assert status(desk) == "on"
    assert judged_again(desk, incident) == []


def test_an_open_request_names_nobody_whose_answer_would_not_count(desk: Desk, new_keys: dict[str, Path]) -> None:
    incident, request = asked(desk)
    place = desk.installation
    assert eligible(place, request) == ["ana", "ben", "cleo"]
    keys = {**desk.keys, "ben": new_keys["ben"]}
    code = 'code_secret = "file:secrets/ben.code"'
    listed = people_toml(keys).replace(code, code.replace(".code", ".new"))
    kim = new_keys["dora"].with_suffix(".key.pub").read_text().strip()
    listed += f'\n[people.{LATER}]\nname = "Kim"\nroles = ["security"]\nssh_keys = ["{kim}"]\n'
    desk.write("people.toml", listed)
    activate(desk)
    assert eligible(place, request) == ["ana", "cleo"], "neither whose key is new, nor who is new"
    verdict = verdict_on(place, request)
    assert people_on(place, request, Rung(after_minutes=0, channels=("chat",)), verdict) == ["ana", "cleo"]
    page, _ = approval_pages(place, incident, [request], "")
    waiting = next(one for one in desk("inbox", "--json").json["requests"] if one["request"] == request.id)
    assert "**Who can:** ana, cleo\n" in page
    assert waiting["may_answer"] == ["ana", "cleo"]
    assert "| ana, cleo |" in page_of(place, look_into(place))
    desk.keys = {**keys, LATER: new_keys["dora"]}
    for person in ("ben", LATER):
        desk.approve(request.id, person)
    assert verdict_on(place, request).approvers == (), "as the page says"


def test_who_lost_the_key_may_answer_by_code_as_long_as_codes_are_taken(desk: Desk, new_keys: dict[str, Path]) -> None:
    _, request = asked(desk)
    assert request.proofs == ("ssh", "code")
    desk.write("people.toml", people_toml(new_keys))
    activate(desk)
    assert eligible(desk.installation, request) == ["ana", "ben", "cleo"], "their codes are the same"
    desk.change("policy.toml", 'proofs = ["ssh", "code"]', 'proofs = ["ssh"]')
    activate(desk)
    assert eligible(desk.installation, request) == []


def test_a_configuration_that_becomes_active_in_the_instant_of_asking_is_no_difference(
    desk: Desk, new_keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = desk.declare()
    desk.respond(incident)
    desk.contain(incident)
    place, before = desk.installation, desk.installation.active_digest()

    def meanwhile(kind: str, entropy: bytes) -> str:
        monkeypatch.undo()
        desk.change("policy.toml", '"product-owner", "security", "incident-commander"', '"product-owner", "security"')
        assert rotate(desk, new_keys) != before
        return short_id(kind, entropy)

    monkeypatch.setattr("tasks.asking.short_id", meanwhile)
    asked_to_undo(desk, incident)
    request = requests_of(place, incident)[-1]
    assert request.configuration == before
    assert request.roles == ("product-owner", "security", "incident-commander"), "one configuration's, pin and right"
    assert judged_again(desk, incident) == []


def forged(place: Installation, incident: str, change: Callable[[dict[str, Any]], None]) -> list[str]:
    """What a replay finds when the newest request says something else."""
    entries, more = place.store.entries(incident), dict[str, bytes]()
    at = max(n for n, entry in enumerate(entries) if entry.type is EntryType.APPROVAL_REQUESTED)
    value = json.loads(place.vault.get(entries[at].subject["request"]))
    change(value)
    more[digest_of(canonical(value))] = canonical(value)
    subject = {**entries[at].subject, "request": digest_of(canonical(value))}
    entries[at] = entries[at].model_copy(update={"subject": subject})
    house: list[LedgerEntry] = place.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
    steps = Replay(entries, house, lambda d: more.get(d) or place.vault.get(d), listed_fingerprints).steps()
    return [text for one in steps if one.outcome is Outcome.DIFFERS for text in one.differences]


def test_a_replay_knows_under_what_a_request_may_have_been_asked(desk: Desk, new_keys: dict[str, Path]) -> None:
    place = desk.installation
    place.activate_if_fresh()
    first = place.active_digest()
    desk.change("policy.toml", "probes_in_a_row = 1", "probes_in_a_row = 2")
    second = activate(desk)
    incident = desk.declare()
    desk.respond(incident)
    desk.contain(incident)
    rotate(desk, new_keys)
    asked_to_undo(desk, incident)
    assert forged(place, incident, lambda _: None) == []
    plan = plan_of(place, incident)
    assert plan.configuration == second
    assert forged(place, incident, lambda v: v.update(configuration=second, runbook=plan.runbook)) == [], "as of before"
    assert any(
        "configuration and runbook" in one for one in forged(place, incident, lambda v: v.update(configuration=first))
    )
    assert any("configuration and runbook" in one for one in forged(place, incident, lambda v: v.update(runbook=first)))
