"""The state of one incident, folded from its entries. Whoever shows something about an incident folds it here.

Nothing here is stored: the same entries give the same case, today and for an auditor in ten years.
"""

from collections.abc import Container, Iterable
from enum import StrEnum

from runbooks.domain.containment import ContainmentStatus, Plan, Reversibility, Verb
from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Value


class Ending(StrEnum):
    """How a response ended."""

    RECOVERED = "recovered"
    CONTAINED = "contained"
    PARTIAL = "partial"
    NOT_CONTAINED = "not_contained"
    EVIDENCE_ONLY = "evidence_only"
    NEAR_MISS = "near_miss"


class ActionRow(Value):
    """One act: what is known about it and since when."""

    action: str
    verb: Verb
    target: str
    title: str
    reversibility: Reversibility
    preauthorised: bool
    status: ContainmentStatus
    because: str
    requested_at: Instant | None = None
    granted_at: Instant | None = None
    applied_at: Instant | None = None
    effective_at: Instant | None = None
    undone_at: Instant | None = None
    undo_note: str = ""


LET_THROUGH = (
    EntryType.BEFORE_CAPTURED, EntryType.EFFECT_SENDING, EntryType.EFFECT_APPLIED, EntryType.EFFECT_UNDONE,
)  # fmt: skip
"""What is written only after the consent was demanded once more under the claim and held."""


def acted_at(claims: Iterable[LedgerEntry], let_through: Container[tuple[str, int]]) -> Instant | None:
    """When the first of these claims was made that was let through to its act; None: nobody acted under any.

    `let_through`: effect and fence of the entries of the kinds above. A claim whose consent had ended in that instant
    has none.
    """
    return next((e.at for e in claims if (str(e.body["effect"]), int(e.body["fence"])) in let_through), None)


def fences(entries: Iterable[LedgerEntry]) -> frozenset[tuple[str, int]]:
    """Effect and fence of every claim that was let through to its act."""
    return frozenset((str(e.body["effect"]), int(e.body["fence"])) for e in entries if e.type in LET_THROUGH)


_APPLIED = frozenset({EntryType.EFFECT_APPLIED})


def action_rows(plan: Plan, entries: list[LedgerEntry]) -> tuple[ActionRow, ...]:
    """One row per planned act, in the order of the plan, from the entries of its incident."""
    made = next((entry.at for entry in entries if entry.type is EntryType.PLAN_MADE), None)
    rows = []
    for action in plan.actions:
        row = ActionRow(
            action=action.id, verb=action.verb, target=action.target, title=action.title,
            reversibility=action.reversibility, preauthorised=action.id in plan.preauthorised,
            status=ContainmentStatus.REQUESTED, because="planned; nothing was sent", requested_at=made,
        )  # fmt: skip
        mine = [e for e in entries if e.body.get("action") == action.id or e.body.get("effect") == action.effect_key]
        for entry in mine:
            row = row.model_copy(update=_change(entry))
        rows.append(row)
    return tuple(rows)


def _change(entry: LedgerEntry) -> dict[str, object]:  # noqa: C901, PLR0911, PLR0912 - one answer per kind of entry
    because = str(entry.body.get("because", ""))
    re_enabling = entry.body.get("purpose") not in (None, "contain")
    match entry.type:
        case EntryType.REQUEST_GRANTED if not re_enabling:
            return {"granted_at": entry.at, "because": because}
        case EntryType.REQUEST_DENIED | EntryType.REQUEST_EXPIRED if not re_enabling:
            return {"status": ContainmentStatus.REFUSED, "because": because}
        case EntryType.REQUEST_DENIED | EntryType.REQUEST_EXPIRED:
            return {"undo_note": f"stays off: {because}"}
        case EntryType.EFFECT_APPLIED:
            return {"status": ContainmentStatus.APPLIED, "applied_at": entry.at, "because": because}
        case EntryType.EFFECT_FAILED | EntryType.EFFECT_UNKNOWN if str(entry.body.get("effect")).startswith("undo/"):
            return {"undo_note": f"not yet: {because}"}  # what was taken away stands as it stood
        case EntryType.EFFECT_FAILED:
            return {"status": ContainmentStatus.FAILED, "because": because}
        case EntryType.EFFECT_UNKNOWN:
            return {"status": ContainmentStatus.UNKNOWN, "because": because}
        case EntryType.EFFECT_REFUSED if not re_enabling:
            return {"because": because}
        case EntryType.PROBES_JUDGED if str(entry.body.get("effect")).startswith("undo/"):
            return {"undo_note": because}
        case EntryType.PROBES_JUDGED:
            status = ContainmentStatus(str(entry.body["status"]))
            if entry.body.get("again") and status is ContainmentStatus.EFFECTIVE and not entry.body.get("watched"):
                return {}
            effective = str(entry.body["effective_at"]) if entry.body.get("effective_at") else None
            return {"status": status, "because": because, "effective_at": effective}
        case EntryType.EFFECT_UNDONE:
            return {"status": ContainmentStatus.UNDONE, "undone_at": entry.at, "undo_note": because}
        case EntryType.UNDO_IMPOSSIBLE:
            return {"undo_note": because}
    return {}


_GOOD = frozenset({ContainmentStatus.EFFECTIVE, ContainmentStatus.UNDONE})


class ContainmentVerdict(Value):
    """What containment achieved as a whole, with the names of what is missing."""

    complete: bool
    anything: bool
    effective: tuple[str, ...]
    missing: tuple[str, ...]
    because: str


def judge_containment(rows: tuple[ActionRow, ...]) -> ContainmentVerdict:
    """Whole only when every planned act is effective; a missing one is named, never rounded up."""
    effective = tuple(row.action for row in rows if row.status in _GOOD)
    missing = tuple(f"{row.action} ({row.status}: {row.because})" for row in rows if row.status not in _GOOD)
    if rows and not missing:
        because = f"all {len(rows)} acts are effective"
    elif not rows:
        because = "nothing was planned"
    else:
        because = f"{len(effective)} of {len(rows)} acts are effective; missing: {'; '.join(missing)}"
    return ContainmentVerdict(
        complete=bool(rows) and not missing, anything=bool(effective), effective=effective, missing=missing,
        because=because,
    )  # fmt: skip


def judge_ending(near_miss: bool, rows: tuple[ActionRow, ...], entries: list[LedgerEntry]) -> Ending:
    """How the response ended, from the acts and the entries so far."""
    if near_miss:
        return Ending.NEAR_MISS
    if not rows:
        return Ending.EVIDENCE_ONLY
    contained = judge_containment(rows)
    recovery = next((e for e in reversed(entries) if e.type is EntryType.RECOVERY_JUDGED), None)
    if recovery is not None and recovery.body["passed"] and contained.complete:
        asked = [e for e in entries if e.type in (EntryType.REQUEST_DENIED, EntryType.REQUEST_EXPIRED)]
        kept_off = any(entry.body["purpose"] != "contain" for entry in asked) or _did_not_come_back(rows, entries)
        return Ending.CONTAINED if kept_off else Ending.RECOVERED
    if contained.complete:
        return Ending.CONTAINED
    some = contained.anything or any(row.status is ContainmentStatus.PARTIAL for row in rows)
    return Ending.PARTIAL if some else Ending.NOT_CONTAINED


def _did_not_come_back(rows: tuple[ActionRow, ...], entries: list[LedgerEntry]) -> bool:
    """Whether something stays away that people consented to give back, or that nobody may decide about."""
    kinds = (EntryType.REQUEST_GRANTED, EntryType.PERSON_NEEDED)
    meant = {
        entry.body.get("action") for entry in entries
        if entry.type in kinds and entry.body.get("purpose", "contain") != "contain"
    }  # fmt: skip
    return any(row.action in meant and row.status is not ContainmentStatus.UNDONE for row in rows)


TIMES_ARE = "detect: from when it began; open: from when it was noticed; the others: from the opening"
"""What `stage_times` counts from, for whoever shows them."""


def seconds(milliseconds: int) -> str:
    """Seconds with three decimals, as text."""
    return f"{milliseconds / 1000:.3f}"


def stage_times(entries: list[LedgerEntry]) -> dict[str, str]:
    """Seconds (text) from the opening to each stage, before it from the beginning to noticing and from there to opening.

    What is not on record is left out; when nobody said when it began, that is the time to detect it.
    """
    first: dict[EntryType, Instant] = {}
    last: dict[EntryType, Instant] = {}
    for entry in entries:
        first.setdefault(entry.type, entry.at)
        last[entry.type] = entry.at
    opened = first.get(EntryType.INCIDENT_OPENED)
    if opened is None:
        return {}
    ends: dict[str, Instant | None] = {
        "to_seal": first.get(EntryType.EVIDENCE_SEALED),
        "to_plan": first.get(EntryType.PLAN_MADE),
        "to_request": first.get(EntryType.APPROVAL_REQUESTED),
        "to_approve": first.get(EntryType.REQUEST_GRANTED),
        "to_applied": first.get(EntryType.EFFECT_APPLIED),
        "to_contained": first.get(EntryType.CONTAINMENT_JUDGED),
        "to_recovery_judged": first.get(EntryType.RECOVERY_JUDGED),
        "to_re_enabled": last.get(EntryType.EFFECT_UNDONE),
        "to_review_scheduled": first.get(EntryType.REVIEW_SCHEDULED),
        "to_closed": last.get(EntryType.INCIDENT_CLOSED),
    }
    effective = [
        str(e.body["effective_at"])
        for e in entries
        if e.type is EntryType.PROBES_JUDGED and e.body.get("effective_at") and not e.body.get("again")
    ]
    if effective:
        ends["to_first_effective"] = min(effective)
        ends["to_all_effective"] = max(effective)
    told = next(e.body for e in entries if e.type is EntryType.INCIDENT_OPENED)
    noticed = str(told["noticed_at"])
    times = {"to_detect": seconds(milliseconds_between(str(told["began_at"]), noticed))} if told.get("began_at") else {}
    times["to_open"] = seconds(milliseconds_between(noticed, opened))
    times |= {name: seconds(milliseconds_between(opened, at)) for name, at in ends.items() if at is not None}
    return times
