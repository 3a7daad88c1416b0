"""What a replay says of one entry."""

from enum import StrEnum

from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Value


class Outcome(StrEnum):
    """What came of making a judgement again."""

    AGREES = "agrees"
    DIFFERS = "differs"
    WITHHELD = "not recomputed"
    TOLD = "told"
    """The entry holds no judgement; it is shown so that the film has no gap."""


class Step(Value):
    """One entry, replayed."""

    entry: int
    at: str
    type: EntryType
    outcome: Outcome
    what: str
    differences: tuple[str, ...] = ()
