"""How well words of people are classified, measured on somebody else's labels: the AI Incident Database.

The data set is not part of quell (CC BY-SA 4.0, AI Incident Database, `incidents` and `classifications` collections,
labels by MIT's AI Risk taxonomy, transcribed; tests/data/aiid/README.md). The shipped words were developed with it in
sight; `QUELL_AIID_CSV` names another CSV file with the columns `outcome`, `title` and `description`.

Its labels do not tell attacks apart: `attack_on_system` is a prompt injection or a manipulated model. `other` is
whatever no archetype is for. An archetype named wrongly costs most (somebody starts the wrong runbook), so its precision
is reported beside macro-F1; naming none is an abstention.
"""

import csv
import os
import tomllib
from collections import Counter
from pathlib import Path

from runbooks.domain.classification import Rules, classify
from runbooks.domain.incident import Archetype
from runbooks.domain.rules import KeywordRule
from runbooks.domain.signal import Signal, Strength, TriageOutcome
from runbooks.domain.value import Json, digest_of
from tasks.settings import KEYWORDS, ROOT

DATA = "QUELL_AIID_CSV"
KEPT = ROOT / "tests" / "data" / "aiid" / "incidents.csv"
CLASSES = (
    "attack_on_system",
    "data_exfiltration",
    "misinformation_cascade",
    "toxicity_abuse",
    "misuse_by_third_party",
    "other",
)
_AS_LABELLED = {
    "prompt_injection": "attack_on_system", "model_manipulation": "attack_on_system", "performance": "other",
    "supplier": "other", "unclassified": "other", "near_miss": "other",
}  # fmt: skip
_NOTHING = digest_of(b"")


def shipped_rules() -> Rules:
    """The keyword rules that quell ships, and no others."""
    words = tomllib.loads((ROOT / "config" / KEYWORDS).read_text(encoding="utf-8"))["keywords"]
    return Rules({}, {}, (), tuple(KeywordRule.model_validate(rule) for rule in words), _NOTHING)


def said(text: str) -> Signal:
    """A person wrote this."""
    return Signal(
        delivery="DLV-" + "0" * 26, ordinal=0, source="bench", mapping=_NOTHING, kind="report", event_key=_NOTHING,
        system=None, environment="production", occurred_at=None, received_at="2026-11-21T02:00:00.000000000Z",
        strength=Strength.UNPROVEN, text=text, human=True,
    )  # fmt: skip


def scores(pairs: list[tuple[str, TriageOutcome]]) -> dict[str, Json]:
    """Table, macro-F1, abstention and the precision of archetypes, of (label, outcome) pairs."""
    seen = [(label if label in CLASSES else "other", _AS_LABELLED.get(found, str(found))) for label, found in pairs]
    table = Counter(seen)
    columns = [*CLASSES, *sorted({found for _, found in seen} - set(CLASSES))]
    f1: dict[str, float] = {}
    for name in CLASSES:
        right, named, there = table[name, name], sum(f == name for _, f in seen), sum(t == name for t, _ in seen)
        f1[name] = 2 * right / (named + there) if named + there else 0.0
    archetypes = [(label, found) for (label, found), (_, raw) in zip(seen, pairs, strict=True) if raw in _NAMED]
    return {
        "n": len(pairs), "macro_f1": round(sum(f1.values()) / len(f1), 3),
        "f1": {name: round(value, 3) for name, value in f1.items()},
        "abstained": round(sum(found is TriageOutcome.UNCLASSIFIED for _, found in pairs) / len(pairs), 3),
        "archetype_named": len(archetypes),
        "archetype_precision": round(sum(a == b for a, b in archetypes) / len(archetypes), 3) if archetypes else None,
        "confusion": {name: {column: table[name, column] for column in columns} for name in CLASSES},
    }  # fmt: skip


_NAMED = {outcome for outcome in TriageOutcome if outcome.value in set(Archetype)} - {TriageOutcome.UNCLASSIFIED}


def classification() -> dict[str, Json]:
    """The shipped keyword rules on real reports."""
    where = Path(os.environ.get(DATA) or KEPT)
    if not where.is_file():
        return {"absent": f"no data: {DATA} names {where.name}, which is no file"}
    with where.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rules = shipped_rules()
    return scores(
        [(row["outcome"], classify(said(f"{row['title']}\n{row['description']}"), rules).outcome) for row in rows]
    )


MEASUREMENTS = {"classification": classification}
