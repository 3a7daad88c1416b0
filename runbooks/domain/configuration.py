"""Configuration that grants power, as one value with one digest: people, policy, systems, runbooks.

It becomes active by a ledger entry; gates and connectors read the active one from the vault, never the files.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from runbooks.domain.containment import VERB_REVERSIBILITY, Reversibility, Verb
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import Archetype, Name
from runbooks.domain.instants import Instant
from runbooks.domain.recovery import Bar
from runbooks.domain.review import ReviewRules
from runbooks.domain.severity import Severity
from runbooks.domain.value import Digest, Json, Value

SecretReference = Annotated[str, StringConstraints(pattern=r"^(file|env):.+$")]
"""`file:PATH` or `env:NAME`: where a secret is, never the secret. Read at use."""


class ProofKind(StrEnum):
    """How a person proves to be that person. `ssh` anybody can check later; `code` only quell can attest."""

    SSH = "ssh"
    CODE = "code"


class Person(Value):
    """Somebody who may decide. Keys are OpenSSH public key lines; the code secret is a reference."""

    name: str
    roles: tuple[Name, ...]
    ssh_keys: tuple[str, ...] = ()
    code_secret: SecretReference | None = None
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class Right(Value):
    """One decision right. The first right that matches an action, in file order, is the one that holds."""

    verbs: tuple[Verb, ...] = ()
    """Empty: every verb."""
    reversibilities: tuple[Reversibility, ...] = ()
    severities: tuple[Severity, ...] = ()
    systems: tuple[Name, ...] = ()
    purposes: tuple[str, ...] = ()
    roles: Annotated[tuple[Name, ...], Field(min_length=1)]
    people: Annotated[int, Field(ge=1)] = 1
    proofs: Annotated[tuple[ProofKind, ...], Field(min_length=1)] = (ProofKind.SSH,)
    expires_minutes: Annotated[int, Field(ge=1)] = 240


class Preauthorisation(Value):
    """What may be done after the seal without waiting for a person. Only reversible verbs (R1) are accepted.

    (`call_http` has no class of its own; a control of it that is R2 or R3 is never covered.)
    """

    id: Name
    archetypes: Annotated[tuple[Archetype, ...], Field(min_length=1)]
    systems: Annotated[tuple[Name, ...], Field(min_length=1)]
    verbs: Annotated[tuple[Verb, ...], Field(min_length=1)]
    severities: tuple[Severity, ...] = ()
    why: str

    @model_validator(mode="after")
    def _reversible(self) -> "Preauthorisation":
        for verb in self.verbs:
            least = VERB_REVERSIBILITY.get(verb, Reversibility.R1)
            if least.rank > Reversibility.R1.rank:
                raise ValueError(f"{verb.shown} is {least} ({least.meaning}); it always waits for people")
        return self


class UnknownSystem(StrEnum):
    """What happens to an incident on a system that the inventory does not know: always sealed and told, never acted."""

    REFUSE = "refuse"


class Policy(Value):
    """Decision rights, pre-authorisations, and the rules that hold for the whole installation."""

    rights: tuple[Right, ...]
    preauthorised: tuple[Preauthorisation, ...] = ()
    unknown_system: UnknownSystem = UnknownSystem.REFUSE
    owners: tuple[Name, ...] = ()
    """People whose SSH signature activates a new configuration. Empty: the installation's own key does."""
    waiver_roles: tuple[Name, ...] = ()
    probes_in_a_row: Annotated[int, Field(ge=1, le=20)] = 3
    bars: dict[Severity, Bar] = {}
    review: ReviewRules = ReviewRules()


class Connection(Value):
    """One connector of one system: its kind (a file in tasks/connectors) and its settings, secrets as references."""

    kind: Name
    settings: dict[str, Json] = {}


class Control(Value):
    """One thing that can be taken away from a system: verb, connector, target, and what a person must know."""

    name: Name
    verb: Verb
    connector: Name
    target: str
    desired: dict[str, str] = {}
    reversibility: Reversibility | None = None
    title: str
    blast_radius: str
    undo: str
    tags: tuple[Name, ...] = ()
    probes: tuple[Name, ...] = ()
    lag_seconds: Annotated[int, Field(ge=0)] = 0
    deadline_seconds: Annotated[int, Field(ge=1)] = 60


class EvidenceSource(Value):
    """One connector that hands over one evidence class; `what` selects within the connector."""

    evidence_class: EvidenceClass
    connector: Name
    what: str


class ProbeSpec(Value):
    """One harmless look through the agent's own path, performed by `connector`; `settings` are the connector's."""

    connector: Name
    settings: dict[str, Json] = {}


class TrialSpec(Value):
    """How recorded attacks of one archetype are replayed harmlessly, and which neighbours must still work."""

    connector: Name
    settings: dict[str, Json] = {}
    benign: tuple[str, ...] = ()


class System(Value):
    """One AI system of the inventory."""

    title: str
    owner: Name
    lead: Name
    practice: bool = False
    approved_uses: tuple[str, ...] = ()
    fallback: str | None = None
    harmful_tools: tuple[str, ...] = ()
    """Tools whose effects reach people or money: what the affected-records list and the trials look for."""
    connections: dict[Name, Connection] = {}
    controls: tuple[Control, ...] = ()
    evidence: tuple[EvidenceSource, ...] = ()
    absent: dict[EvidenceClass, str] = {}
    """Evidence classes that cannot exist for this system, with the reason."""
    probes: dict[Name, ProbeSpec] = {}
    trials: dict[Archetype, TrialSpec] = {}

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "System":
        names = [control.name for control in self.controls]
        for name in sorted(set(names)):
            if names.count(name) > 1:
                raise ValueError(f"two controls are named {name}; a plan would hold only one of them")
        return self


class Configuration(Value):
    """Everything that grants power. Its digest is the one that gates and connectors demand."""

    people: dict[Name, Person]
    policy: Policy
    systems: dict[Name, System]
    runbooks: dict[Archetype, Digest]

    def right_for(
        self, *, purpose: str, verb: Verb | None, reversibility: Reversibility, severity: Severity, system: str
    ) -> Right | None:
        """The first right that matches; None means that nobody may, so the answer is no.

        A right that lists verbs does not cover what has no verb.
        """
        for right in self.policy.rights:
            if (
                _allows(right.purposes, purpose)
                and _allows(right.verbs, verb)
                and _allows(right.reversibilities, reversibility)
                and _allows(right.severities, severity)
                and _allows(right.systems, system)
            ):
                return right
        return None

    def preauthorisation_for(
        self, *, archetype: Archetype, verb: Verb, reversibility: Reversibility, severity: Severity, system: str
    ) -> Preauthorisation | None:
        """The pre-authorisation that covers this act, if any. R2 and R3 are never covered."""
        if reversibility.rank > Reversibility.R1.rank:
            return None
        for rule in self.policy.preauthorised:
            if (
                archetype in rule.archetypes
                and system in rule.systems
                and verb in rule.verbs
                and _allows(rule.severities, severity)
            ):
                return rule
        return None


def _allows(listed: tuple[str, ...], value: str | None) -> bool:
    return not listed or value in listed
