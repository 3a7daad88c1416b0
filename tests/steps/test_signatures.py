"""Decisions that whoever may write to the ledger appended: well formed, in the chain, and signed by nobody."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from runbooks.domain import bundle
from runbooks.domain.approval import Answer, ApprovalRequest, Proof, Standing
from runbooks.domain.ledger import Draft, EntryType, LedgerEntry
from runbooks.domain.value import Json
from tasks import signatures, verifier
from tasks.approval import plan_of, requests_of, settle, verdict_on
from tasks.decisions import statement_for
from tasks.ledger import KEEPER, clock, flow_actor
from tasks.proofs import sign_ssh, verify_bytes
from tests.steps.desk import Desk
from tests.steps.forging import (
    OWNED,
    a_decision,
    faults,
    found_in_a_bundle,
    proof_of,
    refused,
)
from tests.steps.glass import status


@pytest.fixture
def asked(desk: Desk) -> tuple[Desk, str, ApprovalRequest]:
    """An incident whose request for the refund tool waits; ana owns the policy."""
    desk.change(*OWNED)
    incident = desk.declare()
    desk.respond(incident)
    return desk, incident, next(r for r in requests_of(desk.installation, incident) if r.step == "refund-tool")


def _another_text(desk: Desk, request: ApprovalRequest) -> str:
    said = statement_for(desk.installation, request, Answer.DENY, "cleo", "seen it")
    return sign_ssh(said, desk.keys["cleo"])


def _another_key(desk: Desk, request: ApprovalRequest) -> str:
    said = statement_for(desk.installation, request, Answer.APPROVE, "cleo", "seen it")
    return sign_ssh(said, desk.keys["ben"])


WITHOUT: dict[str, tuple[Callable[[Desk, ApprovalRequest], str | None], str]] = {
    "no signature": (lambda *_: None, "found none"),
    "a signature over another text": (_another_text, "does not hold"),
    "a signature by another key": (_another_key, "listed for cleo"),
    "something that is no signature": (lambda *_: "-----", "not an OpenSSH signature"),
}


@pytest.mark.parametrize("how", WITHOUT)
def test_a_decision_that_its_person_did_not_sign_counts_for_nothing(
    asked: tuple[Desk, str, ApprovalRequest], tmp_path: Path, how: str
) -> None:
    desk, incident, request = asked
    signature, why = WITHOUT[how]
    place = desk.installation
    forged = a_decision(place, request, "cleo", signature(desk, request))
    desk.approve(request.id, "ana")
    verdict = verdict_on(place, request)
    assert (verdict.standing, verdict.approvers) == (Standing.WAITING, ("ana",))
    assert len(verdict.not_counted) == 1
    assert verdict.not_counted[0].startswith(f"cleo did not sign the answer in entry {forged.index}: ")
    assert why in verdict.not_counted[0]
    action = plan_of(place, incident).action("refund-tool")
    assert "waiting" in refused(place, action)
    assert (status(desk), desk.world["effects"]) == ("on", [])
    (found,) = faults(place, incident)
    assert f"entry {forged.index}" in found
    assert why in found
    theirs, small = found_in_a_bundle(place, incident, tmp_path / "b")
    assert [line for line in theirs if f"entry {forged.index}" in line]
    assert small
    page = (tmp_path / "b" / "data/report/report.html").read_text()
    assert (page.count("NOT SIGNED"), page.count("signed by the person")) == (1, 1)


def test_a_signature_by_a_listed_key_under_the_name_of_another_one_counts_for_nothing(
    asked: tuple[Desk, str, ApprovalRequest],
) -> None:
    """Whose key was removed could else go on under the fingerprint of one that is still listed."""
    desk, incident, request = asked
    place = desk.installation
    entry = a_decision(place, request, "cleo", sign_ssh(
        statement_for(place, request, Answer.APPROVE, "cleo", "seen it"), desk.keys["cleo"]
    ))  # fmt: skip
    other = proof_of(place, "ana")["key"]
    assert place.signatures().fault(entry) == ""
    renamed = entry.model_copy(update={"body": entry.body | {"proof": dict(entry.body["proof"]) | {"key": other}}})
    assert "which the entry does not name" in place.signatures().fault(renamed)
    assert incident == entry.incident


def test_a_forged_answer_under_the_key_of_a_real_one_does_not_swallow_it(
    asked: tuple[Desk, str, ApprovalRequest],
) -> None:
    desk, _, request = asked
    place = desk.installation
    key = f"decision/cleo/{request.digest()}/deny/{proof_of(place, 'cleo')['key']}"
    said = statement_for(place, request, Answer.DENY, "cleo", "forged")
    place.pen(KEEPER).write(
        EntryType.DECISION_RECORDED, key, incident=request.incident, subject={"request": request.digest()},
        body={"statement": said.as_json(), "proof": proof_of(place, "cleo"), "request": request.id},
    )  # fmt: skip
    for _ in range(2):
        ran = desk(
            "deny", request.id, "--as", "cleo", "--key", str(desk.keys["cleo"]), "--reason", "no", "--json"
        )  # fmt: skip
        assert verdict_on(place, request).standing is Standing.DENIED, ran
    assert len(place.store.entries(types=(EntryType.DECISION_RECORDED,))) == 2, "the real one is there once"


def test_the_replay_counts_exactly_who_signed(asked: tuple[Desk, str, ApprovalRequest]) -> None:
    """The consent of two who signed agrees with the record, though a forged answer stands before theirs."""
    desk, incident, request = asked
    place = desk.installation
    forged = a_decision(place, request, "cleo")
    for person in ("ana", "ben"):
        desk.approve(request.id, person)
    verdict = settle(place.pen(flow_actor("test")), request, verdict_on(place, request))
    assert (verdict.standing, verdict.approvers) == (Standing.GRANTED, ("ana", "ben"))
    assert [line.partition(":")[0] for line in faults(place, incident)] == [f"entry {forged.index}"]


def test_a_signature_is_computed_once_per_process(
    asked: tuple[Desk, str, ApprovalRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _, request = asked
    desk.approve(request.id, "cleo")
    computed: list[str] = []

    def counted(message: bytes, armored: str, keys: Iterable[str], *, person: str, namespace: str) -> Proof:
        computed.append(person)
        return verify_bytes(message, armored, keys, person=person, namespace=namespace)

    monkeypatch.setattr("tasks.signatures.verify_bytes", counted)
    signatures._by_key.cache_clear()
    for _ in range(5):
        assert verdict_on(desk.installation, request).approvers == ("cleo",)
    assert computed == ["cleo"]


def test_what_is_not_of_its_form_is_not_signed_and_stops_nothing(desk: Desk) -> None:
    desk.declare()
    place = desk.installation
    proof = proof_of(place, "ana", "-----")
    noise = place.vault.put(b"{no json")
    waived = _entry(EntryType.EVIDENCE_WAIVED, {"proof": proof}).model_copy(update={"subject": {"waiver": noise}})
    decided = _entry(EntryType.DECISION_RECORDED, {"proof": proof, "statement": {"person": "ana", "answer": 7}})
    for entry in (waived, decided):
        late = entry.model_copy(update={"index": place.store.size()})
        assert place.signatures().fault(late) == "what was signed is not of the form that it should have"
    active = place.active_digest()
    place.pen(KEEPER).write(EntryType.CONFIGURATION_ACTIVATED, "forged", body={"proof": "none"})
    assert place.active_digest() == active, "one that names no configuration is passed over, whoever owns the policy"


def test_what_must_be_signed_is_the_same_for_both_verifiers() -> None:
    always = {kind.value for kind in bundle.SIGNED if bundle.must_be_signed(_entry(kind, {}), ())}
    assert always - {"decision_recorded"} == set(verifier.ALWAYS_SIGNED)
    decided, activated = EntryType.DECISION_RECORDED, EntryType.CONFIGURATION_ACTIVATED
    assert bundle.must_be_signed(_entry(decided, {}), ())
    assert bundle.must_be_signed(_entry(decided, {"proof": {"kind": "ssh"}}), ())
    assert not bundle.must_be_signed(_entry(decided, {"proof": {"kind": "code"}}), ())
    assert bundle.must_be_signed(_entry(activated, {}), ("ana",))
    assert not bundle.must_be_signed(_entry(activated, {}), ())


def _entry(kind: EntryType, body: dict[str, Json]) -> LedgerEntry:
    made = Draft(key="k", type=kind, actor=KEEPER, body=body)
    return LedgerEntry.write(made, index=0, at=clock(), incident_seq=None, incident_prev=None)
