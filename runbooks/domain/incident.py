"""A signal arrives, an incident opens: what somebody saw, who leads, what is only suspected."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from runbooks.domain.instants import Instant
from runbooks.domain.severity import Factors, Floor, SeverityJudgement
from runbooks.domain.value import Digest, Value

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""A short lower-case name: a person, a system, a connector, a control."""

IncidentId = Annotated[str, StringConstraints(pattern=r"^INC-[0-9A-Z]{4,26}$")]
"""For example `INC-7K2QF9`."""


class Archetype(StrEnum):
    """The kinds of AI incident that have a runbook; `unclassified` is triage for everything else."""

    PROMPT_INJECTION = "prompt_injection"
    DATA_EXFILTRATION = "data_exfiltration"
    MODEL_MANIPULATION = "model_manipulation"
    MISINFORMATION_CASCADE = "misinformation_cascade"
    TOXICITY_ABUSE = "toxicity_abuse"
    AGENTIC_MISALIGNMENT = "agentic_misalignment"
    UNCLASSIFIED = "unclassified"

    @property
    def shown(self) -> str:
        """As people read it: `prompt-injection`."""
        return self.value.replace("_", "-")


class Cause(StrEnum):
    """What may lie behind it; several may be suspected at once, and none changes the archetype by itself."""

    MALICIOUS_ACTOR = "malicious_actor"
    INJECTION = "injection"
    MISTAKE = "mistake"
    CHANGE = "change"
    DATA = "data"
    SUPPLIER = "supplier"
    DRIFT = "drift"
    POLICY_MISCONFIGURATION = "policy_misconfiguration"
    UNSAFE_RETRIEVAL = "unsafe_retrieval"
    MISUSE = "misuse"


class Standing(StrEnum):
    """Whether something is established or only thought."""

    HYPOTHESIS = "hypothesis"
    FACT = "fact"


class SuspectedCause(Value):
    """One possible cause, always marked hypothesis or fact, with the reason for thinking so."""

    cause: Cause
    standing: Standing = Standing.HYPOTHESIS
    because: str


class Requester(Value):
    """Who asked for the response. `proven` is false for a name that somebody typed into a form."""

    name: str
    proven: bool


class Origin(Value):
    """The signal that opened an incident, as far as it was proven."""

    source: Name
    """Who sent it, as config/sources.toml names it."""
    fresh: bool
    """Signed, with a fresh time, and no guess: only such a signal starts what policy pre-authorises."""
    delivery: str
    """Its receipt."""
    received_at: Instant | None = None
    """When the door received it, whenever it was read. None: from before this was kept."""


class Report(Value):
    """What arrived: words of a person or of a monitor. Hostile text: kept as evidence, never interpreted."""

    system: Name
    what_happened: str
    reporter: str
    reporter_proven: bool = False
    lead: Name
    noticed_at: Instant
    began_at: Instant | None = None
    factors: Factors = Factors()
    floors: tuple[Floor, ...] = ()
    causes: tuple[SuspectedCause, ...] = ()
    near_miss: bool = False
    source: str = "person"


class Incident(Value):
    """One incident: exactly one lead, its requester, its systems, its severity with reasons."""

    id: IncidentId
    archetype: Archetype
    systems: Annotated[tuple[Name, ...], Field(min_length=1)]
    lead: Name
    requester: Requester
    severity: SeverityJudgement
    causes: tuple[SuspectedCause, ...]
    opened_at: Instant
    noticed_at: Instant
    began_at: Instant | None
    report: Digest
    drill: bool
    near_miss: bool
    known_system: bool = True
    origin: Origin | None = None
    """None: a person opened it."""
    recurrence_of: IncidentId | None = None
    continues: IncidentId | None = None
    """The same incident under the archetype that it was taken for at first."""
    storm: IncidentId | None = None
    """The incident that stands for all of a storm; about this one people are not told apart."""

    @property
    def system(self) -> str:
        """The system that containment acts on; further ones are context."""
        return self.systems[0]


class AffectedRecord(Value):
    """Somebody or something that the harm reached, as seen in a sealed source."""

    kind: str
    reference: str
    what: str
    source: str
    seen_at: str
    standing: Standing = Standing.FACT


class AffectedRecords(Value):
    """The register of affected records of one incident; kept in the vault, counted in the ledger."""

    incident: IncidentId
    records: tuple[AffectedRecord, ...]
