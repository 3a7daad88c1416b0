"""The first rule that hits decides; labels before tables, tables before operators, words last and only for people's."""

import pytest

from runbooks.domain.classification import Rules, classify, plain_words, rules_of, says
from runbooks.domain.incident import Archetype
from runbooks.domain.rules import KeywordRule, SignalRule
from runbooks.domain.severity import Factors, Floor, Severity
from runbooks.domain.signal import Basis, Signal, Strength, TriageOutcome
from runbooks.domain.sources import Source
from tests.domain.cast import NOW, SEAL, a_configuration, a_runbook

VENDOR = SignalRule(name="safety", kinds=("safety.*",), outcome=TriageOutcome.TOXICITY_ABUSE, floors=(Floor.EXPOSURE,))
OPERATOR = SignalRule(
    name="ours", kinds=("*",), labels=("tier-1",), outcome=TriageOutcome.AGENTIC_MISALIGNMENT,
    factors=Factors(people=3, autonomy=3),
)  # fmt: skip
WORDS = KeywordRule(name="lied", outcome=TriageOutcome.MISINFORMATION_CASCADE, groups=(("lied", "invent*"),))
BOOKS = {
    Archetype.AGENTIC_MISALIGNMENT: a_runbook(severity_floors=(Floor.UNCONTROLLED_ACTION,)),
    Archetype.PROMPT_INJECTION: a_runbook(
        archetype=Archetype.PROMPT_INJECTION, signals=("injection",), near_misses=("blocked",)
    ),
}


def the_rules() -> Rules:
    source = Source(unproven=True, vendor_rules=(VENDOR,))
    configuration = a_configuration(sources={"watch": source}, rules=(OPERATOR,), keywords=(WORDS,))
    return rules_of(configuration, BOOKS)


def a_signal(**changes: object) -> Signal:
    base: dict[str, object] = {
        "delivery": "DLV-" + "0" * 26, "ordinal": 0, "source": "watch", "mapping": SEAL, "kind": "something",
        "event_key": SEAL, "system": "agent", "environment": "production", "occurred_at": None, "received_at": NOW,
        "strength": Strength.SIGNED, "text": "",
    }  # fmt: skip
    return Signal.model_validate(base | changes)


def test_nothing_hits() -> None:
    found = classify(a_signal(text="the bot lied and it was injected: prompt_injection"), the_rules())
    assert (found.outcome, found.archetype, found.basis) == ("unclassified", Archetype.UNCLASSIFIED, Basis.NONE)
    assert (found.severity.severity, found.severity.provisional) == (Severity.SEV2, True)


@pytest.mark.parametrize(
    ("changes", "outcome", "basis", "rule"),
    [
        ({"kind": "safety.alert"}, "toxicity_abuse", Basis.VENDOR, "safety"),
        ({"kind": "safety.alert", "source": "other"}, "unclassified", Basis.NONE, "no-rule"),
        ({"labels": ("tier-1",)}, "agentic_misalignment", Basis.OPERATOR, "ours"),
        ({"kind": "safety.alert", "labels": ("tier-1",)}, "toxicity_abuse", Basis.VENDOR, "safety"),
        ({"kind": "safety.alert", "labels": ("injection",)}, "prompt_injection", Basis.LABEL, "injection"),
        ({"labels": ("data-exfiltration",)}, "data_exfiltration", Basis.LABEL, "data-exfiltration"),
        ({"labels": ("supplier", "performance")}, "unclassified", Basis.NONE, "no-rule"),
        ({"archetype_label": "supplier"}, "supplier", Basis.LABEL, "supplier"),
        ({"archetype_label": "rogue", "labels": ("injection",)}, "agentic_misalignment", Basis.LABEL, "rogue"),
        ({"archetype_label": "no-such-thing"}, "unclassified", Basis.NONE, "no-rule"),
        ({"human": True, "text": "It INVENTED a law."}, "misinformation_cascade", Basis.KEYWORD, "lied"),
        ({"human": False, "text": "It INVENTED a law."}, "unclassified", Basis.NONE, "no-rule"),
    ],
)
def test_which_rule_decides(changes: dict[str, object], outcome: str, basis: Basis, rule: str) -> None:
    found = classify(a_signal(**changes), the_rules())
    assert (found.outcome, found.basis, found.rule) == (outcome, basis, rule)


def test_every_hit_is_a_reason_and_the_first_decides() -> None:
    signal = a_signal(kind="safety.alert", labels=("tier-1",), human=True, text="it lied")
    reasons = classify(signal, the_rules()).reasons
    assert [reason.split(":")[0] for reason in reasons[:3]] == [
        "vendor rule safety",
        "operator rule ours",
        "keyword rule lied",
    ]


def test_an_archetype_without_a_runbook_goes_to_triage_and_keeps_its_name() -> None:
    found = classify(a_signal(kind="safety.alert"), the_rules())
    assert (found.outcome, found.archetype) == (TriageOutcome.TOXICITY_ABUSE, Archetype.UNCLASSIFIED)
    assert found.floors == (Floor.EXPOSURE,)
    assert any("no runbook for toxicity-abuse" in reason for reason in found.reasons)


def test_floors_of_rule_and_runbook_hold_both() -> None:
    found = classify(a_signal(labels=("tier-1",)), the_rules())
    assert found.floors == (Floor.UNCONTROLLED_ACTION,)
    assert found.factors == Factors(people=3, autonomy=3)
    assert found.severity.severity is Severity.SEV1


def test_a_label_that_is_a_floor_raises_whatever_decided() -> None:
    found = classify(a_signal(labels=("active-exploitation", "exposure", "exposed")), the_rules())
    assert (found.basis, found.floors) == (Basis.NONE, (Floor.ACTIVE_EXPLOITATION, Floor.EXPOSURE))
    assert found.severity.severity is Severity.SEV1


@pytest.mark.parametrize("changes", [{"labels": ("blocked",)}, {"labels": ("injection",), "near_miss": True}])
def test_a_near_miss_keeps_archetype_and_severity(changes: dict[str, object]) -> None:
    found = classify(a_signal(**changes), the_rules())
    assert (found.outcome, found.archetype, found.near_miss) == ("near_miss", Archetype.PROMPT_INJECTION, True)
    harmful = classify(a_signal(labels=("injection",)), the_rules())
    assert found.severity.severity == harmful.severity.severity


def test_the_vendors_severity_counts_only_where_a_rule_looks_at_it() -> None:
    by_severity = SignalRule(
        name="p1", severities=("p1",), outcome=TriageOutcome.SUPPLIER, floors=(Floor.LARGE_EXPOSURE,)
    )
    rules = rules_of(a_configuration(rules=(by_severity,)), BOOKS)
    assert classify(a_signal(vendor_severity="p1"), rules).severity.severity is Severity.SEV1
    assert classify(a_signal(vendor_severity="low"), rules).severity.severity is Severity.SEV2


def test_the_version_changes_with_whatever_decides() -> None:
    versions = {
        rules_of(configuration, books).version
        for configuration in (a_configuration(), a_configuration(rules=(OPERATOR,)), a_configuration(keywords=(WORDS,)),
                              a_configuration(sources={"watch": Source(unproven=True, vendor_rules=(VENDOR,))}))
        for books in (BOOKS, {})
    }  # fmt: skip
    assert len(versions) == 8
    assert classify(a_signal(), the_rules()).rules_version == the_rules().version


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("It lied.", True), ("it relied on it", False), ("inventions!", True), ("uninventive", False),
        ("LIED—again", True), ("a lied, as a joke", False), ("", False),
    ],
)  # fmt: skip
def test_words_are_whole_words(text: str, hit: bool) -> None:
    assert says(WORDS.model_copy(update={"unless": ("joke",)}), plain_words(text)) is hit


def test_a_rule_needs_a_phrase_of_every_group() -> None:
    rule = KeywordRule(name="two", outcome=TriageOutcome.SUPPLIER, groups=(("a b", "c"), ("d",)))
    assert [says(rule, plain_words(text)) for text in ("A, b! d", "c d", "a x b d", "c")] == [True, True, False, False]


def test_a_rule_that_asks_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one of"):
        SignalRule(name="all", outcome=TriageOutcome.SUPPLIER)
