"""Approve, deny, waive, undo: only a proven answer counts, through every way that a person may sign."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from runbooks.domain.ledger import EntryType
from tests.steps.desk import CODE, Desk


@pytest.fixture
def asked(desk: Desk) -> tuple[Desk, str, list[str]]:
    """An incident with two requests that wait for two people each."""
    incident = desk.declare()
    desk.respond(incident)
    return desk, incident, [one["request"] for one in desk("inbox", "--json").json["requests"]]


Asked = tuple[Desk, str, list[str]]


def test_two_people_grant_what_an_unproven_person_asked_for(asked: Asked) -> None:
    desk, incident, (first, _) = asked
    one = desk.approve(first, "ana")
    assert (one.code, one.json["standing"], one.json["still_needed"], one.json["rung"]) == (0, "waiting", 1, False)
    two = desk.approve(first, "cleo")
    assert (two.code, two.json["standing"], two.json["approvers"]) == (0, "granted", ["ana", "cleo"])
    assert [a["standing"] for a in desk("show", incident, "--json").json["approvals"]] == ["granted", "waiting"]


def test_the_inbox_is_the_persons_own(asked: Asked) -> None:
    desk, _, (first, second) = asked
    desk.approve(first, "ana")
    assert [one["request"] for one in desk("inbox", "--as", "ana", "--json").json["requests"]] == [second]
    assert len(desk("inbox", "--as", "ben", "--json").json["requests"]) == 2
    assert desk("inbox", "--as", "dora", "--json").json["requests"] == []
    text = desk("inbox", "--as", "ben").out
    assert f"quell approve {first} --as ben --key" in text
    for words in ("Switch off refunds", "nobody gets a refund", "can be undone at once", "expires", "sha256:"):
        assert words in text


def test_the_same_person_counts_once(asked: Asked) -> None:
    desk, _, (first, _) = asked
    desk.approve(first, "ana")
    assert desk.approve(first, "ana").json["standing"] == "waiting"


def test_an_answer_that_does_not_count_is_1_and_says_why(asked: Asked) -> None:
    desk, _, (first, _) = asked
    ran = desk.approve(first, "dora")
    assert ran.code == 1
    assert "none of the roles" in ran.json["not_counted"][0]
    assert ran.json["counts"] is False


def test_a_denial_denies(asked: Asked) -> None:
    desk, _, (first, _) = asked
    ran = desk("deny", first, "--as", "ben", "--key", str(desk.keys["ben"]), "--reason", "wrong tool", "--json")
    assert (ran.code, ran.json["standing"], ran.json["because"]) == (0, "denied", "ben denied it: wrong tool")
    assert first not in [one["request"] for one in desk("inbox", "--json").json["requests"]]


REFUSED = {
    "no proof": [],
    "somebody else's key": ["--key", "cleo"],
    "a key that is not there": ["--key", "/nowhere/key"],
    "a wrong code": ["--code", "000000x"],
    "no signature at all": ["--signature", "/dev/null"],
    "an agent without a key": ["--agent"],
}


@pytest.mark.parametrize("proof", REFUSED.values(), ids=REFUSED)
def test_without_a_proof_nothing_is_decided(asked: Asked, proof: list[str]) -> None:
    desk, _, (first, _) = asked
    words = [str(desk.keys[word]) if word in desk.keys else word for word in proof]
    ran = desk("approve", first, "--as", "ana", "--reason", "x", "--json", *words)
    assert ran.code == 1
    assert ran.json["error"]["now"]
    assert desk.installation.store.entries(types=(EntryType.DECISION_RECORDED,)) == []


def test_somebody_unknown_decides_nothing_and_it_is_on_record(asked: Asked) -> None:
    desk, incident, (first, _) = asked
    ran = desk("approve", first, "--as", "mallory", "--key", str(desk.keys["ana"]), "--reason", "x", "--json")
    assert ran.code == 1
    refused = desk.installation.store.entries(incident, types=(EntryType.DECISION_REFUSED,))
    assert refused[-1].body["claimed_person"] == "mallory"


def test_a_one_time_code_counts_once(asked: Asked) -> None:
    desk, _, (first, second) = asked
    code = pyotp.TOTP(CODE).now()
    ran = desk("approve", first, "--as", "ben", "--code", code, "--reason", "seen it", "--json")
    assert (ran.code, ran.json["approvers"]) == (0, ["ben"])
    again = desk("approve", second, "--as", "ben", "--code", code, "--reason", "seen it", "--json")
    assert again.code == 1


def test_signed_elsewhere(asked: Asked, tmp_path: Path) -> None:
    desk, _, (first, _) = asked
    words = ["approve", first, "--as", "ana", "--reason", "seen it: ü"]
    printed = desk(*words, "--print-statement")
    assert printed.code == 0
    assert "ssh-keygen -Y sign -n quell-decision" in printed.err
    file = tmp_path / "statement"
    file.write_text(printed.out, encoding="utf-8")
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-n", "quell-decision", "-f", str(desk.keys["ana"]), str(file)], check=True
    )
    other = desk("approve", first, "--as", "ana", "--reason", "another", "--signature", f"{file}.sig", "--json")
    assert other.code == 1
    ran = desk(*words, "--signature", f"{file}.sig", "--json")
    assert (ran.code, ran.json["approvers"]) == (0, ["ana"])
    signers = tmp_path / "allowed_signers"
    signers.write_text(desk("keys", "show").out)
    check = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "ana", "-n", "quell-decision", "-s", f"{file}.sig"]
    assert subprocess.run(check, input=file.read_bytes(), capture_output=True, check=False).returncode == 0


@pytest.fixture
def agent(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A running ssh-agent that holds cleo's key; ended by its own process id."""
    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        pytest.skip("needs ssh-agent")
    socket = tmp_path / "s"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    try:
        for _ in range(200):
            if (
                subprocess.run(["ssh-add", "-q", str(desk.keys["cleo"])], capture_output=True, check=False).returncode
                == 0
            ):
                break
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.usefixtures("agent")
def test_the_ssh_agent_signs(asked: Asked) -> None:
    desk, _, (first, _) = asked
    public = str(desk.keys["cleo"].with_suffix(".key.pub"))
    ran = desk("approve", first, "--as", "cleo", "--agent", "--public-key", public, "--reason", "seen it", "--json")
    assert (ran.code, ran.json["approvers"]) == (0, ["cleo"])


def test_a_waiver_is_signed_by_somebody_who_may(desk: Desk) -> None:
    incident = desk.declare()
    by = ["--reason", "money leaves every second", "--json"]
    ben = desk("waive", incident, "--as", "ben", "--key", str(desk.keys["ben"]), *by)
    assert (ben.code, "may not waive" in ben.json["error"]["problem"]) == (1, True)
    assert desk("waive", incident, "--as", "ana", "--code", "1", *by).code == 2
    assert desk("waive", incident, "--as", "ana", *by).code == 1
    ran = desk("waive", incident, "--as", "ana", "--key", str(desk.keys["ana"]), *by)
    assert ran.code == 0
    kept = desk.installation.vault.get(ran.json["waiver"])
    assert b'"what":"unsafe_to_wait"' in kept
    assert desk("show", incident, "--json").json["waiver"] == ran.json["waiver"]
    assert "WAIVED" in desk("show", incident).out


def test_a_decisions_signature_is_no_waiver(desk: Desk, tmp_path: Path) -> None:
    incident = desk.declare()
    words = ["waive", incident, "--as", "ana", "--reason", "now"]
    file = tmp_path / "waiver"
    file.write_text(desk(*words, "--print-statement").out)
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "quell-decision", "-f", str(desk.keys["ana"]), str(file)]
    subprocess.run(sign, check=True)
    ran = desk(*words, "--signature", f"{file}.sig", "--json")
    assert "namespace quell-waiver" in ran.json["error"]["problem"]


def test_what_is_sealed_cannot_be_waived(asked: Asked) -> None:
    desk, incident, _ = asked
    ran = desk("waive", incident, "--as", "ana", "--key", str(desk.keys["ana"]), "--reason", "x", "--json")
    assert (ran.code, "sealed already" in ran.json["error"]["problem"]) == (1, True)


def test_undo_asks_then_gives_back_newest_first_with_prefect_down(asked: Asked) -> None:
    desk, incident, _ = asked
    assert desk("undo", incident, "--json").json["acts"] == []
    desk.contain(incident)
    assert desk.world["targets"]["refunds"] == {"status": "off"}
    first = desk("undo", incident, "--json")
    assert (first.code, [a["outcome"] for a in first.json["acts"]]) == (1, ["waiting", "waiting"])
    again = desk("undo", incident, "--json")
    assert [a["request"] for a in again.json["acts"]] == [a["request"] for a in first.json["acts"]]
    for act in first.json["acts"]:
        for person in ("dora", "cleo"):
            assert desk.approve(act["request"], person).code == 0
    done = desk("undo", incident, "--json")
    assert (done.code, [a["outcome"] for a in done.json["acts"]]) == (0, ["undone", "undone"])
    assert desk.world["targets"] | {"token": 0} == {"refunds": {"status": "on"}, "prompt": {"version": "2"}, "token": 0}
    assert [e["target"] for e in desk.world["effects"]] == ["refunds", "prompt", "prompt", "refunds"]
    assert desk("undo", incident, "--json").json["acts"] == []
    assert len(desk.world["effects"]) == 4


def test_those_who_took_it_away_are_not_enough_to_give_it_back(asked: Asked) -> None:
    desk, incident, _ = asked
    desk.contain(incident)
    desk("undo", incident, "--action", "refund-tool")
    request = desk("inbox", "--json").json["requests"][-1]["request"]
    for person in ("ana", "cleo"):
        ran = desk.approve(request, person)
    assert (ran.json["standing"], "not ana, cleo" in ran.json["because"]) == ("waiting", True)
    assert desk("undo", incident, "--action", "refund-tool", "--json").code == 1


def test_a_denied_undo_stays_denied_until_somebody_asks_again(asked: Asked) -> None:
    desk, incident, _ = asked
    desk.contain(incident)
    one = ["undo", incident, "--action", "refund-tool", "--json"]
    request = desk(*one).json["acts"][0]["request"]
    desk("deny", request, "--as", "dora", "--key", str(desk.keys["dora"]), "--reason", "not yet")
    assert desk(*one).json["acts"][0]["outcome"] == "denied"
    again = desk(*one, "--again").json["acts"][0]
    assert again["outcome"] == "waiting"
    assert again["request"] != request


def test_undo_of_an_act_that_the_plan_does_not_have_is_wrong_use(asked: Asked) -> None:
    desk, incident, _ = asked
    ran = desk("undo", incident, "--action", "everything", "--json")
    assert (ran.code, "refund-tool" in ran.json["error"]["problem"]) == (2, True)


def test_somebody_elses_change_is_not_overwritten(asked: Asked) -> None:
    desk, incident, _ = asked
    desk.contain(incident)
    one = ["undo", incident, "--action", "system-prompt", "--json"]
    request = desk(*one).json["acts"][0]["request"]
    for person in ("dora", "cleo"):
        desk.approve(request, person)
    text = (desk.home / "world.json").read_text().replace('"prompt": {"version": "1"}', '"prompt": {"version": "7"}')
    (desk.home / "world.json").write_text(text)
    ran = desk(*one)
    assert (ran.code, ran.json["acts"][0]["outcome"]) == (1, "failed")
    assert "somebody else changed it" in ran.json["acts"][0]["because"]
    assert desk.world["targets"]["prompt"] == {"version": "7"}
    assert os.environ["QUELL_HOME"] == str(desk.home)
