"""What a signal is, and how bad: ordered rules, the first that hits decides, every hit is recorded.

1. what a detector or an operator named outright: an archetype, or a label of a runbook;
2. the sender's own table of event types, shipped with quell;
3. the operator's rules of config/sources.toml, in file order;
4. words, in text that a person wrote, and only there. Nothing that rests on words is contained without people.

Nothing hits: `unclassified`, SEV2 until somebody knows better. A label that is a floor's name (`exposure`) raises the
severity, whatever decided. A vendor's severity is never copied; a rule may look at it. An outcome whose archetype has no runbook yet goes to triage. Severity: runbooks/domain/severity.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from runbooks.domain.configuration import Configuration
from runbooks.domain.incident import Archetype
from runbooks.domain.rules import Glob, KeywordRule, Phrase, SignalRule
from runbooks.domain.runbook import Runbook, select
from runbooks.domain.severity import Factors, Floor, judge_severity
from runbooks.domain.signal import Basis, Classified, Signal, TriageOutcome
from runbooks.domain.value import Digest, canonical, digest_of

_NOTHING_KNOWN = Factors()


@dataclass(frozen=True)
class Rules:
    """All that decides, of one active configuration; `version` is its digest."""

    books: dict[Archetype, Runbook]
    vendors: dict[str, tuple[SignalRule, ...]]
    operator: tuple[SignalRule, ...]
    keywords: tuple[KeywordRule, ...]
    version: Digest


@dataclass(frozen=True)
class _Hit:
    basis: Basis
    rule: str
    outcome: TriageOutcome
    near_miss: bool = False
    factors: Factors = _NOTHING_KNOWN
    floors: tuple[Floor, ...] = ()


def rules_of(configuration: Configuration, books: dict[Archetype, Runbook]) -> Rules:
    """The rules of this configuration with these runbooks."""
    vendors = {name: source.vendor_rules for name, source in configuration.sources.items()}
    parts = {
        "books": {str(kind): book.digest() for kind, book in books.items()},
        "vendors": {name: [rule.as_json() for rule in rules] for name, rules in vendors.items()},
        "operator": [rule.as_json() for rule in configuration.rules],
        "keywords": [rule.as_json() for rule in configuration.keywords],
    }
    return Rules(books, vendors, configuration.rules, configuration.keywords, digest_of(canonical(parts)))


def classify(signal: Signal, rules: Rules) -> Classified:
    """The verdict of the first rule that hits, with the reasons of all that did."""
    hits = list(_hits(signal, rules))
    first = hits[0] if hits else _Hit(Basis.NONE, "no-rule", TriageOutcome.UNCLASSIFIED)
    archetype = _archetype_of(first.outcome)
    reasons = [f"{hit.basis} rule {hit.rule}: {hit.outcome.replace('_', ' ')}" for hit in hits] or ["no rule hits"]
    if archetype is not Archetype.UNCLASSIFIED and archetype not in rules.books:
        reasons.append(f"there is no runbook for {archetype.shown} yet: triage")
        archetype = Archetype.UNCLASSIFIED
    near_miss = first.near_miss or signal.near_miss or first.outcome is TriageOutcome.NEAR_MISS
    if near_miss:
        reasons.append("stopped before harm: a near miss, with the severity that it would have had")
    book = rules.books.get(archetype)
    named_floors = (Floor(label.replace("-", "_")) for label in signal.labels if label.replace("-", "_") in set(Floor))
    floors = tuple(dict.fromkeys((*first.floors, *named_floors, *(book.severity_floors if book else ()))))
    severity = judge_severity(first.factors, frozenset(floors))
    return Classified(
        outcome=TriageOutcome.NEAR_MISS if near_miss else first.outcome,
        archetype=archetype, basis=first.basis, near_miss=near_miss, factors=first.factors, floors=floors,
        severity=severity, rule=first.rule, rules_version=rules.version, reasons=(*reasons, *severity.reasons),
    )  # fmt: skip


def _hits(signal: Signal, rules: Rules) -> Iterator[_Hit]:
    yield from _named(signal, rules)
    for rule in rules.vendors.get(signal.source, ()):
        if _fits(rule, signal):
            yield _Hit(Basis.VENDOR, rule.name, rule.outcome, rule.near_miss, rule.factors, rule.floors)
    for rule in rules.operator:
        if _fits(rule, signal):
            yield _Hit(Basis.OPERATOR, rule.name, rule.outcome, rule.near_miss, rule.factors, rule.floors)
    if signal.human:
        words = plain_words(signal.text)
        for keyword in rules.keywords:
            if says(keyword, words):
                yield _Hit(Basis.KEYWORD, keyword.name, keyword.outcome, floors=keyword.floors)


def _named(signal: Signal, rules: Rules) -> Iterator[_Hit]:
    """What was named outright, then the labels: an archetype's own name, or a label that a runbook lists."""
    outright = (signal.archetype_label,) if signal.archetype_label else ()
    for labels in (outright, signal.labels):
        for label in labels:
            outcome = _OUTCOMES.get(label.replace("-", "_"))
            if outcome is not None and (labels is outright or outcome.value in set(Archetype)):
                yield _Hit(Basis.LABEL, label, outcome)
        archetype, near_miss = select(labels, rules.books)
        if archetype is not Archetype.UNCLASSIFIED:
            listed = rules.books[archetype].near_misses if near_miss else rules.books[archetype].signals
            label = next(one for one in labels if one in listed)
            yield _Hit(Basis.LABEL, label, TriageOutcome(archetype), near_miss)


_OUTCOMES = {outcome.value: outcome for outcome in TriageOutcome if outcome is not TriageOutcome.UNCLASSIFIED}


def _archetype_of(outcome: TriageOutcome) -> Archetype:
    return Archetype(outcome.value) if outcome.value in set(Archetype) else Archetype.UNCLASSIFIED


def _fits(rule: SignalRule, signal: Signal) -> bool:
    return (
        (not rule.sources or signal.source in rule.sources)
        and (not rule.kinds or any(_glob(glob).fullmatch(signal.kind) for glob in rule.kinds))
        and (not rule.labels or not set(rule.labels).isdisjoint(signal.labels))
        and (not rule.severities or signal.vendor_severity in rule.severities)
    )


@lru_cache(maxsize=4096)
def _glob(glob: Glob) -> re.Pattern[str]:
    return re.compile(".*?".join(map(re.escape, re.split(r"\*+", glob))))


_NO_WORD = re.compile(r"[^a-z0-9]+")


def plain_words(text: str) -> str:
    """Lower case, one space between words and around all of them: ` the bot s refund `."""
    return f" {_NO_WORD.sub(' ', text.lower()).strip()} "


def says(rule: KeywordRule, words: str) -> bool:
    """Whether these plain words hold a phrase of every group and none that excludes."""
    return all(any(_found(p, words) for p in group) for group in rule.groups) and not any(
        _found(phrase, words) for phrase in rule.unless
    )


def _found(phrase: Phrase, words: str) -> bool:
    return f" {phrase[:-1]}" in words if phrase.endswith("*") else f" {phrase} " in words
