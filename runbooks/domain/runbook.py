"""A runbook: what one archetype needs, as data. No templates, no conditions, no loops: an `if` belongs in the flow."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from runbooks.domain.containment import Verb
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import Archetype, Name
from runbooks.domain.recovery import Bar
from runbooks.domain.severity import Factors, Floor, Severity
from runbooks.domain.standards import check_identifier
from runbooks.domain.value import Value


class When(StrEnum):
    """Whether an act may come before people answer, if policy pre-authorises it, or always waits for them."""

    AT_ONCE_IF_PREAUTHORISED = "at_once_if_preauthorised"
    AFTER_APPROVAL = "after_approval"


class Alternative(Value):
    """What is asked for instead when people deny an act: a narrower or a wider one."""

    verb: Verb
    tags: tuple[Name, ...] = ()
    wider: bool = False
    why: str


class ContainmentStep(Value):
    """Take away, with this verb, every control of the system that carries one of these tags (none: every control)."""

    verb: Verb
    tags: tuple[Name, ...] = ()
    when: When = When.AFTER_APPROVAL
    why: str
    alternatives: tuple[Alternative, ...] = ()
    """Asked for after a denial, each as a new request; none: the response goes on without it and says so."""


class Recovery(Value):
    """What must be shown before re-enabling, and which verbs are re-enabled at all."""

    bar: Bar = Bar()
    lift_for_trials: tuple[Verb, ...] = ()
    """Verbs given back (with consent) before the trials, because the agent cannot be tried at all without them."""
    re_enable: tuple[Verb, ...] = ()


class ReviewGuide(Value):
    """Questions that the review must answer, beside those that the draft asks by itself."""

    questions: tuple[str, ...]


class Selects(StrEnum):
    """What a scenario is expected to do."""

    THIS = "this"
    NEAR_MISS = "near_miss"


class Scenario(Value):
    """An example at the end of the book page: one that must select it (with the verbs planned), one near miss."""

    name: Name
    selects: Selects
    labels: tuple[str, ...]
    factors: Factors = Factors()
    floors: tuple[Floor, ...] = ()
    severity: Severity
    verbs: tuple[Verb, ...] = ()


class Runbook(Value):
    """One page of the book."""

    archetype: Archetype
    title: str
    summary: str
    references: Annotated[tuple[str, ...], Field(min_length=1)]
    signals: tuple[str, ...]
    """Labels that select this runbook when a detector or a person names them."""
    near_misses: tuple[str, ...] = ()
    """Labels of things that were stopped before harm: recorded as near misses, nothing is taken away."""
    severity_floors: tuple[Floor, ...] = ()
    """Floors that hold for every incident of this archetype."""
    evidence: Annotated[tuple[EvidenceClass, ...], Field(min_length=1)]
    containment: tuple[ContainmentStep, ...] = ()
    recovery: Recovery = Recovery()
    review: ReviewGuide
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _known_references(self) -> "Runbook":
        for identifier in self.references:
            check_identifier(identifier)
        return self


def select(labels: tuple[str, ...], books: dict[Archetype, Runbook]) -> tuple[Archetype, bool]:
    """The archetype whose signals these labels name, and whether it is only a near miss.

    A harmful label beats a near miss; the order of the archetypes decides between two of the same rank; nothing
    named: unclassified.
    """
    for archetype in Archetype:
        book = books.get(archetype)
        if book is not None and set(labels) & set(book.signals):
            return archetype, False
    for archetype in Archetype:
        book = books.get(archetype)
        if book is not None and set(labels) & set(book.near_misses):
            return archetype, True
    return Archetype.UNCLASSIFIED, False
