"""Where one incident stands, in words that somebody at 2 a.m. understands, folded from its entries.

The newest entry that marks a stage decides; what needs a person is a waiting request, or the newest call for a person
that nothing has answered since.
"""

from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.signal import Classification
from runbooks.domain.value import Value

_STAGES: dict[EntryType, str] = {
    EntryType.INCIDENT_OPENED: "opened; evidence is being sealed",
    EntryType.EVIDENCE_SEALED: "evidence sealed; the plan comes next",
    EntryType.PLAN_MADE: "planned; nothing was taken away yet",
    EntryType.EFFECT_APPLIED: "being contained",
    EntryType.PROBES_JUDGED: "being contained",
    EntryType.CONTAINMENT_JUDGED: "containment judged",
    EntryType.TRIALS_MADE: "the fix is being judged",
    EntryType.RECOVERY_JUDGED: "recovery judged",
    EntryType.EFFECT_UNDONE: "giving back",
    EntryType.REVIEW_SCHEDULED: "review scheduled; closing",
    EntryType.INCIDENT_CLOSED: "closed",
}
_ANSWERS = frozenset({
    EntryType.EVIDENCE_SEALED, EntryType.PLAN_MADE, EntryType.DECISION_RECORDED, EntryType.EFFECT_APPLIED,
    EntryType.EFFECT_UNDONE, EntryType.RECOVERY_JUDGED, EntryType.REVIEW_SCHEDULED, EntryType.INCIDENT_CLOSED,
})  # fmt: skip
"""What counts as the response having gone on since it called for a person."""


UNTIL_NAMED = EntryType.INCIDENT_RECLASSIFIED.value
"""`until` of a call that stays, also past the closing, until somebody says what kind of incident it is."""


class Situation(Value):
    """`stage` in words; `calls`: what people are needed for, newest last, besides requests that wait."""

    stage: str
    ending: str | None
    calls: tuple[str, ...]


def situation(entries: list[LedgerEntry]) -> Situation:
    """Where the incident of these entries stands."""
    stage, ending, calls = "not opened", None, list[tuple[str, object]]()
    for entry in entries:
        if entry.type is EntryType.INCIDENT_CLOSED:
            ending = str(entry.body.get("ending", ""))
        if entry.type in _STAGES and ending is None:
            stage = _told(entry)
        if entry.type is EntryType.PERSON_NEEDED:
            needed = str(entry.body.get("needed") or entry.body.get("because", ""))
            calls.append((needed, entry.body.get("until")))
        elif entry.type in _ANSWERS:
            calls = [call for call in calls if call[1] is not None]
        calls = [call for call in calls if call[1] != entry.type]
    if ending is not None:
        stage = f"closed: {ending.replace('_', ' ')}"
    return Situation(stage=stage, ending=ending, calls=tuple(dict.fromkeys(needed for needed, _ in calls)))


def classification_of(entries: list[LedgerEntry]) -> Classification | None:
    """What the signal that opened this incident was taken for; None: a person opened it, or an older quell."""
    for entry in entries:
        if entry.type is EntryType.SIGNAL_RECEIVED and "classification" in entry.body:
            return Classification.model_validate(entry.body["classification"])
    return None


def _told(entry: LedgerEntry) -> str:
    if entry.type is EntryType.CONTAINMENT_JUDGED:
        whole = bool(dict(entry.body.get("verdict") or {}).get("complete"))
        return "contained; the fix is tried next" if whole else "not (fully) contained"
    if entry.type is EntryType.RECOVERY_JUDGED:
        return "the fix holds; giving back" if entry.body.get("passed") else "the fix does not hold"
    return _STAGES[entry.type]
