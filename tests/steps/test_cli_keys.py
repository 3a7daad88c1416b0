"""`quell keys`: enrolling an authenticator, and the codes of practice people."""

import time
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest

from tasks.approval import requests_of
from tests.steps.desk import CODE, SYSTEMS, Desk

LONG_ENOUGH_SECONDS = 3


def seconds_left() -> float:
    return 30 - time.time() % 30


def test_the_code_of_a_practice_person_is_the_one_that_the_form_takes(desk: Desk) -> None:
    incident = desk.declare()
    desk.respond(incident)
    request = next(r for r in requests_of(desk.installation, incident) if r.step == "refund-tool")
    while seconds_left() < LONG_ENOUGH_SECONDS:
        time.sleep(0.1)
    shown = desk("keys", "code", "ben")
    assert (shown.code, shown.out) == (0, f"{pyotp.TOTP(CODE).now()}\n"), "alone, so that it can be copied"
    assert "counts once" in shown.err
    ran = desk("approve", request.id, "--as", "ben", "--code", shown.out.strip(), "--reason", "seen it", "--json")
    assert (ran.code, ran.json["approvers"]) == (0, ["ben"])
    told = desk("keys", "code", "ana", "--json").json
    assert (told["person"], len(told["code"]), 0 < told["seconds"] <= 30) == ("ana", 6, True)


def test_where_a_system_is_real_nobodys_code_is_shown(desk: Desk) -> None:
    real = '[systems.shop]\ntitle = "Shop"\nowner = "dora"\nlead = "ana"\n'
    desk.write("systems.toml", SYSTEMS.format(world=desk.home / "world.json") + real)
    ran = desk("keys", "code", "ben", "--json")
    assert (ran.code, "shop is real" in ran.json["error"]["problem"]) == (1, True), ran
    assert "their own authenticator" in ran.json["error"]["next"]
    assert pyotp.TOTP(CODE).now() not in ran.out + ran.err


def test_where_nothing_is_listed_neither(desk: Desk) -> None:
    desk.write("systems.toml", "")
    assert "no practice system" in desk("keys", "code", "ben", "--json").json["error"]["problem"]


def test_enrolling_prints_what_an_app_takes_and_keeps_the_same_secret(desk: Desk) -> None:
    file = desk.home / "secrets" / "ben.code"
    file.unlink()
    ran = desk("keys", "enrol", "ben")
    assert ran.code == 0
    line = urlsplit(ran.out.strip())
    secret = parse_qs(line.query)["secret"][0]
    assert (line.scheme, line.netloc, unquote(line.path)) == ("otpauth", "totp", f"/quell {desk.installation.id}:ben")
    assert file.read_text() == secret
    assert file.stat().st_mode & 0o777 == 0o600
    app = pyotp.parse_uri(ran.out.strip())
    assert isinstance(app, pyotp.TOTP)
    assert app.at(0) == pyotp.TOTP(secret).at(0)
    assert not list(file.parent.glob(".ben*")), "no draft stays"


def test_a_secret_is_shown_once_and_replaced_only_when_asked(desk: Desk) -> None:
    file = desk.home / "secrets" / "ben.code"
    ran = desk("keys", "enrol", "ben", "--json")
    assert (ran.code, "has a secret already" in ran.json["error"]["problem"]) == (1, True)
    assert CODE not in ran.out + ran.err
    assert file.read_text() == CODE
    fresh = desk("keys", "enrol", "ben", "--again", "--json").json["otpauth"]
    assert CODE not in fresh
    assert file.read_text() == parse_qs(urlsplit(fresh).query)["secret"][0]


@pytest.mark.parametrize(
    ("words", "old", "new", "code", "told"),
    [
        (("enrol", "eve"), "", "", 1, "expected one of ana, ben"),
        (("code", "eve"), "", "", 1, "expected one of ana, ben"),
        (("enrol", "ben"), 'code_secret = "file:secrets/ben.code"\n', "", 1, "no code_secret"),
        (("enrol", "ben"), "file:secrets/ben.code", "env:BEN_CODE", 1, "expected a file"),
        (("enrol",), "", "", 2, "a PERSON"),
        (("show", "ben"), "", "", 2, "no PERSON"),
        (("code", "ben", "--again"), "", "", 2, "--again is for enrol"),
    ],
)
def test_what_cannot_be_done_is_said(
    desk: Desk, words: tuple[str, ...], old: str, new: str, code: int, told: str
) -> None:
    if old:
        desk.change("people.toml", old, new)
    ran = desk("keys", *words, "--json")
    assert (ran.code, told in ran.json["error"]["problem"]) == (code, True), ran
