"""Break-glass, denial and its alternative, the ladder, guessed codes, withdrawal: on a real ledger, without any engine."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest

from runbooks.domain.approval import Answer, ApprovalRequest, Purpose, Standing, Statement
from runbooks.domain.errors import ApprovalError
from runbooks.domain.ledger import EntryType
from tasks.alternatives import offer
from tasks.approval import judge_all, requests_of, settle, verdict_on
from tasks.break_glass import end_overdue
from tasks.containment import contain
from tasks.decisions import statement_for, submit_decision
from tasks.escalation import escalate
from tasks.ledger import KEEPER, clock, door_actor
from tasks.proofs import sign_ssh
from tests.steps.desk import Desk
from tests.steps.glass import GLASS, at, judged_again, policy_plus, smash, status, written


def test_one_acts_alone_and_it_is_given_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    policy_plus(desk, GLASS)
    incident = desk.declare()
    ran = smash(desk, incident)
    assert (ran.code, ran.json["status"]) == (0, "effective"), ran
    assert status(desk) == "off"
    order = [e.type for e in desk.installation.store.entries(incident)]
    assert order.index(EntryType.EVIDENCE_SEALED) < order.index(EntryType.EFFECT_SENDING), "sealed first"
    assert "acts alone" in str(written(desk, incident, EntryType.PERSON_NEEDED)[0]["because"])
    keeper = desk.installation.pen(KEEPER)
    end_overdue(desk.installation, keeper)
    assert status(desk) == "off", "its time is not over"
    at(monkeypatch, desk, 2)
    end_overdue(desk.installation, keeper)
    end_overdue(desk.installation, keeper)
    assert status(desk) == "on"
    assert [one["outcome"] for one in written(desk, incident, EntryType.BREAK_GLASS_ENDED)] == ["undone"]


def test_what_people_approved_meanwhile_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    policy_plus(desk, GLASS)
    incident = desk.declare()
    smash(desk, incident)
    desk.respond(incident)
    for request in requests_of(desk.installation, incident):
        for person in ("ana", "cleo"):
            desk.approve(request.id, person)
    assert contain.fn(incident, "refund-tool") == "effective"
    at(monkeypatch, desk, 2)
    end_overdue(desk.installation, desk.installation.pen(KEEPER))
    assert status(desk) == "off"
    assert [one["outcome"] for one in written(desk, incident, EntryType.BREAK_GLASS_ENDED)] == ["approved"]


def test_touched_meanwhile_is_loud(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    policy_plus(desk, GLASS)
    incident = desk.declare()
    smash(desk, incident)
    world = desk.home / "world.json"
    world.write_text(world.read_text().replace('"off"', '"half"'))
    at(monkeypatch, desk, 2)
    end_overdue(desk.installation, desk.installation.pen(KEEPER))
    assert status(desk) == "half"
    assert [one["outcome"] for one in written(desk, incident, EntryType.BREAK_GLASS_ENDED)] == ["failed"]
    assert any(
        "somebody else changed it" in str(one["because"]) for one in written(desk, incident, EntryType.PERSON_NEEDED)
    )


@pytest.mark.parametrize(
    ("person", "action", "minutes"),
    [
        ("cleo", "refund-tool", "5"),
        ("ben", "system-prompt", "5"),
        ("ben", "refund-tool", "31"),
        ("ben", "nothing", "5"),
    ],
)
def test_alone_only_where_the_policy_lets_it(desk: Desk, person: str, action: str, minutes: str) -> None:
    policy_plus(desk, GLASS)
    incident = desk.declare()
    assert smash(desk, incident, person, action, minutes).code == 1
    assert status(desk) == "on"
    refused = written(desk, incident, EntryType.DECISION_REFUSED)
    assert action == "nothing" or refused[0]["answer"] == "break_glass"


def test_another_key_breaks_no_glass(desk: Desk) -> None:
    policy_plus(desk, GLASS)
    incident = desk.declare()
    desk.keys = desk.keys | {"ben": desk.keys["ana"]}
    assert smash(desk, incident).code == 1
    assert status(desk) == "on"


def asked(desk: Desk, step: str = "refund-tool") -> tuple[str, ApprovalRequest]:
    incident = desk.declare()
    desk.respond(incident)
    return incident, next(r for r in requests_of(desk.installation, incident) if r.step == step)


def answer(desk: Desk, request: ApprovalRequest, person: str, code: str, said: Answer = Answer.APPROVE) -> None:
    place = desk.installation
    statement = statement_for(place, request, said, person, "seen")
    submit_decision(place, statement, door=door_actor("test"), code=code)


def test_a_guesser_is_stopped_and_the_person_is_not(desk: Desk) -> None:
    incident, request = asked(desk)
    (desk.home / "secrets" / "ben.code").write_text(secret := pyotp.random_base32())
    right = pyotp.TOTP(secret)
    wrong = next(
        code for code in ("000000", "111111", "222222") if code not in (right.now(), right.at(time.time() - 30))
    )
    for _ in range(5):
        with pytest.raises(ApprovalError, match="is not the one"):
            answer(desk, request, "ben", wrong)
    with pytest.raises(ApprovalError, match="too many wrong"):
        answer(desk, request, "ben", right.now())
    assert len(written(desk, incident, EntryType.DECISION_REFUSED)) == 6
    assert desk.approve(request.id, "ben").code == 0, "a signature always works"
    assert verdict_on(desk.installation, request).approvers == ("ben",)


def test_a_withdrawal_before_the_claim(desk: Desk) -> None:
    incident, request = asked(desk)
    for person in ("ana", "ben"):
        desk.approve(request.id, person)
    gone = desk(
        "withdraw", request.id, "--as", "ben", "--key", str(desk.keys["ben"]), "--reason", "wrong one", "--json"
    )
    assert (gone.code, gone.json["standing"]) == (0, "waiting")
    assert contain.fn(incident, "refund-tool") == "failed"
    assert status(desk) == "on"
    desk.approve(request.id, "cleo")
    assert contain.fn(incident, "refund-tool") == "effective"
    late = desk("withdraw", request.id, "--as", "ana", "--key", str(desk.keys["ana"]), "--reason", "oh", "--json")
    assert late.code == 1
    assert verdict_on(desk.installation, request).standing is Standing.GRANTED


def test_requests_are_answered_in_any_order_and_none_waits_for_another(desk: Desk) -> None:
    incident, slow = asked(desk)
    urgent = next(r for r in requests_of(desk.installation, incident) if r.step == "system-prompt")
    for person in ("ben", "ana"):
        desk.approve(urgent.id, person)
    assert contain.fn(incident, "system-prompt") == "unverified", "it has no probe"
    assert verdict_on(desk.installation, slow).standing is Standing.WAITING
    assert status(desk) == "on"
    for person in ("cleo", "ana"):
        desk.approve(slow.id, person)
    assert contain.fn(incident, "refund-tool") == "effective"


def test_two_people_in_the_same_instant_both_count_once(desk: Desk) -> None:
    _, request = asked(desk)
    place = desk.installation
    said = [statement_for(place, request, Answer.APPROVE, name, "seen") for name in ("ana", "ben") for _ in range(3)]
    signed = [(one, sign_ssh(one, desk.keys[one.person])) for one in said]

    def hand_in(pair: tuple[Statement, str]) -> None:
        submit_decision(place, pair[0], door=door_actor("test"), signature=pair[1])

    with ThreadPoolExecutor(max_workers=6) as pool:
        list(pool.map(hand_in, signed))
    verdict = verdict_on(place, request)
    assert (verdict.standing, set(verdict.approvers)) == (Standing.GRANTED, {"ana", "ben"})


def test_after_a_denial_the_wider_act_is_asked_for(desk: Desk) -> None:
    desk.change("systems.toml", '[[systems.helper.evidence]]\nevidence_class = "E"', """[[systems.helper.controls]]
name = "client"
verb = "block_client"
connector = "side"
target = "token"
title = "Block it"
blast_radius = "all"
undo = "back"

[[systems.helper.evidence]]
evidence_class = "E\"""")  # fmt: skip
    incident, request = asked(desk)
    place, keeper = desk.installation, desk.installation.pen(KEEPER)
    desk("deny", request.id, "--as", "ben", "--key", str(desk.keys["ben"]), "--reason", "the shop needs it", "--json")
    settle(keeper, request, verdict_on(place, request))
    (denial,) = place.store.entries(incident, types=(EntryType.REQUEST_DENIED,))
    assert len(offer(place, keeper, incident, denial)) == 1
    assert offer(place, keeper, incident, denial) == [], "once"
    new = requests_of(place, incident)[-1]
    assert (new.step, new.purpose) == ("client", Purpose.CONTAIN)
    proposed = written(desk, incident, EntryType.ALTERNATIVE_PROPOSED)[0]
    assert "the shop needs it" in str(proposed["because"])
    assert proposed["proposed"] == ["client (wider)"]
    assert judged_again(desk, incident) == []


LADDER = """
[channels]
pager = "file:secrets/pager"
"""


def test_the_ladder_tells_the_next_people_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.change(
        "policy.toml",
        'roles = ["incident-commander", "on-call", "security"]\nproofs = ["ssh", "code"]',
        """roles = ["incident-commander", "on-call", "security"]
proofs = ["ssh", "code"]
ladder = [{after_minutes = 10, roles = ["on-call"], channels = ["pager"]}, {after_minutes = 20, channels = ["pager"]}]""",
    )
    policy_plus(desk, LADDER)
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr("tasks.telling._send", lambda _i, ref, title, text: sent.append((ref, title + text)) or "")  # type: ignore[func-returns-value]
    incident, request = asked(desk)
    place, keeper = desk.installation, desk.installation.pen(KEEPER)
    for minutes, people in ((0, []), (10, ["ben"]), (20, ["ben", "ana", "ben", "cleo"])):
        at(monkeypatch, desk, 0 if not minutes else 10)
        assert escalate(place, keeper, request, verdict_on(place, request)) == people
        escalate(place, keeper, request, verdict_on(place, request))
    assert [ref for ref, _ in sent] == ["file:secrets/pager"] * 2
    assert "a ticket made it refund" not in str(sent), "hostile text stays out"
    assert [one["rung"] for one in written(desk, incident, EntryType.REQUEST_ESCALATED)] == [0, 1]


def test_a_channel_that_fails_is_on_record_without_its_address(desk: Desk) -> None:
    desk.change(
        "policy.toml",
        'roles = ["incident-commander", "on-call", "security"]\nproofs = ["ssh", "code"]',
        """roles = ["incident-commander", "on-call", "security"]
proofs = ["ssh", "code"]
ladder = [{after_minutes = 0, channels = ["pager"]}]""",
    )
    policy_plus(desk, LADDER)
    (desk.home / "secrets" / "pager").write_text("nonsense://secret-token")
    incident, request = asked(desk)
    escalate(desk.installation, desk.installation.pen(KEEPER), request, verdict_on(desk.installation, request))
    failed = written(desk, incident, EntryType.TELLING_FAILED)
    assert failed
    assert "secret-token" not in str(failed)


def test_a_thousand_waiting_requests_are_judged_from_one_reading(desk: Desk) -> None:
    incident, first = asked(desk)
    place = desk.installation
    pen = place.pen(KEEPER)
    many = [first.model_copy(update={"id": f"REQ-{n:06d}", "nonce": secrets.token_hex(8)}) for n in range(1000)]
    drafts = [
        pen.draft(EntryType.APPROVAL_REQUESTED, f"many/{one.id}", incident, {"request": place.keep(one)}, {"request": one.id})
        for one in many
    ]  # fmt: skip
    place.store.append_all(drafts, clock())
    judged = judge_all(place, incident)
    assert sum(verdict.standing is Standing.WAITING for _, verdict in judged) >= 1000
