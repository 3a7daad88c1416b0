"""Rules that say what a signal is, as data: for what vendors and operators know, and for words that people write."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from runbooks.domain.incident import Name
from runbooks.domain.severity import Factors, Floor
from runbooks.domain.signal import Label, TriageOutcome
from runbooks.domain.value import Value

Glob = Annotated[str, StringConstraints(pattern=r"^[a-z0-9._:/*-]{1,120}$")]
"""A kind in lower case, in which `*` stands for any run of characters: `safety.*`."""

Phrase = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9 ]{0,58}\*?$")]
"""One or more words in lower case, plain letters; a `*` at the end takes every ending: `hallucinat*`."""


class SignalRule(Value):
    """What a signal of these kinds, with one of these labels, at one of these severities is. Empty: any."""

    name: Name
    sources: tuple[Name, ...] = ()
    kinds: tuple[Glob, ...] = ()
    labels: tuple[Label, ...] = ()
    severities: tuple[Label, ...] = ()
    """The sender's own words for how bad it is; they count nowhere but here."""
    outcome: TriageOutcome
    near_miss: bool = False
    """It was stopped before harm; the outcome says what it would have been."""
    factors: Factors = Factors()
    floors: tuple[Floor, ...] = ()

    @model_validator(mode="after")
    def _asks_something(self) -> "SignalRule":
        if not (self.kinds or self.labels or self.severities):
            raise ValueError("at least one of kinds, labels, severities; a rule for everything says kinds = ['*']")
        return self


class KeywordRule(Value):
    """What a text that a person wrote is, when it holds a phrase of every group and none of those that exclude it."""

    name: Name
    outcome: TriageOutcome
    groups: Annotated[tuple[Annotated[tuple[Phrase, ...], Field(min_length=1)], ...], Field(min_length=1, max_length=4)]
    unless: tuple[Phrase, ...] = ()
    floors: tuple[Floor, ...] = ()
