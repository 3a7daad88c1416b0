"""An answer through the form says the truth about itself, and the form asks only for what can count. No engine."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pyotp
import pytest

import tasks.gate
from flows._form import answer_form
from runbooks.domain.approval import ApprovalRequest, Purpose, Standing
from runbooks.domain.ledger import EntryType
from tasks.answered_page import leave_answered
from tasks.approval import requests_of, verdict_on
from tasks.gate import record_suspension, take_in, view_gate
from tests.steps.desk import CODE, Desk
from tests.steps.glass import written

CODES_TOO = 'roles = ["incident-commander", "on-call", "security"]\nproofs = ["ssh", "code"]'


class Gate:
    """The waiting run of one incident: its page, its form, and what people send through it."""

    def __init__(self, desk: Desk, patch: pytest.MonkeyPatch) -> None:
        self.desk, self._patch = desk, patch
        self.pages: dict[str, str] = {}
        patch.setattr(tasks.gate, "mirror_history", lambda *_: None)
        patch.setattr(tasks.gate, "leave_page", lambda key, text, *_: self.pages.update({key: text}))
        self.incident = desk.declare()
        desk.respond(self.incident)
        self.request = next(
            one for one in requests_of(desk.installation, self.incident) if one.step == "refund-tool"
        )  # fmt: skip

    def suspend(self) -> str:
        """What stands above the form."""
        key = f"gate-{len(written(self.desk, self.incident, EntryType.RUN_SUSPENDED))}"
        return record_suspension.fn(self.incident, key, view_gate.fn(self.incident, Purpose.CONTAIN))

    def answer(self, person: str, **more: str) -> str:
        """Send this through the form; what is said of it."""
        self.suspend()
        sent = {"request": self.request.id, "person": person, "answer": "approve", "reason": "seen it"} | more
        self._patch.setattr(tasks.gate, "form_answer", lambda *_: sent)
        take_in.fn(self.incident)
        return str(written(self.desk, self.incident, EntryType.RUN_WOKEN)[-1]["because"])

    def page(self) -> str:
        """The page of the run."""
        self.suspend()
        return self.pages[f"approval-{self.incident.lower()}"]

    def approvers(self) -> tuple[str, ...]:
        return verdict_on(self.desk.installation, self.request).approvers


@pytest.fixture
def only_ssh(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Gate:
    desk.change("policy.toml", CODES_TOO, CODES_TOO.replace(', "code"', ""))
    return Gate(desk, monkeypatch)


@pytest.fixture
def codes_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(desk, monkeypatch)


def now() -> str:
    return pyotp.TOTP(CODE).now()


def test_a_code_where_only_a_signature_counts_is_not_called_accepted(only_ssh: Gate) -> None:
    said = only_ssh.answer("ana", one_time_code=now())
    assert "accepted" not in said
    assert "recorded, but does NOT count: ana proved by code; this request accepts ssh" in said
    assert "now stands waiting; it still needs 2 more" in said
    assert "Answer again with an SSH signature" in said
    assert only_ssh.approvers() == ()
    assert said in only_ssh.pages[f"answer-{only_ssh.incident.lower()}"].replace("\\", "")


def test_somebody_without_the_role_is_not_called_accepted(codes_too: Gate) -> None:
    said = codes_too.answer("dora", one_time_code=now())
    assert "does NOT count: dora has none of the roles" in said
    assert "SSH" not in said, "a code is fine here; dora is not"


@pytest.mark.parametrize(("word", "stands"), [("approve", Standing.WAITING), ("deny", Standing.DENIED)])
def test_an_answer_that_counts_is_accepted(codes_too: Gate, word: str, stands: Standing) -> None:
    said = codes_too.answer("ana", one_time_code=now(), answer=word)
    assert said.startswith(f"{word} by ana was accepted. {codes_too.request.id} now stands {stands}")


def test_what_is_asked_for_is_what_can_count(only_ssh: Gate) -> None:
    form, page = only_ssh.suspend(), only_ssh.page()
    for text in (form, page):
        assert "your SSH signature (a one-time code does not count)" in text
        assert "your one-time code" not in text
    assert "with the next one-time code" not in form
    assert view_gate.fn(only_ssh.incident, Purpose.CONTAIN).proofs == ["ssh"]


def test_where_codes_count_they_are_asked_for(codes_too: Gate) -> None:
    assert "your one-time code or your SSH signature" in codes_too.suspend()
    assert view_gate.fn(codes_too.incident, Purpose.CONTAIN).proofs == ["code", "ssh"]


def test_requests_that_differ_say_each_what_they_take(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    right = (
        '[[rights]]\nverbs = ["roll_back_prompt"]\npurposes = ["contain"]\nroles = ["security"]\nproofs = ["ssh"]\n\n'
    )
    desk.change("policy.toml", "[[rights]]\nreversibilities", right + "[[rights]]\nreversibilities")
    gate = Gate(desk, monkeypatch)
    other = next(one for one in requests_of(desk.installation, gate.incident) if one.id != gate.request.id)
    form = gate.suspend()
    assert f"for {gate.request.id} your one-time code or your SSH signature" in form
    assert f"for {other.id} your SSH signature (a one-time code does not count)" in form


@pytest.mark.parametrize(
    ("proofs", "fields"),
    [
        (["ssh"], ["signature"]),
        (["code"], ["one_time_code"]),
        (["code", "ssh"], ["one_time_code", "signature"]),
    ],
)
def test_the_form_has_no_field_for_what_cannot_count(proofs: list[str], fields: list[str]) -> None:
    form: dict[str, Any] = answer_form(["REQ-7K2Q: a"], ["ana: Ana"], proofs).model_json_schema()["properties"]
    assert list(form) == ["request", "person", "answer", "reason", *fields]
    assert form["request"]["enum"] == ["", "REQ-7K2Q: a"]
    assert form[fields[0]]["title"].startswith("5. ")


def signed_as_the_page_says(gate: Gate, request: ApprovalRequest, person: str, folder: Path) -> str:
    """Follow the page word by word: its two commands for this request, with a name, a reason and a key of one's own."""
    text = gate.page().replace("\\\n", " ")
    (printing,) = re.findall(rf"^ +quell (approve {request.id} .*--print-statement) > statement$", text, re.MULTILINE)
    (signing,) = set(re.findall(r"^ +(ssh-keygen -Y sign .*) statement$", text, re.MULTILINE))
    words = ["seen it" if word == "WHY" else person if word == "YOU" else word for word in shlex.split(printing)]
    (folder / "statement").write_text(gate.desk(*words).out, encoding="utf-8")
    key = str(gate.desk.keys[person])
    command = [key if word.startswith("~") else word for word in shlex.split(signing)]
    subprocess.run([*command, "-q", str(folder / "statement")], check=True, capture_output=True)
    return (folder / "statement.sig").read_text(encoding="utf-8")


def as_copied(signature: str) -> str:
    return signature


def indented(signature: str) -> str:
    return "".join(f"    {line}\r\n" for line in signature.splitlines())


def in_one_line(signature: str) -> str:
    return " ".join(signature.split("\n"))


@pytest.mark.parametrize("copied", [as_copied, indented, in_one_line])
def test_a_signature_made_as_the_page_says_and_pasted_counts(only_ssh: Gate, tmp_path: Path, copied: Any) -> None:
    signature = signed_as_the_page_says(only_ssh, only_ssh.request, "cleo", tmp_path)
    said = only_ssh.answer("cleo", signature=copied(signature), reason="seen it\n")
    assert said.startswith("approve by cleo was accepted"), said
    assert only_ssh.approvers() == ("cleo",)
    assert (
        written(only_ssh.desk, only_ssh.incident, EntryType.DECISION_RECORDED)[-1]["attested"] == "signed by the person"
    )


@pytest.mark.parametrize("other", [{"reason": "something else"}, {"answer": "deny"}, {"person": "ana"}])
def test_a_pasted_signature_is_for_exactly_what_was_signed(
    only_ssh: Gate, tmp_path: Path, other: dict[str, str]
) -> None:
    signature = signed_as_the_page_says(only_ssh, only_ssh.request, "cleo", tmp_path)
    said = only_ssh.answer(**({"person": "cleo", "signature": signature} | other))
    assert said.startswith("NOT accepted"), said
    assert only_ssh.approvers() == ()


def test_the_page_and_the_inbox_say_which_evidence_is_sealed_and_what_is_missing(codes_too: Gate) -> None:
    line = "sealed: configuration (E), identity and access (F), effects and affected records (G), "
    line += (
        "reports and screens (J); gaps: prompts and responses (A), tool calls (B), retrieved documents (C), memory (D);"
    )
    assert line in codes_too.page()
    assert line in " ".join(codes_too.desk("inbox").out.split())


def test_once_nothing_is_open_the_page_says_so_and_how_each_ended(
    codes_too: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[tuple[str, str, str]] = []
    monkeypatch.setattr(
        "tasks.answered_page.leave_page", lambda key, text, headline, *_: left.append((key, text, headline))
    )
    leave_answered(codes_too.incident)
    assert left == [], "the questions stand on the page as long as one is open"
    desk = codes_too.desk
    first, second = requests_of(desk.installation, codes_too.incident)
    for person in ("ana", "cleo"):
        desk.approve(first.id, person)
    leave_answered(codes_too.incident)
    assert left == []
    desk("deny", second.id, "--as", "cleo", "--key", str(desk.keys["cleo"]), "--reason", "| not | this |")
    leave_answered(codes_too.incident)
    (key, text, headline) = left[0]
    assert (key, headline) == (f"approval-{codes_too.incident.lower()}", "No decision needed now; 2 requests answered")
    assert f"| {first.id} | Switch off refunds | **granted** | ana, cleo |" in text
    assert f"| {second.id} | Put the prompt back | **denied** | cleo | cleo denied it:   not   this   |" in text
