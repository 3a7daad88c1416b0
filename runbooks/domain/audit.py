"""What an audit finds: which file or entry, what was expected and found, and what that means.

A fault says that the record or bundle is not what it claims to be. A caveat is true and good to know, and no fault.
"""

from collections.abc import Iterable
from enum import StrEnum
from itertools import islice

from runbooks.domain.ledger import LedgerEntry
from runbooks.domain.value import Json, Value


class Weight(StrEnum):
    """How a finding counts."""

    FAULT = "fault"
    CAVEAT = "caveat"


class Finding(Value):
    """One thing found."""

    weight: Weight
    where: str
    """File of the bundle, or `entry N`, or the outside place."""
    what: str
    """Expected and found."""
    means: str
    """What follows from it, for somebody who must decide what to believe."""

    def line(self) -> str:
        """For a person's eyes."""
        return f"{self.where}: {self.what} This means: {self.means}"


def fault(where: str, what: str, means: str) -> Finding:
    """A finding that counts."""
    return Finding(weight=Weight.FAULT, where=where, what=what, means=means)


MOST_OF_A_KIND = 100
"""Findings of one kind in one file. More tell nobody more, and a hostile bundle could hold a hundred million."""


def few(findings: Iterable[Finding]) -> list[Finding]:
    """The first hundred, and one that says that there are more; what would come after is never made."""
    rest = iter(findings)
    found = list(islice(rest, MOST_OF_A_KIND))
    more = next(rest, None)
    if more is not None:
        found.append(fault(more.where, f"and so on: of this kind {MOST_OF_A_KIND} are told.", more.means))
    return found


def caveat(where: str, what: str, means: str) -> Finding:
    """A finding that is good to know."""
    return Finding(weight=Weight.CAVEAT, where=where, what=what, means=means)


class Audit(Value):
    """All findings of one audit, and what was looked at, counted."""

    findings: tuple[Finding, ...]
    checked: dict[str, int]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Those that count."""
        return tuple(one for one in self.findings if one.weight is Weight.FAULT)

    @property
    def sound(self) -> bool:
        """Whether nothing counts against it."""
        return not self.faults


def as_rows(audit: Audit) -> list[dict[str, Json]]:
    """The findings, faults first, as a program reads them."""
    ordered = sorted(audit.findings, key=lambda one: one.weight is not Weight.FAULT)
    return [one.as_json() for one in ordered]


def told(entry: LedgerEntry) -> str:
    """One entry in words, of quell's own words only."""
    about = (
        entry.body.get("action")
        or entry.body.get("request")
        or entry.body.get("ending")
        or entry.body.get("source")
        or ""
    )
    by = f" by {entry.actor.name}" if entry.actor.kind == "person" else ""
    because = entry.body.get("because")
    return (
        f"{entry.type.replace('_', ' ')}{by}" + (f": {about}" if about else "") + (f" ({because})" if because else "")
    )


def differences_of(*triples: tuple[str, Json, Json]) -> list[str]:
    """`name: recorded X, recomputed Y` for each pair that is not equal."""
    return [f"{name}: recorded {_short(was)}, recomputed {_short(now)}" for name, was, now in triples if was != now]


def _short(value: Json) -> str:
    text = str(value)
    return text if len(text) <= 160 else text[:160] + " …"
