"""Unsafe to wait: a proven person takes it upon themselves that acts come before the evidence is sealed (law 1).

Rules of `submit_waiver`, in order:
1. It names this installation and an open incident whose evidence is not sealed yet.
2. The person is listed, valid now, and has one of the policy's waiver roles.
3. An SSH key of that person signed exactly this waiver. A code is not enough: the waiver must convince others later.
4. What holds is kept in the vault and written as `evidence_waived`; what does not, as `decision_refused`.
Who may waive is asked again when the plan is made and when something is taken away, as long as nothing is sealed.
What rests on a waiver asks `waivers_of`, which verifies the signature again: an entry alone waives nothing.
"""

import secrets

from runbooks.domain.errors import ApprovalError, QuellError
from runbooks.domain.incident import Name
from runbooks.domain.ledger import Actor, EntryType, LedgerEntry
from runbooks.domain.signed import WAIVER_NAMESPACE, Waiver
from runbooks.domain.value import Digest
from runbooks.domain.waiving import why_not_waive
from tasks.installation import Installation
from tasks.ledger import person_actor
from tasks.persons import listed_person
from tasks.proofs import verify_bytes


def submit_waiver(installation: Installation, waiver: Waiver, signature: str, *, door: Actor) -> LedgerEntry:
    """Verify and write it down; ApprovalError says why it was not accepted."""
    try:
        proof = _verified(installation, waiver, signature)
    except ApprovalError as error:  # 4
        installation.pen(door).write(
            EntryType.DECISION_REFUSED, f"waiver-refused/{secrets.token_hex(8)}", incident=waiver.incident,
            subject={"waiver": waiver.digest()},
            body={"claimed_person": waiver.person, "answer": "waive", "because": error.problem},
        )  # fmt: skip
        raise
    return installation.pen(person_actor(waiver.person)).write(
        EntryType.EVIDENCE_WAIVED, f"waived/{waiver.digest()}", incident=waiver.incident,
        subject={"waiver": installation.keep(waiver)},
        body={"because": waiver.reason, "person": waiver.person, "proof": proof},
    )  # fmt: skip


def waivers_of(installation: Installation, incident_id: str) -> list[LedgerEntry]:
    """The waivers of this incident that somebody signed, oldest first."""
    found = installation.store.entries(incident_id, types=(EntryType.EVIDENCE_WAIVED,))
    signatures = installation.signatures() if found else None
    return [entry for entry in found if signatures and not signatures.fault(entry)]


def standing_waiver(installation: Installation, incident_id: str) -> LedgerEntry | None:
    """The newest waiver of this incident by somebody who may waive now; a plan rests on no other."""
    may = (
        e
        for e in reversed(waivers_of(installation, incident_id))
        if not _objection(installation, incident_id, e.subject["waiver"])
    )
    return next(may, None)


def _objection(installation: Installation, incident_id: str, waiver: Digest) -> str:
    by = waived_by(installation, incident_id, waiver)
    return why_not_waive(installation.active(), by, installation.now())


def waived_by(installation: Installation, incident_id: str, waiver: Digest) -> Name | None:
    """Whose word this waiver is; None when it was not given for this incident."""
    try:
        said = Waiver.from_bytes(installation.vault.get(waiver))
    except (QuellError, ValueError):
        return None  # an entry that names no waiver waives nothing
    return said.person if (said.installation, said.incident) == (installation.id, incident_id) else None


def _verified(installation: Installation, waiver: Waiver, signature: str) -> dict[str, str | int | None]:
    installation.incident(waiver.incident)  # 1
    found = installation.store.entries(waiver.incident, types=(EntryType.INCIDENT_CLOSED, EntryType.EVIDENCE_SEALED))
    if waiver.installation != installation.id or found:
        why = "closed" if any(e.type is EntryType.INCIDENT_CLOSED for e in found) else "sealed already"
        raise ApprovalError(
            f"the evidence of {waiver.incident} cannot be waived: "
            + (f"the incident is {why}." if found else f"the waiver is for {waiver.installation}."),
            now="nothing was waived.", next_step=f"look: quell show {waiver.incident}",
        )  # fmt: skip
    configuration = installation.active()
    person = listed_person(configuration, waiver.person, installation.latest())  # 2
    why = why_not_waive(configuration, waiver.person, installation.latest())
    if why:
        raise ApprovalError(
            f"{why}.",
            now="nothing was waived; the response seals the evidence first.",
            next_step="ask somebody with one of these roles.",
        )
    if not signature:  # 3
        raise ApprovalError(
            "a waiver needs an SSH signature, found none.", now="nothing was waived.",
            next_step="sign with --key FILE, or --agent with --public-key FILE.",
        )  # fmt: skip
    proof = verify_bytes(
        waiver.canonical(), signature, person.ssh_keys, person=waiver.person, namespace=WAIVER_NAMESPACE
    )
    return proof.as_json()
