"""How a sender's words become signals: expressions that pick fields, as data.

Expressions are JMESPath, evaluated over `body` (the document), `nested` (the JSON found inside one of its texts, where
the source says so), `headers` (those that were kept, in lower case) and, for one signal, `item` (one of `each`, else the
body). An expression can only pick: it has no loops, no clock, no reach outside what was delivered.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from runbooks.domain.incident import Name
from runbooks.domain.signal import Label
from runbooks.domain.value import Value

Expression = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
"""A JMESPath expression; `tasks/intake/mapping.py` checks that it can be read."""


class BodyFormat(StrEnum):
    """How bytes become documents. One delivery is one document, except for a batch of CloudEvents."""

    JSON = "json"
    FORM = "form"
    """Form-encoded: an object of texts, the first value of each key."""
    CLOUDEVENTS = "cloudevents"
    """CloudEvents 1.0 over HTTP: structured, binary or batch; each event is a document, its payload under `data`."""


class SignalMapping(Value):
    """One shape of delivery. The first of a source's mappings whose `when` holds is the one that reads a document."""

    name: Name
    when: Expression | None = None
    """Whether this mapping is for this document; none: it is for every one."""
    each: Expression | None = None
    """A list, one signal for each member; none: the document is one signal."""
    skip: Expression | None = None
    """Whether this item says nothing (a heartbeat, a test button); then no signal is made of it."""
    kind: Expression
    event_key: tuple[Expression, ...] = ()
    """What makes two deliveries the same event. Where none of it is there, the whole item is."""
    alert: tuple[Expression, ...] = ()
    """What fires and is later resolved under one name."""
    system: Expression | None = None
    """Which of our systems; the scope's `systems` may say that it means another."""
    place: Expression | None = None
    """A name of the sender's own (a project, a repository); it counts only where the scope's `systems` lists it."""
    environment: Expression | None = None
    archetype: Expression | None = None
    labels: tuple[Expression, ...] = ()
    """Texts, or lists of texts; commas and spaces part several in one."""
    state: Expression | None = None
    resolved: tuple[str, ...] = ("resolved",)
    """Values of `state`, in lower case, that say it is over."""
    severity: Expression | None = None
    near_miss: Expression | None = None
    occurred_at: Expression | None = None
    text: tuple[Expression, ...] = ()
    entity: Expression | None = None
    human: bool = False
    """A person wrote the text."""

    def expressions(self) -> dict[str, tuple[Expression, ...]]:
        """Every expression, under the key that holds it."""
        single = ("when", "each", "skip", "kind", "system", "place", "environment", "archetype", "state", "severity",
                  "near_miss", "occurred_at", "entity")  # fmt: skip
        found = {key: (getattr(self, key),) for key in single if getattr(self, key) is not None}
        return found | {key: getattr(self, key) for key in ("event_key", "alert", "labels", "text")}


class Scope(Value):
    """What only this installation knows about a source: which of its systems the sender speaks of."""

    system: Name | None = None
    """Where the sender names none."""
    systems: Annotated[dict[Label, Name], Field(max_length=1000)] = {}
    """The sender's names, as quell writes them (lower case, other characters become `-`), and ours."""
    environment: Label = "production"
    """Where the sender names none."""
    labels: tuple[Label, ...] = ()
    """Put on every signal of this source; one that is an archetype's label decides what the signals are."""
    entity: Expression | None = None
    """In place of the mapping's: a further value to tell incidents apart by."""
