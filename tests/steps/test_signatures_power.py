"""Waivers, broken glasses, activations and severities that nobody signed: none of them gives any power."""

from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.approval import ApprovalRequest, Purpose
from runbooks.domain.errors import ApprovalError, GrantRefusedError
from runbooks.domain.ledger import EntryType
from runbooks.domain.signed import BREAK_GLASS_NAMESPACE, WAIVER_NAMESPACE, Waiver
from runbooks.domain.value import Json
from tasks import signatures
from tasks.approval import ask, plan_of
from tasks.authority import LedgerAuthority, grant_for
from tasks.break_glass import prepare, statement_of
from tasks.evidence import is_waived, seal_now
from tasks.glasses import glasses_of, opened_glass
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, flow_actor, person_actor
from tasks.planning import plan_now
from tasks.proofs import sign_bytes
from tasks.settings import load_configuration
from tests.contracts.bundle.ground import activate_signed
from tests.steps.desk import Desk
from tests.steps.forging import (
    OWNED,
    a_waiver,
    an_activation,
    faults,
    found_in_a_bundle,
    proof_of,
    refused,
    signed_step,
)
from tests.steps.glass import GLASS, policy_plus, status


def test_a_waiver_that_nobody_signed_waives_nothing(desk: Desk, tmp_path: Path) -> None:
    incident, other = desk.declare(), desk.declare("--what", "something else")
    place = desk.installation
    signed = Waiver(installation=place.id, incident=other, person="ana", reason="no time")
    proof = proof_of(place, "ana", sign_bytes(signed.canonical(), desk.keys["ana"], namespace=WAIVER_NAMESPACE))
    a_waiver(place, incident, proof_of(place, "ana"))
    forged = place.store.entries(incident, types=(EntryType.EVIDENCE_WAIVED,))[0]
    borrowed = forged.model_copy(
        update={"subject": {"waiver": place.keep(signed)}, "body": forged.body | {"proof": proof}}
    )
    assert place.signatures().fault(borrowed) == "it was signed for another incident"
    plan_now(place, place.pen(flow_actor("test")), incident)
    plan = plan_of(place, incident)
    assert plan.waiver is None
    action = plan.action("refund-tool")
    desk_request = _ask(place, incident)
    for person in ("ana", "cleo"):
        desk.approve(desk_request.id, person)
    grant = grant_for(place, place.pen(flow_actor("attack")), action, Purpose.CONTAIN)
    named = grant.model_copy(update={"waiver": forged.subject["waiver"]})
    connector = place.connector(action.system, action.connector, place.active())
    with pytest.raises(GrantRefusedError, match="no waiver that a person signed"):
        connector.perform(action, named, LedgerAuthority(place, place.pen(flow_actor("attack"))))
    assert status(desk) == "on"
    assert any(f"entry {forged.index}" in line and "found none" in line for line in faults(place, incident))
    seal_now(place, place.pen(flow_actor("test")), incident)
    theirs, small = found_in_a_bundle(place, incident, tmp_path / "b")
    assert [line for line in theirs if f"entry {forged.index}" in line]
    assert [line for line in small if f"entry {forged.index}" in line], small
    assert desk("show", incident, "--json").json["waiver"] is None


def _ask(place: Installation, incident: str) -> ApprovalRequest:
    plan = plan_of(place, incident)
    pen = place.pen(flow_actor("test"))
    request = ask(place, pen, place.incident(incident), plan, plan.action("refund-tool"), Purpose.CONTAIN)
    assert request is not None
    return request


def test_the_flow_waits_for_the_seal_when_the_waiver_is_forged(desk: Desk) -> None:
    incident = desk.declare()
    place = desk.installation
    assert not is_waived(incident)
    a_waiver(place, incident, proof_of(place, "ana"))
    assert not is_waived(incident), "the entry alone waives nothing"
    said = Waiver(installation=place.id, incident=incident, person="ana", reason="no time")
    signature = sign_bytes(said.canonical(), desk.keys["ana"], namespace=WAIVER_NAMESPACE)
    place.pen(person_actor("ana")).write(
        EntryType.EVIDENCE_WAIVED, "waived/real", incident=incident, subject={"waiver": place.keep(said)},
        body={"because": said.reason, "person": "ana", "proof": proof_of(place, "ana", signature)},
    )  # fmt: skip
    assert is_waived(incident)


def test_a_glass_that_nobody_broke_lets_nobody_act(desk: Desk) -> None:
    policy_plus(desk, GLASS)
    incident = desk.declare()
    place, pen = desk.installation, desk.installation.pen(flow_actor("attack"))
    seal_now(place, pen, incident)
    action = prepare(place, pen, incident, "refund-tool")
    said = statement_of(place, action, "ben", "nobody answers", 5)
    decided = sign_bytes(said.canonical(), desk.keys["ben"])
    for number, signature in enumerate((None, decided)):
        body = {
            "action": said.step, "person": "ben", "because": said.reason, "proof": proof_of(place, "ben", signature),
            "opened_at": place.now(), "ends_at": "2099-01-01T00:00:00.000000000Z",
        }  # fmt: skip
        glass = pen.write(
            EntryType.BREAK_GLASS_OPENED, f"glass/{said.digest()}" + "/again" * number, incident=incident,
            subject={"glass": place.keep(said), "action": said.action}, body=body,
        )  # fmt: skip
        assert place.signatures().fault(glass)
        assert "its person did not sign it" in refused(place, action, glass)
    assert status(desk) == "on"
    assert glasses_of(place, incident) == []
    assert opened_glass(place, said.digest()) is None
    assert desk("show", incident, "--json").json["break_glass"] == []
    assert sum("break glass opened" in line for line in faults(place, incident)) == 2
    real = sign_bytes(said.canonical(), desk.keys["ben"], namespace=BREAK_GLASS_NAMESPACE)
    proven = glass.model_copy(update={"body": body | {"proof": proof_of(place, "ben", real)}})
    assert place.signatures().fault(proven) == ""


def test_an_activation_that_no_owner_signed_is_passed_over(desk: Desk, tmp_path: Path) -> None:
    desk.change(*OWNED)
    incident = desk.declare()
    desk.respond(incident)
    place, before = desk.installation, desk.installation.active_digest()
    desk.change("policy.toml", 'owners = ["ana"]', 'owners = ["ben"]')
    stray = an_activation(place, {"proof": "no owners are named; not signed by a person"})
    assert place.active_digest() == before
    assert place.active().policy.owners == ("ana",)
    assert list(place.signatures().strays) == [stray.index]
    with pytest.raises(ApprovalError, match="does not make another configuration active"):
        place.activate(load_configuration(place.settings), INSTALLATION, {"proof": "nobody"})
    assert place.active_digest() == before
    shown = desk("policy", "show", "--json").json
    assert (shown["configuration"], shown["signed_by"]) == (before, None)
    check = desk("check", "--json")
    assert check.code == 1
    assert f"entry {stray.index} would make another configuration active" in check.out
    desk.change("policy.toml", 'owners = ["ben"]', 'owners = ["ana"]')
    activate_signed(place, desk.keys["ana"], 'owners = ["ana"]', 'owners = ["ana", "cleo"]')
    assert place.active().policy.owners == ("ana", "cleo"), "the owner's next step follows the one that counts"
    assert desk("policy", "show", "--json").json["signed_by"] == "ana"
    strays = list(place.signatures().strays)
    assert len(strays) == 2
    found = faults(place, incident)
    assert [line.partition(":")[0] for line in found] == [f"entry {index}" for index in strays]
    theirs, small = found_in_a_bundle(place, incident, tmp_path / "b")
    assert [line.partition(":")[0] for line in theirs] == [f"entry {index}" for index in strays]
    assert {f"entry {index}" for index in strays} <= {line.partition(":")[0] for line in small}
    later = desk.declare("--what", "another one")
    desk.respond(later)
    assert faults(place, later) == []
    assert found_in_a_bundle(place, later, tmp_path / "later") == ([], []), "what rests on none of it is sound"


def test_an_activation_forged_under_the_key_of_the_real_one_does_not_swallow_it(desk: Desk) -> None:
    desk.change(*OWNED)
    desk.declare()
    place, policy = desk.installation, desk.home / "config" / "policy.toml"
    old, new = 'owners = ["ana"]', 'owners = ["ana", "cleo"]'
    text, last = policy.read_text(), place.signatures().activations[-1]
    desk.change("policy.toml", old, new)
    wanted = load_configuration(place.settings).digest()
    an_activation(place, {"proof": "nobody"}, f"configuration/{last.index}/{wanted}")
    policy.write_text(text)
    activate_signed(place, desk.keys["ana"], old, new)
    assert place.active_digest() == wanted
    assert len(place.signatures().strays) == 1


def _signed_by_ben(desk: Desk, place: Installation) -> dict[str, Json]:
    return signed_step(desk, place, "ben")


def _signed_for_another_step(desk: Desk, place: Installation) -> dict[str, Json]:
    return signed_step(desk, place, "ana", previous="sha256:" + "0" * 64)


@pytest.mark.parametrize("by", [_signed_by_ben, _signed_for_another_step])
def test_an_activation_signed_by_somebody_else_or_for_another_step_is_passed_over(desk: Desk, by: Any) -> None:
    desk.change(*OWNED)
    desk.declare()
    place, before = desk.installation, desk.installation.active_digest()
    desk.change("policy.toml", 'owners = ["ana"]', "owners = []")
    an_activation(place, by(desk, place))
    assert place.active_digest() == before
    an_activation(place, signed_step(desk, place, "ana"))
    assert place.active().policy.owners == ()
    an_activation(place, {"proof": "not signed by a person"})
    assert len(place.signatures().activations) == 3, "nobody owns the policy now, so nobody need sign"


def test_what_an_older_quell_understood_still_tells_who_owned_the_policy(desk: Desk) -> None:
    """The chain of activations is read from the JSON: a field that we no longer know changes nothing."""
    desk.change(*OWNED)
    desk.declare()
    place = desk.installation
    first = place.signatures().activations[0]
    assert place.read("configuration", first.subject["configuration"])
    old = b'{"people":{"ana":{"ssh_keys":["ssh-ed25519 AAAA"],"pager":"1"}},"policy":{"owners":["ana"],"moon":true}}'
    said = signatures._Say.read(old)
    assert said is not None
    assert (said.owners, said.keys) == (("ana",), {"ana": ("ssh-ed25519 AAAA",)})
    assert [signatures._Say.read(data) for data in (None, b"", b"[]", b'{"people":1}', b"{" * 9)] == [None] * 5


def test_another_severity_that_nobody_signed_is_found(desk: Desk, tmp_path: Path) -> None:
    incident = desk.declare()
    desk.respond(incident)
    place = desk.installation
    ran = desk(
        "reclassify", incident, "--severity", "SEV2", "--as", "ana", "--key", str(desk.keys["ana"]), "--reason", "x",
        "--json",
    )  # fmt: skip
    assert ran.code == 0, ran
    assert faults(place, incident) == []
    real = place.store.entries(incident, types=(EntryType.INCIDENT_RECLASSIFIED,))[0]
    forged = place.pen(person_actor("ana")).write(
        EntryType.LEAD_CHANGED, "forged", incident=incident, subject=real.subject,
        body={**real.body, "lead": {"was": "ana", "is": "ben"}, "proof": proof_of(place, "ana")},
    )  # fmt: skip
    assert real.body["proof"]["signature"]
    assert any(f"entry {forged.index}" in line and "found none" in line for line in faults(place, incident))
    theirs, small = found_in_a_bundle(place, incident, tmp_path / "b")
    assert any(f"entry {forged.index}" in line and "found none" in line for line in theirs)
    assert any(f"entry {forged.index}: lead_changed" in line for line in small)
