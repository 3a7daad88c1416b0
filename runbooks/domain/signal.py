"""A delivery arrives as bytes; a mapping reads signals out of it; rules say what each one is.

Delivery (what was sent, as received) → Signal (one thing that it says) → Classified (what we think of it). The text
of a signal is hostile: rules may look for words in it, nothing else may be chosen by it, and nobody shows it as markup.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from runbooks.domain.incident import Archetype, IncidentId, Name
from runbooks.domain.instants import Instant
from runbooks.domain.severity import Factors, Floor, SeverityJudgement
from runbooks.domain.value import Digest, Value

DeliveryId = Annotated[str, StringConstraints(pattern=r"^DLV-[0-9A-HJKMNP-TV-Z]{26}$")]
"""`DLV-` and 26 characters of Crockford's base 32, the first ten from the clock, so that text order is time order."""

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._:/-]{0,79}$")]
"""A short lower-case word that a detector or an operator gives a signal: `prompt-injection`."""


Kind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._:/-]{0,119}$")]
"""What the sender calls it, in lower case and plain letters, so that it may be shown: `safety.alert.created`."""

MOST_REASONS = 30
"""Of a classification that goes into the ledger, whose entries are small."""


class Strength(StrEnum):
    """How well the sender is proven."""

    SIGNED = "signed"
    """A signature over the body and a fresh time."""
    SIGNED_UNDATED = "signed_undated"
    """A signature over the body; when it was made is not signed, so it may be an old one sent again."""
    TOKEN = "token"  # noqa: S105 - the kind of proof, no word of anybody
    """Somebody who knows a shared word: bearer, basic, or a secret path."""
    UNPROVEN = "unproven"


class Delivery(Value):
    """One request as received. Its body lies beside it as raw bytes; a receipt names it to the sender."""

    id: DeliveryId
    source: Name
    received_at: Instant
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    """Lower-case names, only those that the source's mapping needs, never credentials."""
    strength: Strength
    signed_at: Instant | None = None
    truncated: bool = False
    """The body was longer than what is kept; `body_digest` covers all of it."""
    body_digest: Digest


class Delivered(Value):
    """A delivery that speaks of an incident: its receipt, and the digest of all its bytes as they came."""

    receipt: DeliveryId
    body_digest: Digest | None
    """None: its bytes are not in the spool."""


class DeliveredSoFar(Value):
    """Which deliveries an incident's signals came in, at one time: bounded, so those in between are only counted.

    What is sealed as evidence is what had come by then; from this list one can show later what came afterwards. It is
    kept in the vault, and its salt keeps the digest in the ledger from being guessed.
    """

    incident: IncidentId
    count: Annotated[int, Field(ge=0)]
    first: tuple[Delivered, ...]
    newest: tuple[Delivered, ...]
    """Oldest first; a list that is short has all of them in `first`, and the ones beyond it here."""
    worse: Delivered | None = None
    """The one that raised the severity, where that is what is told."""
    salt: str


class SignalState(StrEnum):
    """Whether what it tells of goes on or is over. A resolved signal neither opens nor closes an incident."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Signal(Value):
    """One thing that a delivery says, in our words."""

    delivery: DeliveryId
    ordinal: Annotated[int, Field(ge=0)]
    """Its place within the delivery, from 0."""
    source: Name
    mapping: Digest
    """The version of the mapping that made it."""
    kind: Kind
    event_key: Digest
    """Equal for the same event delivered again; `source` and this are unique together."""
    system: Name | None
    environment: Label
    archetype_label: Label | None = None
    """What kind of incident a detector or an operator named outright: an archetype, or a label of a runbook."""
    labels: tuple[Label, ...] = ()
    state: SignalState = SignalState.FIRING
    vendor_severity: Label | None = None
    human: bool = False
    """A person wrote it. Only then do rules on words apply."""
    near_miss: bool = False
    """The sender says that it was stopped before harm."""
    occurred_at: Instant | None
    received_at: Instant
    strength: Strength
    text: str
    """Hostile."""
    alert: str | None = None
    """What fires and is later resolved under one name, for example Alertmanager's fingerprint; None: this event alone."""
    entity: Label | None = None
    """One further value to tell incidents apart by, where the mapping names one."""


class TriageOutcome(StrEnum):
    """What a signal was found to be. Only the first six have a flow of their own; the rest is triage."""

    PROMPT_INJECTION = "prompt_injection"
    DATA_EXFILTRATION = "data_exfiltration"
    MODEL_MANIPULATION = "model_manipulation"
    MISINFORMATION_CASCADE = "misinformation_cascade"
    TOXICITY_ABUSE = "toxicity_abuse"
    AGENTIC_MISALIGNMENT = "agentic_misalignment"
    UNCLASSIFIED = "unclassified"
    SUPPLIER = "supplier"
    PERFORMANCE = "performance"
    MISUSE_BY_THIRD_PARTY = "misuse_by_third_party"
    """Somebody else's use of somebody else's AI, or ours used as intended for harm: not a failure of our system."""
    NEAR_MISS = "near_miss"


class Basis(StrEnum):
    """Which kind of rule decided, strongest first. Nothing that rests on keywords or nothing is contained unasked."""

    LABEL = "label"
    VENDOR = "vendor"
    OPERATOR = "operator"
    KEYWORD = "keyword"
    NONE = "none"


_DECIDED: dict[Basis, str] = {
    Basis.LABEL: "its label {rule} says so",
    Basis.VENDOR: "by rule {rule} of its sender's own table",
    Basis.OPERATOR: "by rule {rule} of config/sources.toml",
    Basis.KEYWORD: "by its words alone, rule {rule}",
    Basis.NONE: "no rule knows it",
}


class Classification(Value):
    """What decided about a signal, in quell's own words and names alone: fit for the ledger and for every eye."""

    outcome: TriageOutcome
    basis: Basis
    rule: str
    rules_version: Digest
    reasons: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """What it was taken for and by which rule, in half a sentence."""
        return f"{self.outcome.replace('_', ' ')}, {_DECIDED[self.basis].format(rule=self.rule)}"


class Classified(Value):
    """What a signal is taken for, how bad, and why: every factor, floor and reason that counted."""

    outcome: TriageOutcome
    archetype: Archetype
    """Whose flow answers; `unclassified` where the outcome has none of its own yet."""
    basis: Basis
    near_miss: bool = False
    """Stopped before harm; the severity is the one that it would have had."""
    factors: Factors = Factors()
    floors: tuple[Floor, ...] = ()
    severity: SeverityJudgement
    rule: str
    """The name of the rule that decided."""
    rules_version: Digest
    reasons: tuple[str, ...]

    @property
    def classification(self) -> Classification:
        """The part that says who decided what, and why; of many reasons the first `MOST_REASONS`."""
        return Classification(
            outcome=self.outcome, basis=self.basis, rule=self.rule, rules_version=self.rules_version,
            reasons=self.reasons[:MOST_REASONS],
        )  # fmt: skip
