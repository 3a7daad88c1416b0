"""Entries that whoever may write to the ledger appends in somebody's name, and who finds them."""

from pathlib import Path
from typing import Any

from runbooks.domain.approval import Answer, ApprovalRequest
from runbooks.domain.containment import ContainmentAction, ContainmentStatus
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.signed import POLICY_NAMESPACE, Waiver
from runbooks.domain.value import Json
from tasks.bundle import export
from tasks.containment import act
from tasks.decisions import statement_for
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, flow_actor, person_actor
from tasks.policy import activation_of
from tasks.proofs import fingerprint, sign_bytes
from tasks.replay import replay_live
from tasks.settings import load_configuration
from tasks.verifier import verify
from tests.contracts.bundle.ground import judged, load
from tests.steps.desk import Desk

OWNED = ("policy.toml", "waiver_roles", 'owners = ["ana"]\nwaiver_roles')


def proof_of(place: Installation, person: str, signature: str | None = None) -> dict[str, Json]:
    key = fingerprint(place.active().people[person].ssh_keys[0])
    return {"kind": "ssh", "key": key, "signature": signature, "time_step": None}


def a_decision(
    place: Installation, request: ApprovalRequest, person: str, signature: str | None = None, *, key: str = "forged",
    answer: Answer = Answer.APPROVE,
) -> LedgerEntry:  # fmt: skip
    """Appended with quell's own pen, as `submit_decision` would have written it."""
    said = statement_for(place, request, answer, person, "seen it")
    return place.pen(person_actor(person)).write(
        EntryType.DECISION_RECORDED, f"{key}/{person}/{request.digest()}", incident=request.incident,
        subject={"request": request.digest(), "action": request.action},
        body={
            "statement": said.as_json(), "proof": proof_of(place, person, signature), "request": request.id,
            "arrived_at": place.now(), "attested": "signed by the person",
        },
    )  # fmt: skip


def a_waiver(place: Installation, incident: str, proof: dict[str, Json], of: str = "") -> Waiver:
    said = Waiver(installation=place.id, incident=of or incident, person="ana", reason="no time")
    place.pen(person_actor("ana")).write(
        EntryType.EVIDENCE_WAIVED, f"waived/forged/{incident}", incident=incident,
        subject={"waiver": place.keep(said)}, body={"because": said.reason, "person": "ana", "proof": proof},
    )  # fmt: skip
    return said


def an_activation(place: Installation, body: dict[str, Json], key: str = "") -> LedgerEntry:
    """The files become active, says an entry by nobody."""
    files = load_configuration(place.settings)
    return place.pen(INSTALLATION).write(
        EntryType.CONFIGURATION_ACTIVATED, key or f"forged/{place.store.size()}", subject={"configuration": place.keep(files)},
        body={**body, "signed_by_person": True, "previous": place.signatures().activations[-1].leaf},
    )  # fmt: skip


def signed_step(desk: Desk, place: Installation, person: str, **more: Any) -> dict[str, Json]:
    said = activation_of(place, load_configuration(place.settings), person).model_copy(update=more)
    signature = sign_bytes(said.canonical(), desk.keys[person], namespace=POLICY_NAMESPACE)
    return {"signed": said.as_json(), "proof": proof_of(place, person, signature)}


def refused(place: Installation, action: ContainmentAction, glass: LedgerEntry | None = None) -> str:
    """The act is tried past every flow; the connector base refuses it and puts that on record. Returns why."""
    since = place.store.size()
    assert act(place, place.pen(flow_actor("attack")), action, glass=glass) is ContainmentStatus.FAILED
    (refused,) = place.store.entries(since=since, types=(EntryType.EFFECT_REFUSED,))
    return str(refused.body["because"])


def faults(place: Installation, incident: str) -> list[str]:
    """What the replay of the live record finds, but for Prefect, which is not there."""
    found = replay_live(place, incident, lambda _: None).audit.faults
    return [one.line() for one in found if "Prefect" not in one.line()]


def found_in_a_bundle(place: Installation, incident: str, target: Path) -> tuple[list[str], list[str]]:
    """The faults that quell and the small verifier find."""
    key = export(place, incident, target, None).key
    return [one.line() for one in judged(load(target), key).faults], verify(target, key)
