"""Configuration that grants power, as one value with one digest: people, policy, systems, sources, runbooks.

It becomes active by a ledger entry; gates and connectors read the active one from the vault, never the files.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from runbooks.domain.containment import VERB_REVERSIBILITY, Reversibility, Verb
from runbooks.domain.correlation import CorrelationRules
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import Archetype, Name, Origin
from runbooks.domain.instants import Instant
from runbooks.domain.preauthorisation import Preauthorisation
from runbooks.domain.recovery import Bar
from runbooks.domain.reference import SecretReference
from runbooks.domain.review import ReviewRules
from runbooks.domain.rules import KeywordRule, SignalRule
from runbooks.domain.severity import Severity
from runbooks.domain.sources import Source
from runbooks.domain.value import Digest, PlainJson, Value


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
    deputy_for: Name | None = None
    """The one person whom this one may stand for, where that person has the role and has not answered."""


class Rung(Value):
    """One step of an escalation ladder: who is told when a request has waited for so long, and through which channels."""

    after_minutes: Annotated[int, Field(ge=0)]
    roles: tuple[Name, ...] = ()
    """Among the right's roles; empty: everybody who may answer."""
    deputies: bool = False
    """Tell their deputies too."""
    channels: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names of the policy's channels."""
    repeat_minutes: Annotated[int, Field(ge=1)] | None = None
    """Told again every so many minutes, as long as it waits; None: once."""


class Right(Value):
    """One decision right. The first right that matches an action, in file order, is the one that holds.

    A right that names systems may only be tighter than the one that would hold without it (see `policy_faults`).
    """

    verbs: tuple[Verb, ...] = ()
    """Empty: every verb."""
    reversibilities: tuple[Reversibility, ...] = ()
    severities: tuple[Severity, ...] = ()
    systems: tuple[Name, ...] = ()
    purposes: tuple[str, ...] = ()
    roles: Annotated[tuple[Name, ...], Field(min_length=1)]
    people: Annotated[int, Field(ge=1)] = 1
    proofs: Annotated[tuple[ProofKind, ...], Field(min_length=1)] = (ProofKind.SSH,)
    code_for_irreversible: bool = False
    """Whether a one-time code is enough for R2 and R3 too. Only quell can attest a code."""
    never: tuple[Name, ...] = ()
    """Who may never decide under it, although in role: people, roles, or `system-owner`."""
    expires_minutes: Annotated[int, Field(ge=1)] = 240
    ladder: tuple[Rung, ...] = ()


class BreakGlassRule(Value):
    """Who may act without quorum, how, where, and for how long. Never what cannot be undone."""

    roles: Annotated[tuple[Name, ...], Field(min_length=1)]
    verbs: Annotated[tuple[Verb, ...], Field(min_length=1)]
    systems: Annotated[tuple[Name, ...], Field(min_length=1)]
    max_minutes: Annotated[int, Field(ge=1, le=1440)]
    review_within_hours: Annotated[int, Field(ge=1, le=336)] = 72

    @model_validator(mode="after")
    def _can_be_undone(self) -> "BreakGlassRule":
        for verb in self.verbs:
            if VERB_REVERSIBILITY.get(verb, Reversibility.R1) is Reversibility.R3:
                raise ValueError(f"{verb.shown} cannot be undone; nobody does that alone")
        return self


class UnknownSystem(StrEnum):
    """What happens to an incident on a system that the inventory does not know: always sealed and told, never acted."""

    REFUSE = "refuse"


class Policy(Value):
    """Decision rights, pre-authorisations, and the rules that hold for the whole installation."""

    rights: tuple[Right, ...] = ()
    """The first that matches holds. None: nobody may decide anything, so evidence is sealed and people are told."""
    preauthorised: tuple[Preauthorisation, ...] = ()
    fresh_minutes: Annotated[int, Field(ge=1, le=1440)] = 10
    """How old a signal may be that begins what is pre-authorised, since the door received it."""
    unknown_system: UnknownSystem = UnknownSystem.REFUSE
    owners: tuple[Name, ...] = ()
    """People whose SSH signature activates a new configuration. Empty: the installation's own key does."""
    waiver_roles: tuple[Name, ...] = ()
    quiet_roles: tuple[Name, ...] = ()
    """Who may keep a system's signals quiet for a while. Empty: nobody."""
    break_glass: tuple[BreakGlassRule, ...] = ()
    channels: dict[Name, SecretReference] = {}
    """Where people are told: each secret is one Apprise address (mail, chat, pager), read at use."""
    probes_in_a_row: Annotated[int, Field(ge=1, le=20)] = 3
    bars: dict[Severity, Bar] = {}
    review: ReviewRules = ReviewRules()
    correlation: CorrelationRules = CorrelationRules()
    opening_channels: dict[Severity, tuple[Name, ...]] = {}
    """Who is told that an incident opened, or came to be this severe: channels by severity. Empty: nobody, until asked."""


class Connection(Value):
    """One connector of one system: its kind (a file in tasks/connectors) and its settings, secrets as references."""

    kind: Name
    settings: dict[str, PlainJson] = {}


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
    settings: dict[str, PlainJson] = {}


class TrialSpec(Value):
    """How recorded attacks of one archetype are replayed harmlessly, and which neighbours must still work."""

    connector: Name
    settings: dict[str, PlainJson] = {}
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
    sources: dict[Name, Source] = {}
    """Who may send signals."""
    rules: tuple[SignalRule, ...] = ()
    """What signals are, beyond what their senders' own tables say; the first that hits decides."""
    keywords: tuple[KeywordRule, ...] = ()
    """What texts that people wrote are."""

    def right_for(
        self, *, purpose: str, verb: Verb | None, reversibility: Reversibility, severity: Severity, system: str
    ) -> Right | None:
        """The first right that matches; None means that nobody may, so the answer is no.

        A right that lists verbs does not cover what has no verb.
        """
        position = matching(
            self.policy.rights,
            purpose=purpose,
            verb=verb,
            reversibility=reversibility,
            severity=severity,
            system=system,
        )
        return None if position is None else self.policy.rights[position]

    def preauthorisations_for(
        self, *, archetype: Archetype, verb: Verb, reversibility: Reversibility, severity: Severity, system: str,
        origin: Origin | None,
    ) -> tuple[Preauthorisation, ...]:  # fmt: skip
        """The pre-authorisations that cover this act while its signal is young, in file order. R2 and R3 are never covered.

        It takes an incident that a signed, fresh signal of one of its sources opened; people's reports wait for people.
        """
        if reversibility.rank > Reversibility.R1.rank or origin is None or not origin.fresh:
            return ()
        found = (rule for rule in self.policy.preauthorised if verb in rule.verbs)
        return tuple(rule for rule in found if rule.begins(archetype, severity, system, origin.source))

    def too_old(self, rule: Preauthorisation, received_at: Instant | None, now: Instant) -> str:
        """Why a signal that was received then begins nothing under this rule now; empty when it may."""
        return rule.too_old(received_at, now, self.policy.fresh_minutes)

    def lets_begin(
        self, archetype: Archetype, severity: Severity, system: str, source: str, *, received_at: Instant, now: Instant
    ) -> bool:
        """Whether a signed signal of this source, taken for this and received then, may begin anything without people."""
        return any(
            rule.begins(archetype, severity, system, source) and not self.too_old(rule, received_at, now)
            for rule in self.policy.preauthorised
        )

    def break_glass_for(
        self, *, roles: tuple[Name, ...], verb: Verb, reversibility: Reversibility, system: str
    ) -> BreakGlassRule | None:
        """The rule that lets somebody with these roles do this without quorum, if any. R3 never."""
        if reversibility is Reversibility.R3:
            return None
        for rule in self.policy.break_glass:
            if set(roles) & set(rule.roles) and verb in rule.verbs and system in rule.systems:
                return rule
        return None


def matching(
    rights: tuple[Right, ...], *, purpose: str, verb: Verb | None, reversibility: Reversibility, severity: Severity,
    system: str | None,
) -> int | None:  # fmt: skip
    """Position of the first right that matches; a system of None is one that no right names."""
    for position, right in enumerate(rights):
        if (
            _allows(right.purposes, purpose)
            and _allows(right.verbs, verb)
            and _allows(right.reversibilities, reversibility)
            and _allows(right.severities, severity)
            and _allows(right.systems, system)
        ):
            return position
    return None


def _allows(listed: tuple[str, ...], value: str | None) -> bool:
    return not listed or value in listed
