"""What people sign beside decisions: a waiver, a report, another archetype, severity, lead or cause, the activation of a configuration. Each in its own namespace.

A signature made for one cannot be used for another, because SSHSIG covers the namespace too.
"""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field

from runbooks.domain.approval import DECISION_NAMESPACE
from runbooks.domain.correlation import Quiet
from runbooks.domain.incident import Archetype, Cause, IncidentId, Name
from runbooks.domain.instants import Instant
from runbooks.domain.severity import Severity
from runbooks.domain.value import Digest, Value

WAIVER_NAMESPACE = "quell-waiver"
REPORT_NAMESPACE = "quell-report"
POLICY_NAMESPACE = "quell-policy"
BREAK_GLASS_NAMESPACE = "quell-break-glass"
RECLASSIFICATION_NAMESPACE = "quell-reclassification"
QUIET_NAMESPACE = "quell-quiet"
NAMESPACES = (
    DECISION_NAMESPACE, WAIVER_NAMESPACE, REPORT_NAMESPACE, POLICY_NAMESPACE, BREAK_GLASS_NAMESPACE,
    RECLASSIFICATION_NAMESPACE, QUIET_NAMESPACE,
)  # fmt: skip

Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class Waiver(Value):
    """Unsafe to wait (law 1): a person takes it upon themselves that acts come before the evidence is sealed."""

    what: Literal["unsafe_to_wait"] = "unsafe_to_wait"
    installation: str
    incident: IncidentId
    person: Name
    reason: Reason


class BreakGlass(Value):
    """One person acts alone, once, for so many minutes. What they took away is given back when the time is over."""

    what: Literal["break_glass"] = "break_glass"
    installation: str
    incident: IncidentId
    step: Name
    """The plan step: the id of the one act."""
    action: Digest
    person: Name
    reason: Reason
    minutes: Annotated[int, Field(ge=1, le=1440)]
    configuration: Digest
    nonce: str


class OpenedGlass(Value):
    """A break-glass statement as it stands in the record: when it was opened, and until when it holds."""

    statement: BreakGlass
    opened_at: Instant
    ends_at: Instant


class SignedReport(Value):
    """Who reported: the person signs the digest of the report as it is kept in the vault."""

    what: Literal["report"] = "report"
    installation: str
    report: Digest
    person: Name


class Quieting(Value):
    """A system's signals open no incident for a while; the person is the one that the quiet names."""

    what: Literal["keep_quiet"] = "keep_quiet"
    installation: str
    quiet: Quiet


class Reclassification(Value):
    """An incident is of another kind, as bad as this, led by somebody else, or these were its causes; signed for it as it stood."""

    what: Literal["reclassify"] = "reclassify"
    installation: str
    incident: IncidentId
    was: Digest
    """The incident as it stood."""
    archetype: Archetype | None = None
    severity: Severity | None = None
    harm_happened: bool = False
    """It was taken for a near miss, and is none."""
    lead: Name | None = None
    facts: tuple[Cause, ...] = ()
    """Causes that are established now; the reason says by what."""
    person: Name
    reason: Reason


class Activation(Value):
    """A policy owner makes one configuration follow another; signed for exactly this pair."""

    what: Literal["activate_configuration"] = "activate_configuration"
    installation: str
    person: Name
    previous: Digest | None
    next: Digest

    def fault(self, previous: Digest | None, following: Digest, owners: Collection[str]) -> str:
        """Why this cannot have made `following` active after `previous`, whose owners these were; "" when it can."""
        if (self.previous, self.next) != (previous, following):
            return "it was signed for another step than the one that was made"
        return "" if self.person in owners or not owners else f"{self.person} did not own the policy"
