"""What policy lets begin without waiting for a person: for whom, whose signals start it, how often, and why."""

from typing import Annotated

from pydantic import Field, model_validator

from runbooks.domain.containment import VERB_REVERSIBILITY, Reversibility, Verb
from runbooks.domain.incident import Archetype, Name
from runbooks.domain.severity import Severity
from runbooks.domain.value import Value


class Preauthorisation(Value):
    """What may be done after the seal without waiting for a person. Only reversible verbs (R1) are accepted.

    (`call_http` has no class of its own; a control of it that is R2 or R3 is never covered.)
    """

    id: Name
    archetypes: Annotated[tuple[Archetype, ...], Field(min_length=1)]
    systems: Annotated[tuple[Name, ...], Field(min_length=1)]
    verbs: Annotated[tuple[Verb, ...], Field(min_length=1)]
    severities: tuple[Severity, ...] = ()
    sources: tuple[Name, ...] = ()
    """Whose signals may start it. Only those that are signed and fresh do; empty: nobody's, so people are asked."""
    incidents_per_hour: Annotated[int, Field(ge=1, le=1000)] = 10
    """Of how many incidents within an hour; the next one waits for people."""
    why: str

    @model_validator(mode="after")
    def _reversible(self) -> "Preauthorisation":
        for verb in self.verbs:
            least = VERB_REVERSIBILITY.get(verb, Reversibility.R1)
            if least.rank > Reversibility.R1.rank:
                raise ValueError(f"{verb.shown} is {least} ({least.meaning}); it always waits for people")
        return self

    def begins(self, archetype: Archetype, severity: Severity, system: str, source: str) -> bool:
        """Whether a signed, fresh signal of this source, taken for this, may begin it."""
        return (
            archetype in self.archetypes
            and system in self.systems
            and source in self.sources
            and (not self.severities or severity in self.severities)
        )
