"""What policy lets begin without waiting for a person: for whom, whose signals start it, how often, how soon, and why.

Rules on age, in order:
1. The signal's age counts from when the door received it, by quell's own clock: not from when it was read, read again,
   or looked at after a quiet window. Where that is not on record, the signal counts as too old.
2. The limit is the policy's; a rule may only shorten it. It is looked at twice: when the plan is made, and when the act
   is claimed for the first time.
3. An act that was claimed may be finished, and what was given back for a trial may be taken away again, at any age:
   its right began in time.
"""

from typing import Annotated

from pydantic import Field, model_validator

from runbooks.domain.containment import VERB_REVERSIBILITY, Reversibility, Verb
from runbooks.domain.incident import Archetype, Name
from runbooks.domain.instants import Instant, milliseconds_between
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
    fresh_minutes: Annotated[int, Field(ge=1, le=1440)] | None = None
    """How old its signal may be at most; only shorter than the policy's `fresh_minutes`. None: as long as that."""
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

    def too_old(self, received_at: Instant | None, now: Instant, most_minutes: int) -> str:
        """Why a signal that was received then begins nothing now, by the rules on age; empty when it may.

        `most_minutes` is the policy's limit. A time in the future is as far away as one in the past: a clock was wrong.
        """
        if received_at is None:
            return "it is not on record when its signal was received"
        limit = min(most_minutes, self.fresh_minutes or most_minutes)
        age = milliseconds_between(received_at, now)
        if abs(age) < 60_000 * limit:
            return ""
        when = f"{received_at[:10]} {received_at[11:16]} UTC"
        return f"its signal was received {when}, {_long(abs(age))} {'ago' if age >= 0 else 'from now'}, limit {limit} minutes"


def _long(milliseconds: int) -> str:
    minutes = milliseconds // 60_000
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 2880 else f"{minutes // 1440} days"
