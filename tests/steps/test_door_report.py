"""People report through the form: two fields, a receipt, how it stands; nothing that they typed is shown or followed."""

import asyncio
import base64
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from runbooks.domain.signal import Strength
from tests.steps.doorstep import SOURCES, WORDS, Answer, Door, a_door, a_reception, furnish, visiting

HOSTILE = "</textarea><script>alert(1)</script>{{7*7}} it paid 5,000 \u202e"
OPEN = SOURCES + '\n[sources.people]\nsender = "report"\nunproven = true\n'
CLOSED = '[sources.people]\nsender = "report"\ntoken = {place = "basic"}\nsecrets = [{id = "one", secret = "file:secrets/basic"}]\n'
FORM = {"content-type": "application/x-www-form-urlencoded"}
GOOD = {"system": "helper", "what_happened": HOSTILE, "nonce": "n-1", "how_bad": "exposure"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    limits = "door_unproven_per_minute = 40\n"
    with a_door(furnish(tmp_path_factory.mktemp("report") / "home", OPEN, limits)) as found:
        yield found
    assert "alert(1)" not in found.said()
    assert "Traceback" not in found.said()


def post(door: Door, fields: dict[str, str], **headers: str) -> Answer:
    return door.ask("POST", "/report", urlencode(fields).encode(), {**FORM, **headers})


def test_the_form_can_be_filled_in_without_any_script(door: Door) -> None:
    page = door.ask("GET", "/report")
    text = page.body.decode()
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r'name="(\w+)"[^>]* required', text) == ["system", "what_happened"]
    nonces = {
        re.findall(r'name="nonce" value="(\w{32})"', door.ask("GET", "/report").body.decode())[0] for _ in range(3)
    }
    assert len(nonces) == 3
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script" not in text
    assert "unsafe" not in policy


def test_a_report_is_kept_and_its_receipt_tells_how_it_stands(door: Door) -> None:
    answer = post(door, GOOD)
    assert answer.status == 303
    where = answer.headers["location"]
    assert re.fullmatch(r"report/DLV-[0-9A-Z]{26}", where)
    delivery, body = next((one, kept) for one, kept in door.kept if one.id == where.removeprefix("report/"))
    assert body == urlencode(GOOD).encode()
    assert (delivery.source, delivery.strength) == ("people", Strength.UNPROVEN)
    page = door.ask("GET", f"/{where}")
    assert page.status == 200
    assert "Nobody has looked at it yet" in page.body.decode()
    assert "alert(1)" not in page.body.decode()
    told = door.ask("GET", f"/{where}", headers={"accept": "application/json"})
    assert told.json == {"receipt": delivery.id, "state": "received"}
    programs = post(door, GOOD, accept="application/json")
    assert (programs.status, programs.json["status"]) == (200, "accepted")


def test_only_a_receipt_of_a_report_opens_a_page(door: Door) -> None:
    other = door.send("alerts", b"{}", {"authorization": f"Bearer {WORDS['old']}"}).json["receipt"]
    for path in (other, "DLV-" + "0" * 26, "x", "%2e%2e", "DLV-'--", "<b>"):
        page = door.ask("GET", f"/report/{path}")
        assert page.status == 404
        assert "<b>" not in page.body.decode()


@pytest.mark.parametrize(
    "fields", [{}, {"system": "x"}, {"what_happened": "x"}, {"system": " ", "what_happened": "x"}, {str(n): "x" for n in range(50)}]
)  # fmt: skip
def test_a_form_without_the_two_fields_is_asked_for_again(door: Door, fields: dict[str, str]) -> None:
    before = len(door.kept)
    page = post(door, {**fields, "how_bad": HOSTILE})
    assert page.status == 400
    assert "first two fields" in page.body.decode()
    assert "alert" not in page.body.decode().replace('role="alert"', "")
    assert len(door.kept) == before


def test_what_is_no_form_of_ours(door: Door) -> None:
    assert door.ask("POST", "/report", b"{}", {"content-type": "application/json"}).status == 415
    assert post(door, GOOD, **{"sec-fetch-site": "cross-site"}).status == 403
    assert post(door, {**GOOD, "what_happened": "x" * 200_000}).status == 413
    assert door.ask("POST", "/report", b"system=%ff&what_happened=\xff", FORM).status == 400


def test_an_open_form_takes_only_so_many_and_others_are_not_hindered(door: Door) -> None:
    answers = [post(door, {**GOOD, "nonce": str(number)}) for number in range(60)]
    late = [answer for answer in answers if answer.status != 303]
    assert late
    assert {(answer.status, answer.headers["retry-after"]) for answer in late} == {(503, "30")}
    assert door.send("alerts", b"{}", {"authorization": f"Bearer {WORDS['old']}"}).status == 200


def test_a_form_behind_a_password(tmp_path: Path) -> None:
    with a_door(furnish(tmp_path / "home", CLOSED)) as door:
        asked = door.ask("GET", "/report")
        assert (asked.status, asked.headers["www-authenticate"]) == (401, 'Basic realm="report", charset="UTF-8"')
        assert post(door, GOOD).status == 401
        word = {"authorization": "Basic " + base64.b64encode(WORDS["basic"].encode()).decode()}
        assert door.ask("GET", "/report", headers=word).status == 200
        where = post(door, GOOD, **word).headers["location"]
        assert door.kept[0][0].strength is Strength.TOKEN
        assert door.ask("GET", f"/{where}").status == 200
    assert WORDS["basic"] not in door.said()


def test_a_password_that_cannot_be_read_sends_nobody_away_for_good(tmp_path: Path) -> None:
    two = CLOSED.replace("secrets = [", 'secrets = [{id = "gone", secret = "file:secrets/gone"}, ')
    with a_reception(furnish(tmp_path / "home", two)) as reception:

        async def visit() -> None:
            async with visiting(reception) as client:
                for method in ("GET", "POST"):
                    answer = await client.request(method, "/report", auth=("user", "other"), data=GOOD)
                    assert (answer.status_code, answer.json()["because"]) == (503, "secret")
                    assert answer.headers["retry-after"] == "30"
                first = await client.get("/report")
                assert (first.status_code, "www-authenticate" in first.headers) == (401, True), "else nobody is asked"
                assert (await client.get("/report", auth=("user", "pa-ssw0rd"))).status_code == 200

        asyncio.run(visit())


@pytest.mark.parametrize("path", ["/report", "/signals/people"])
def test_a_password_that_a_browser_adds_for_another_site_is_worth_nothing(tmp_path: Path, path: str) -> None:
    with a_reception(furnish(tmp_path / "home", CLOSED)) as reception:

        async def visit() -> None:
            async with visiting(reception) as client:
                for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
                    headers = {"sec-fetch-site": site, "accept": "application/json"}
                    answer = await client.post(path, auth=("user", "pa-ssw0rd"), data=GOOD, headers=headers)
                    assert answer.status_code == status, site

        asyncio.run(visit())
        assert len(reception.reading.after("", 10)) == 2


def test_no_form_where_no_source_is_for_people(tmp_path: Path) -> None:
    with a_door(furnish(tmp_path / "home", "")) as door:
        assert door.ask("GET", "/report").status == 404
        assert post(door, GOOD).status == 404
