"""What people sign beside decisions: a waiver, a report, the activation of a configuration. Each in its own namespace.

A signature made for one cannot be used for another, because SSHSIG covers the namespace too.
"""

from typing import Annotated, Literal

from pydantic import Field

from runbooks.domain.approval import DECISION_NAMESPACE
from runbooks.domain.incident import IncidentId, Name
from runbooks.domain.value import Digest, Value

WAIVER_NAMESPACE = "quell-waiver"
REPORT_NAMESPACE = "quell-report"
POLICY_NAMESPACE = "quell-policy"
NAMESPACES = (DECISION_NAMESPACE, WAIVER_NAMESPACE, REPORT_NAMESPACE, POLICY_NAMESPACE)

Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class Waiver(Value):
    """Unsafe to wait (law 1): a person takes it upon themselves that acts come before the evidence is sealed."""

    what: Literal["unsafe_to_wait"] = "unsafe_to_wait"
    installation: str
    incident: IncidentId
    person: Name
    reason: Reason


class SignedReport(Value):
    """Who reported: the person signs the digest of the report as it is kept in the vault."""

    what: Literal["report"] = "report"
    installation: str
    report: Digest
    person: Name


class Activation(Value):
    """A policy owner makes one configuration follow another; signed for exactly this pair."""

    what: Literal["activate_configuration"] = "activate_configuration"
    installation: str
    person: Name
    previous: Digest | None
    next: Digest
