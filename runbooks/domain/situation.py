"""Where one incident stands, in words that somebody at 2 a.m. understands, folded from its entries.

The newest entry that marks a stage decides; what needs a person is a waiting request, or the newest call for a person
that nothing has answered since.

What answers a call:
1. One that names no end (`until`): the response went on.
2. One that names its ends, types of entries: only one of these, about the same act where the call is about one. Neither
   the response that goes on nor the closing takes it away.
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
UNTIL_REVIEWED = EntryType.REVIEW_DRAFTED.value
"""The same, until the review takes it up: its draft gives whatever is missing an owner and a date."""
UNTIL_UNDONE = EntryType.EFFECT_UNDONE.value
"""The same, until what it is about was given back."""
UNTIL_APPLIED = EntryType.EFFECT_APPLIED.value
"""The same, until what it is about is known to be done."""
UNTIL_PROBED = EntryType.PROBES_JUDGED.value
"""The same, until it was seen to be otherwise."""
UNTIL_ASKED = EntryType.APPROVAL_REQUESTED.value
"""The same, until people were asked about it."""
UNTIL_TRIED = EntryType.TRIALS_MADE.value
"""The same, until the fix was tried."""


class _Call(Value):
    """One call for a person; `action`: the act that it is about, if it is about one."""

    needed: str
    until: tuple[str, ...]
    action: str | None

    def answered_by(self, entry: LedgerEntry) -> bool:
        """By the rules at the head of this file."""
        if not self.until:
            return entry.type in _ANSWERS  # 1
        same = self.action is None or entry.body.get("action") in (None, self.action)
        return entry.type in self.until and same  # 2


class Situation(Value):
    """`stage` in words; `calls`: what people are needed for, newest last, besides requests that wait."""

    stage: str
    ending: str | None
    calls: tuple[str, ...]


def situation(entries: list[LedgerEntry]) -> Situation:
    """Where the incident of these entries stands."""
    stage, ending, calls = "not opened", None, list[_Call]()
    for entry in entries:
        if entry.type is EntryType.INCIDENT_CLOSED:
            ending = str(entry.body.get("ending", ""))
        if entry.type in _STAGES and ending is None and not entry.body.get("again"):
            stage = _told(entry)
        calls = [call for call in calls if not call.answered_by(entry)]
        if entry.type is EntryType.PERSON_NEEDED:
            calls.append(_call_of(entry))
    if ending is not None:
        stage = f"closed: {ending.replace('_', ' ')}"
    return Situation(stage=stage, ending=ending, calls=tuple(dict.fromkeys(call.needed for call in calls)))


def _call_of(entry: LedgerEntry) -> _Call:
    until, action = entry.body.get("until") or (), entry.body.get("action")
    return _Call(
        needed=str(entry.body.get("needed") or entry.body.get("because", "")),
        until=(until,) if isinstance(until, str) else tuple(map(str, until)),
        action=None if action is None else str(action),
    )


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
        if entry.body.get("passed"):
            return "the fix holds; giving back"
        tried = dict(entry.body.get("verdict") or {}).get("trials", 1)
        return "the fix does not hold" if tried else "whether the fix holds was not tried"
    return _STAGES[entry.type]
