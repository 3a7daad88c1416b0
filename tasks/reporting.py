"""A report that its reporter signed: the proof goes into the record before the incident opens."""

from runbooks.domain.errors import ApprovalError
from runbooks.domain.incident import Report
from runbooks.domain.ledger import EntryType
from runbooks.domain.signed import REPORT_NAMESPACE, SignedReport
from tasks.installation import Installation
from tasks.ledger import person_actor
from tasks.persons import listed_person
from tasks.proofs import verify_bytes


def record_signed_report(installation: Installation, report: Report, signed: SignedReport, signature: str) -> None:
    """Verify and write it down; ApprovalError when the person or the signature is not what it should be."""
    person = listed_person(installation.active(), signed.person, installation.latest())
    if signed.person != report.reporter or signed.report != report.digest():
        raise ApprovalError(
            f"the signed report is not this one: expected {report.digest()} by {report.reporter}.",
            now="no incident was opened.", next_step="declare without --key; then one person more must approve.",
        )  # fmt: skip
    proof = verify_bytes(
        signed.canonical(), signature, person.ssh_keys, person=signed.person, namespace=REPORT_NAMESPACE
    )
    installation.pen(person_actor(signed.person)).write(
        EntryType.SIGNAL_RECEIVED, f"report/{signed.report}", subject={"report": installation.keep(report)},
        body={"signed": signed.as_json(), "proof": proof.as_json(), "source": report.source},
    )  # fmt: skip
