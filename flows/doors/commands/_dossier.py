"""Everything about one incident, read once from ledger and vault; shown by `show`, written as JSON here."""

from dataclasses import dataclass

from flows.doors.commands._requests import request_json
from flows.doors.commands.incidents import needed_next
from runbooks.domain.approval import ApprovalRequest, RequestVerdict, Standing
from runbooks.domain.case import ActionRow, action_rows, judge_containment, stage_times
from runbooks.domain.containment import Plan
from runbooks.domain.drafting import timeline
from runbooks.domain.errors import EvidenceError
from runbooks.domain.evidence import Manifest
from runbooks.domain.incident import Incident, Report
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.recovery import RecoveryVerdict
from runbooks.domain.signal import Classification
from runbooks.domain.situation import Situation, classification_of, situation
from runbooks.domain.value import Digest, Json
from tasks.anchors import places, unanchored
from tasks.approval import judge_all, plan_of
from tasks.glasses import glasses_of
from tasks.incident import also_open
from tasks.installation import Installation
from tasks.links import ledger_place, linked, runs_in_order
from tasks.waiver import waivers_of


@dataclass(frozen=True)
class Dossier:
    """What the record holds about one incident, now."""

    installation: Installation
    now: Instant
    incident: Incident
    entries: list[LedgerEntry]
    where: Situation
    reported: str
    manifest: Manifest | None
    manifest_digest: Digest | None
    waiver: Digest | None
    plan: Plan | None
    rows: tuple[ActionRow, ...]
    requests: list[tuple[ApprovalRequest, RequestVerdict]]
    recovery: RecoveryVerdict | None

    def last(self, kind: EntryType) -> LedgerEntry | None:
        """The newest entry of this type."""
        return next((entry for entry in reversed(self.entries) if entry.type is kind), None)

    def runs(self) -> list[str]:
        """Ids of the flow runs that responded, in order."""
        return runs_in_order(self.installation, self.incident.id)

    def links(self) -> list[tuple[str, str, str]]:
        """Pages in Prefect: what, name, address."""
        return linked(self.installation, self.incident.id)

    @property
    def also_open(self) -> list[str]:
        """What was open already, of the same system and kind, when a person opened this one."""
        return also_open(self.installation, self.incident.id)

    @property
    def needed(self) -> str:
        """What a person does next."""
        return needed_next(self.where, [r.id for r, v in self.requests if v.standing is Standing.WAITING])

    @property
    def found(self) -> Classification | None:
        """What the signal that opened it was taken for, by which rule; None: a person opened it."""
        return classification_of(self.entries)

    @property
    def affected(self) -> str:
        """The register of affected records, counted."""
        entry = self.last(EntryType.AFFECTED_LISTED)
        return f"{entry.body['records']} records, {entry.body['facts']} of them facts" if entry else ""

    @property
    def ledger(self) -> str:
        """Where the ledger is, without a password."""
        return ledger_place(self.installation)

    @property
    def anchored(self) -> str:
        """What of the log stands outside this installation's reach, and what does not yet."""
        first, size = unanchored(self.installation)
        if not places(self.installation):
            return f"nowhere: no anchor is configured (config/defaults.toml); {size} entries"
        return "all entries" if first == size else f"entries before {first}; not yet {first} to {size - 1}"

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What is kept in the vault under its digest, and the invitation file."""
        marks = (
            (EntryType.INCIDENT_OPENED, "report"), (EntryType.EVIDENCE_SEALED, "manifest"),
            (EntryType.EVIDENCE_WAIVED, "waiver"), (EntryType.AFFECTED_LISTED, "affected"),
            (EntryType.PLAN_MADE, "plan"), (EntryType.TRIALS_MADE, "trials"), (EntryType.REVIEW_DRAFTED, "review"),
        )  # fmt: skip
        found = [
            (name, entry.subject[name]) for kind, name in marks if (entry := self.last(kind)) and name in entry.subject
        ]
        invited = self.last(EntryType.REVIEW_SCHEDULED)
        if invited is not None:
            file = self.installation.settings.home / "invitations" / str(invited.body["invitation"])
            found += [("review at", str(invited.body["due"])), ("invitation", str(file))]
        return found


def open_dossier(installation: Installation, incident: Incident, now: Instant) -> Dossier:
    """Read it all."""
    incident_id = incident.id
    entries = installation.store.entries(incident_id)

    def last(kind: EntryType) -> LedgerEntry | None:
        return next((entry for entry in reversed(entries) if entry.type is kind), None)

    sealed, judged = last(EntryType.EVIDENCE_SEALED), last(EntryType.RECOVERY_JUDGED)
    waived = waivers_of(installation, incident_id)
    plan = plan_of(installation, incident_id) if last(EntryType.PLAN_MADE) else None
    return Dossier(
        installation=installation, now=now, incident=incident, entries=entries, where=situation(entries),
        reported=_reported(installation, incident),
        manifest=Manifest.from_bytes(installation.vault.get(sealed.subject["manifest"])) if sealed else None,
        manifest_digest=sealed.subject["manifest"] if sealed else None,
        waiver=waived[-1].subject["waiver"] if waived else None, plan=plan, rows=action_rows(plan, entries) if plan else (),
        requests=judge_all(installation, incident_id),
        recovery=RecoveryVerdict.model_validate(judged.body["verdict"]) if judged else None,
    )  # fmt: skip


def _reported(installation: Installation, incident: Incident) -> str:
    try:
        return Report.from_bytes(installation.vault.get(incident.report)).what_happened
    except EvidenceError as error:
        return f"(the report cannot be read: {error.problem})"


def as_json(case: Dossier, *, every: bool) -> dict[str, Json]:
    """The whole, for a program."""
    incident, contained = case.incident, judge_containment(case.rows)
    manifest, settings = case.manifest, case.installation.settings
    shown: dict[str, Json] = {
        "incident": incident.id, "archetype": incident.archetype, "system": incident.system,
        "systems": list(incident.systems), "known_system": incident.known_system,
        "severity": incident.severity.severity, "provisional": incident.severity.provisional,
        "classification": case.found.as_json() if case.found else None, "continues": incident.continues,
        "also_open": case.also_open, "reasons": list(incident.severity.reasons), "lead": incident.lead,
        "requester": incident.requester.as_json(),
        "causes": [cause.as_json() for cause in incident.causes], "drill": incident.drill,
        "near_miss": incident.near_miss, "opened_at": incident.opened_at, "noticed_at": incident.noticed_at,
        "began_at": incident.began_at, "open": case.where.ending is None, "ending": case.where.ending,
        "stage": case.where.stage, "needed": case.needed, "reported": case.reported, "affected": _affected(case),
        "evidence": None if manifest is None else {
            "manifest_digest": case.manifest_digest, "sealed_at": manifest.sealed_at, "items": manifest.items,
            "bytes": manifest.bytes,
            "classes": {
                s.evidence_class: {"holds": s.evidence_class.holds, "captured": s.captured, "reason": s.reason}
                for s in manifest.standings
            },
            "gaps": [f"{s.evidence_class} {s.evidence_class.holds}: {s.captured}, {s.reason}" for s in manifest.gaps],
        },
        "waiver": case.waiver,
        "break_glass": [
            {"person": e.body["person"], "action": e.body["action"], "ends_at": e.body["ends_at"], "entry": e.index}
            for e in glasses_of(case.installation, incident.id)
        ],
        "actions": [row.as_json() for row in case.rows], "not_planned": list(case.plan.refused) if case.plan else [],
        "containment": contained.as_json() if case.plan else None,
        "approvals": [request_json(case.installation, r, v, case.now) for r, v in case.requests],
        "recovery": _recovery(case.recovery), "review": _review(case),
        "times": stage_times(case.entries),
        "timeline": [line.as_json() for line in timeline(case.entries)],
        "runs": case.runs(), "links": [{"what": what, "name": name, "address": at} for what, name, at in case.links()],
        "kept": dict(case.kept), "vault": str(settings.vault_path), "ledger": case.ledger,
        "anchored": case.anchored,
    }  # fmt: skip
    if every:
        shown["entries"] = [entry.as_json() for entry in case.entries]
    return shown


def _affected(case: Dossier) -> dict[str, Json] | None:
    entry = case.last(EntryType.AFFECTED_LISTED)
    return {"records": entry.body["records"], "facts": entry.body["facts"]} if entry else None


def _recovery(verdict: RecoveryVerdict | None) -> dict[str, Json] | None:
    if verdict is None:
        return None
    bar = verdict.bar
    return {
        "verdict": "passed" if verdict.passed else "failed", "passed": verdict.passed, "trials": verdict.trials,
        "hits": verdict.hits, "unclear": verdict.unclear, "upper_bound": verdict.upper_bound_percent,
        "bar": bar.highest_rate_percent, "confidence": bar.confidence_percent, "benign_trials": verdict.benign_trials,
        "benign_failures": verdict.benign_failures, "reasons": list(verdict.reasons), "judged_at": verdict.judged_at,
    }  # fmt: skip


def _review(case: Dossier) -> dict[str, Json]:
    scheduled, drafted = case.last(EntryType.REVIEW_SCHEDULED), case.last(EntryType.REVIEW_DRAFTED)
    return {
        "scheduled_for": scheduled.body["due"] if scheduled else None,
        "invitation": dict(case.kept).get("invitation"), "draft": drafted.subject["review"] if drafted else None,
    }  # fmt: skip
