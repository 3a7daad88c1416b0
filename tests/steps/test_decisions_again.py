"""A person who has to prove it again: with another key, or while somebody guesses their codes. No engine."""

import time

import pyotp
import pytest

from runbooks.domain.approval import Answer, ApprovalRequest
from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import instant_from_ns
from runbooks.domain.ledger import EntryType
from tasks.approval import requests_of, verdict_on
from tasks.decisions import statement_for, submit_decision
from tasks.ledger import door_actor
from tests.steps.desk import Desk
from tests.steps.glass import written

STEP = 1_700_000_010 // 30
"""The time step at which these people answer."""


def asked(desk: Desk) -> tuple[str, ApprovalRequest]:
    incident = desk.declare()
    desk.respond(incident)
    return incident, next(r for r in requests_of(desk.installation, incident) if r.step == "refund-tool")


def test_with_another_key_after_the_first_was_removed(desk: Desk) -> None:
    first, second = (desk.keys[name].with_suffix(".key.pub").read_text().strip() for name in ("ana", "dora"))
    desk.change("people.toml", f'["{first}"]', f'["{first}", "{second}"]')
    desk.change("people.toml", f'name = "Dora"\nroles = ["product-owner"]\nssh_keys = ["{second}"]', 'name = "Dora"\nroles = ["product-owner"]')  # fmt: skip
    _, request = asked(desk)
    assert desk.approve(request.id, "ana").json["approvers"] == ["ana"]
    desk.change("people.toml", f'["{first}", "{second}"]', f'["{second}"]')
    assert desk("policy", "activate").code == 0
    assert verdict_on(desk.installation, request).approvers == (), "her key was stolen, and removed"
    desk.keys = desk.keys | {"ana": desk.keys["dora"]}
    again = desk.approve(request.id, "ana")
    assert (again.code, again.json["approvers"]) == (0, ["ana"]), again


def say_by_code(desk: Desk, request: ApprovalRequest, code: str, person: str = "ben") -> tuple[str, ...]:
    place = desk.installation
    said = statement_for(place, request, Answer.APPROVE, person, "seen")
    return submit_decision(place, said, door=door_actor("form"), code=code).approvers


@pytest.fixture
def paused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> tuple[Desk, str, ApprovalRequest, pyotp.TOTP]:
    """Ben has no key but an authenticator, and somebody has guessed at his codes until they are paused."""
    key = desk.keys["ben"].with_suffix(".key.pub").read_text().strip()
    desk.change("people.toml", f'ssh_keys = ["{key}"]\n', "")
    (desk.home / "secrets" / "ben.code").write_text(secret := pyotp.random_base32())
    incident, request = asked(desk)
    app = pyotp.TOTP(secret)
    step = int(time.time()) // 30 + 10
    moved(monkeypatch, step)
    app.step = step  # type: ignore[attr-defined]
    right = {app.generate_otp(near) for near in (step - 1, step)}
    wrong = [code for code in (f"{n:06d}" for n in range(9)) if code not in right]
    for code in wrong[:5]:
        with pytest.raises(ApprovalError, match="is not the one"):
            say_by_code(desk, request, code)
    with pytest.raises(ApprovalError, match="too many wrong"):
        say_by_code(desk, request, app.generate_otp(step))
    return desk, incident, request, app


def moved(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr("tasks.installation.clock", lambda: instant_from_ns((step * 30 + 5) * 10**9))


Paused = tuple[Desk, str, ApprovalRequest, pyotp.TOTP]


def test_two_codes_in_a_row_get_a_person_through_while_somebody_guesses(paused: Paused) -> None:
    desk, incident, request, app = paused
    now = app.step  # type: ignore[attr-defined]
    both = f"{app.generate_otp(now - 1)} {app.generate_otp(now)}"
    assert say_by_code(desk, request, both) == ("ben",)
    assert [one["time_step"] for one in written(desk, incident, EntryType.CODE_VERIFIED)] == [now - 1, now]


def test_both_count_once_and_must_be_in_a_row(paused: Paused) -> None:
    desk, incident, request, app = paused
    now = app.step  # type: ignore[attr-defined]
    for one, two in ((now, now - 1), (now, now), (now - 2, now), (now - 3, now - 2), (now, now + 1)):
        with pytest.raises(ApprovalError, match="two codes in a row"):
            say_by_code(desk, request, app.generate_otp(one) + app.generate_otp(two))
    both = app.generate_otp(now - 2) + app.generate_otp(now - 1)
    other = next(r for r in requests_of(desk.installation, incident) if r.id != request.id)
    assert say_by_code(desk, request, both) == ("ben",)
    with pytest.raises(ApprovalError, match="two codes in a row"):
        say_by_code(desk, other, both)
    with pytest.raises(ApprovalError, match="two codes in a row"):
        say_by_code(desk, other, app.generate_otp(now - 1) + app.generate_otp(now))


def test_wrong_pairs_neither_prolong_the_pause_nor_count_as_guesses(paused: Paused) -> None:
    desk, incident, request, _ = paused
    before = [one for one in written(desk, incident, EntryType.DECISION_REFUSED) if one["wrong_code"]]
    for _ in range(3):
        with pytest.raises(ApprovalError):
            say_by_code(desk, request, "000000 000000")
    assert [one for one in written(desk, incident, EntryType.DECISION_REFUSED) if one["wrong_code"]] == before
