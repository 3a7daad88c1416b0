"""Consent that ends before the act: time, policy, inventory; who may never decide; and who may re-enable. No engine."""

import pytest

from flows.doors import keeper
from flows.doors.looking import Look
from runbooks.domain.approval import ApprovalRequest, Purpose, Standing
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from tasks.approval import eligible, people_who_disabled, requests_of, settle, verdict_on
from tasks.containment import contain
from tasks.ledger import clock, flow_actor
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, at, judged_again, policy_plus, smash, status, written
from tests.steps.test_glass_and_consent import signal

ON_CALL = 'roles = ["incident-commander", "on-call", "security"]'


def granted(desk: Desk) -> tuple[str, ApprovalRequest]:
    """An incident in which ana and ben approved switching off refunds; nothing was done yet."""
    incident = desk.declare()
    desk.respond(incident)
    request = next(r for r in requests_of(desk.installation, incident) if r.step == "refund-tool")
    for person in ("ana", "ben"):
        desk.approve(request.id, person)
    verdict = verdict_on(desk.installation, request)
    assert verdict.standing is Standing.GRANTED
    settle(desk.installation.pen(flow_actor("test")), request, verdict)
    return incident, request


def activate(desk: Desk, file: str, old: str, new: str) -> None:
    desk.change(file, old, new)
    assert desk("policy", "activate").code == 0


def refused(desk: Desk, incident: str, words: str) -> None:
    """The act is refused, on record, and nothing happened."""
    assert contain.fn(incident, "refund-tool") == "failed"
    assert status(desk) == "on"
    assert words in str(written(desk, incident, EntryType.EFFECT_REFUSED)[-1]["because"])
    assert not written(desk, incident, EntryType.EFFECT_CLAIMED)


def test_what_an_owner_tightens_holds_for_what_was_granted_and_is_not_done(desk: Desk) -> None:
    incident, request = granted(desk)
    activate(desk, "policy.toml", f"{ON_CALL}\nproofs", f"{ON_CALL}\npeople = 2\nproofs")
    refused(desk, incident, "needs 1 more")
    assert [one["because"] for one in desk("inbox", "--json").json["requests"] if one["request"] == request.id]
    desk.approve(request.id, "cleo")
    settle(desk.installation.pen(flow_actor("test")), request, verdict_on(desk.installation, request))
    assert contain.fn(incident, "refund-tool") == "effective"
    assert people_who_disabled(desk.installation, incident) == {"ana", "ben", "cleo"}, "nobody of them re-enables alone"
    activate(desk, "policy.toml", f"{ON_CALL}\npeople = 2", f"{ON_CALL}\npeople = 4")
    assert verdict_on(desk.installation, request).standing is Standing.GRANTED, "it is done"
    assert judged_again(desk, incident) == []


def test_another_policy_under_which_it_is_enough_wakes_the_response_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident, place, rung = granted(desk)[0], desk.installation, list[str]()
    monkeypatch.setattr(keeper, "ring", rung.append)
    monkeypatch.setattr(keeper, "form_stands", lambda *_: True)
    monkeypatch.setattr(keeper, "is_live", lambda *_: False)

    def sleeps(number: int) -> None:
        place.pen(flow_actor("test"), "the-run").write(
            EntryType.RUN_SUSPENDED, f"suspended/the-run/gate-{number}", incident=incident,
            body={"form": f"gate-{number}", "seen": place.store.size()},
        )  # fmt: skip

    def round_of_the_keeper() -> None:
        keeper.keep(place, incident, look=Look.of_round(place, [incident], 0))

    activate(desk, "policy.toml", f"{ON_CALL}\nproofs", f"{ON_CALL}\npeople = 2\nproofs")
    sleeps(0)
    round_of_the_keeper()
    assert rung == [], "it waits for one more"
    activate(desk, "policy.toml", f"{ON_CALL}\npeople = 2\nproofs", f"{ON_CALL}\nproofs")
    round_of_the_keeper()
    assert rung == [incident]
    sleeps(1)
    round_of_the_keeper()
    assert rung == [incident], "the response has seen it"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (ON_CALL, 'roles = ["incident-commander", "security"]', "which the active policy demands by now"),
        (ON_CALL, f'{ON_CALL}\npurposes = ["undo"]', "none any more that covers it"),
        (ON_CALL, f'{ON_CALL}\nnever = ["on-call"]', "may not decide on this, by the active policy"),
    ],
)
def test_a_role_that_was_dropped_and_a_right_that_was_deleted(desk: Desk, old: str, new: str, words: str) -> None:
    incident, request = granted(desk)
    activate(desk, "policy.toml", old, new)
    verdict = verdict_on(desk.installation, request)
    assert words in f"{verdict.because} {verdict.not_counted}"
    refused(desk, incident, "stands waiting")
    assert ("ben" in eligible(desk.installation, request)) is False


def test_a_control_that_was_deleted_from_the_inventory(desk: Desk) -> None:
    incident, request = granted(desk)
    activate(desk, "systems.toml", 'target = "refunds"\ntitle', 'target = "token"\ntitle')
    refused(desk, incident, "no control of helper in the active inventory")
    assert verdict_on(desk.installation, request).standing is Standing.GRANTED


def test_a_system_that_was_deleted_is_a_failure_with_a_name(desk: Desk) -> None:
    incident, _ = granted(desk)
    text = (desk.home / "config" / "systems.toml").read_text()
    desk.write("systems.toml", text.replace("helper", "another"))
    assert desk("policy", "activate").code == 0
    assert contain.fn(incident, "refund-tool") == "failed"
    assert "helper.connections.side" in str(written(desk, incident, EntryType.EFFECT_FAILED)[-1]["because"])


def test_a_person_whose_time_ends_between_decision_and_act(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.change("people.toml", 'name = "Ben"', f'name = "Ben"\nvalid_until = "{later(clock(), 600)}"')
    incident, request = granted(desk)
    at(monkeypatch, desk, 20)
    refused(desk, incident, "stands waiting: needs 1 more")
    desk.approve(request.id, "cleo")
    assert contain.fn(incident, "refund-tool") == "effective"
    assert judged_again(desk, incident) == []


def test_what_was_claimed_in_time_stays_consented_to(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.change("people.toml", 'name = "Ben"', f'name = "Ben"\nvalid_until = "{later(clock(), 600)}"')
    incident, request = granted(desk)
    assert contain.fn(incident, "refund-tool") == "effective"
    at(monkeypatch, desk, 20)
    assert verdict_on(desk.installation, request).approvers == ("ana", "ben")
    assert contain.fn(incident, "refund-tool") == "effective", "looked at again, not done again"
    assert len(written(desk, incident, EntryType.EFFECT_SENDING)) == 1


def test_a_right_says_who_may_never_decide(desk: Desk) -> None:
    desk.change("policy.toml", ON_CALL, f'{ON_CALL}\nnever = ["on-call", "cleo", "system-owner"]')
    desk.change("systems.toml", 'owner = "dora"', 'owner = "ana"')
    incident = desk.declare()
    desk.respond(incident)
    request = next(r for r in requests_of(desk.installation, incident) if r.step == "refund-tool")
    assert request.excluded == ("ana", "ben", "cleo")
    for person in ("ana", "ben", "cleo"):
        assert "may not decide on this request" in desk.approve(request.id, person).json["not_counted"][-1]
    assert verdict_on(desk.installation, request).approvers == ()
    assert judged_again(desk, incident) == []
    told = desk("check", "--files", "--json").json["findings"]
    assert any("taking away refund-tool" in one["found"] and "found 0 (nobody)" in one["found"] for one in told), told


def undo_request(desk: Desk, incident: str) -> ApprovalRequest:
    assert desk("undo", incident, "--json").code == 1
    return next(r for r in requests_of(desk.installation, incident) if r.purpose is Purpose.UNDO)


def test_whoever_broke_the_glass_does_not_re_enable_alone(desk: Desk) -> None:
    policy_plus(desk, GLASS.replace("on-call", "incident-commander"))
    incident = signal(desk)
    assert smash(desk, incident, "ana").json["status"] == "effective"
    request = undo_request(desk, incident)
    assert (request.acted_before, request.people) == (("ana",), 2), "and whoever runs quell undo proves nothing"
    assert desk.approve(request.id, "ana").json["standing"] == "waiting"
    assert desk("undo", incident, "--json").code == 1
    assert status(desk) == "off"
    assert desk.approve(request.id, "cleo").json["standing"] == "granted"
    assert desk("undo", incident, "--json").code == 0
    assert judged_again(desk, incident) == []


def test_the_breaker_alone_is_not_enough_whatever_the_count(desk: Desk) -> None:
    policy_plus(desk, GLASS.replace("on-call", "incident-commander"))
    incident = signal(desk)
    smash(desk, incident, "ana")
    place = desk.installation
    one = undo_request(desk, incident).model_copy(
        update={"people": 1, "nonce": "one", "severity": None, "system": None}
    )
    place.pen(flow_actor("test")).write(
        EntryType.APPROVAL_REQUESTED, "one", incident=incident, subject={"request": place.keep(one), "action": one.action},
        body={"request": one.id},
    )  # fmt: skip
    assert "at least one of them not ana" in verdict_on(place, one).because


def test_a_principal_whose_deputy_took_it_away_is_not_fresh(desk: Desk) -> None:
    desk.change("people.toml", 'roles = ["on-call"]', 'roles = ["product-owner"]\ndeputy_for = "cleo"')
    desk.change("policy.toml", '"on-call", ', "")
    incident, _ = granted(desk)
    assert people_who_disabled(desk.installation, incident) == {"ana", "ben", "cleo"}
    assert contain.fn(incident, "refund-tool") == "effective"
    request = undo_request(desk, incident)
    for person in ("ana", "cleo"):
        assert desk.approve(request.id, person).json["standing"] == "waiting"
    assert desk.approve(request.id, "dora").json["standing"] == "granted"


STRONGEST = {
    "break the glass": ("break-glass", "{}", "--action", "refund-tool", "--minutes", "1"),
    "waive the seal": ("waive", "{}"),
    "reclassify": ("reclassify", "{}", "--severity", "SEV2"),
    "keep quiet": ("quiet", "--system", "helper", "--minutes", "30"),
    "activate a policy": ("policy", "activate"),
    "report, proven": ("declare", "--system", "helper", "--what", "it refunds", "--drill"),
}


@pytest.mark.parametrize("words", STRONGEST.values(), ids=STRONGEST)
def test_a_clock_that_was_set_back_revives_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    desk.change("people.toml", 'name = "Ana"', f'name = "Ana"\nvalid_until = "{later(clock(), 600)}"')
    desk.write(
        "policy.toml", 'quiet_roles = ["incident-commander"]\n' + (desk.home / "config" / "policy.toml").read_text()
    )
    policy_plus(desk, GLASS.replace("on-call", "incident-commander"))
    incident = desk.declare()
    desk.change("policy.toml", "max_minutes = 30", "max_minutes = 29")
    with monkeypatch.context() as patch:
        patch.setattr("tasks.ledger.clock", lambda: later(clock(), 1200))
        desk.installation.pen(flow_actor("test")).write(EntryType.SOURCE_HEARD, "later", body={})
    reason = () if words[0] in ("policy", "declare") else ("--reason", "it is urgent")
    ran = desk(*(w.format(incident) for w in words), "--as", "ana", "--key", str(desk.keys["ana"]), *reason, "--json")
    assert ran.code == 1, ran
    assert "ana is valid from ever until" in ran.json["error"]["problem"]
