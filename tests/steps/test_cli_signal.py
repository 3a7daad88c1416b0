"""`quell signal`: what is sent arrives signed and is read as meant; what a body becomes can be seen beforehand."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.domain.signal import Strength
from tasks.intake.normalising import normalise
from tests.steps.desk import Desk
from tests.steps.doorstep import WHSEC, Door, a_door, furnish, keep_secret

SOURCES = """
[sources.detector]
sender = "standard-webhooks"
secrets = [{id = "only", secret = "file:secrets/whsec"}]

[sources.alerts]
sender = "alertmanager"
secrets = [{id = "only", secret = "file:secrets/old"}]
[sources.alerts.scope]
environment = "staging"

[sources.people]
sender = "report"
token = {place = "basic"}
secrets = [{id = "only", secret = "file:secrets/basic"}]

[[rules]]
name = "slow"
kinds = ["slow*"]
outcome = "performance"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("signals") / "home", SOURCES)


@pytest.fixture(scope="module")
def door(home: Path) -> Iterator[Door]:
    with a_door(home) as found:
        yield found


@pytest.fixture
def cli(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.setenv("QUELL_HOME", str(home))
    return Desk(home, {}, capsys)


def test_what_is_sent_arrives_signed_and_is_read_as_meant(cli: Desk, door: Door) -> None:
    ran = cli(
        "signal", "send", "--type", "Tool use", "--system", "helper", "--archetype", "prompt-injection", "--label", "a",
        "--label", "b", "--severity", "high", "--title", "T", "--text", "it refunded", "--alert", "run-7", "--near-miss",
        "--resolved", "--id", "evt_7", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran
    delivery, body = next((one, kept) for one, kept in door.kept if one.id == ran.json["receipt"])
    assert (delivery.source, delivery.strength, dict(delivery.headers)["webhook-id"]) == (
        "detector",
        Strength.SIGNED,
        "evt_7",
    )
    (signal,) = normalise(delivery, body, cli.installation.proposed().sources["detector"]).signals
    assert (signal.kind, signal.system, signal.archetype_label) == ("tool-use", "helper", "prompt-injection")
    assert (signal.labels, signal.vendor_severity, signal.text) == (("a", "b"), "high", "T\nit refunded")
    assert (signal.state, signal.near_miss, signal.alert is None) == ("resolved", True, False)


def test_from_elsewhere_address_and_secret_are_enough(
    cli: Desk, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUELL_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("DETECTOR", WHSEC)
    to = f"http://127.0.0.1:{door.port}/signals/detector"
    ran = cli("signal", "send", "--to", to, "--secret", "env:DETECTOR", "--type", "k", "--json")
    assert ran.code == 0, ran
    assert ran.json["receipt"] in {delivery.id for delivery, _ in door.kept}
    assert not list((tmp_path / "elsewhere").iterdir()), "no installation is made for it"


def test_a_wrong_secret_is_said_and_not_shown(cli: Desk, door: Door) -> None:
    keep_secret(door.home, "other", "whsec_" + "QUJD" * 10)
    ran = cli("signal", "send", "--type", "k", "--secret", "file:secrets/other")
    assert ran.code == 3
    assert "401" in ran.err
    assert "refused; nothing was kept" in ran.err
    assert "QUJD" not in ran.err + ran.out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--secret", "whsec_QUJD"), 2, "expected a reference"),
        (("--source", "alerts"), 1, "detector"),
        (("--source", "nobody"), 1, "detector"),
        (("--to", "ftp://x", "--secret", "file:secrets/whsec"), 1, "https://"),
    ],
)
def test_what_cannot_be_sent(cli: Desk, words: tuple[str, ...], code: int, told: str) -> None:
    ran = cli("signal", "send", "--type", "k", *words)
    assert (ran.code, told in ran.err) == (code, True), ran
    assert "QUJD" not in ran.err


def test_nobody_is_there(cli: Desk) -> None:
    ran = cli("signal", "send", "--type", "k", "--to", "http://127.0.0.1:9/signals/detector")
    assert ran.code == 3
    assert "it may have arrived" in ran.err


def test_what_a_body_becomes(cli: Desk, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    alert = {"status": "firing", "labels": {"alertname": "Slow answers", "ai_system": "helper"}, "annotations": {},
             "startsAt": "2026-11-21T01:58:00Z", "fingerprint": "f"}  # fmt: skip
    body.write_text(json.dumps({"groupKey": "g", "alerts": [alert]}))
    ran = cli("signal", "read", "alerts", str(body), "--json")
    assert ran.code == 0, ran
    (found,) = ran.json["signals"]
    assert (found["signal"]["kind"], found["signal"]["environment"]) == ("slow-answers", "staging")
    assert (found["classified"]["outcome"], found["classified"]["basis"]) == ("performance", "operator")
    shown = cli("signal", "read", "alerts", str(body)).out
    for told in ("slow-answers", "helper", "performance", "operator rule slow"):
        assert told in shown


def test_a_defect_ends_with_one_and_says_why(cli: Desk, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"other": "hostile words"}')
    ran = cli("signal", "read", "alerts", str(body), "--json")
    assert ran.code == 1
    assert "no mapping" in ran.json["defect"]
    assert "hostile" not in cli("signal", "read", "alerts", str(body)).out
    sound = {"labels": {"alertname": "ok"}, "fingerprint": "f"}
    body.write_text(json.dumps({"groupKey": "g", "alerts": [sound, {"labels": {"alertname": ["hostile words"]}}]}))
    partly = cli("signal", "read", "alerts", str(body), "--json")
    assert (partly.code, len(partly.json["signals"])) == (1, 1)
    assert "1 of 2 items could not be read" in partly.json["defect"]
    assert cli("signal", "read", "nobody", str(body)).code == 2
    assert cli("signal", "read", "alerts", str(tmp_path / "missing")).code == 3


def test_a_report_in_two_fields_gets_a_receipt_and_has_a_state(cli: Desk, door: Door) -> None:
    by = ("--secret", "file:secrets/basic", "--json")
    ran = cli("signal", "report", "--system", "Helper", "--what", "it was jailbroken <b>", "--how-bad", "exposure", *by)
    assert ran.code == 0, ran
    delivery, body = next((one, kept) for one, kept in door.kept if one.id == ran.json["receipt"])
    (signal,) = normalise(delivery, body, cli.installation.proposed().sources["people"]).signals
    assert (signal.system, signal.human, signal.labels) == ("helper", True, ("exposure",))
    assert signal.text == "it was jailbroken <b>"
    assert cli("signal", "state", ran.json["receipt"], *by).json["state"] == "received"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("report", "--system", "x", "--what", "y"), 1, "name and password"),
        (("report", "--system", "x", "--what", " ", "--secret", "file:secrets/basic"), 1, "refused it (400)"),
        (("report", "--system", "x", "--what", "y", "--secret", "hunter2"), 2, "expected a reference"),
        (("report", "--system", "x", "--what", "y", "--to", "ftp://x"), 2, "https://"),
        (("report", "--system", "x", "--what", "y", "--to", "http://127.0.0.1:9/report"), 3, "did not answer"),
        (("state", "DLV-" + "0" * 26), 1, "no such report"),
        (("state", "../secrets"), 2, "a receipt"),
    ],
)
def test_a_report_that_cannot_be_sent(cli: Desk, door: Door, words: tuple[str, ...], code: int, told: str) -> None:
    assert door.port
    ran = cli("signal", *words)
    assert (ran.code, told in ran.err) == (code, True), ran
    assert "hunter2" not in ran.err
