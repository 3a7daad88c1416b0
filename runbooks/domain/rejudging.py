"""Judgements that a replay makes again from the recorded inputs and that stand in no other rule's code.

Each function returns what differs, in words; nothing when the record follows from its inputs:
- the seal: the classes that the pinned runbook requires, and none said to be captured whole of which something is missing
- a request: whose consent does not suffice to give back, and how long it may be answered
- a probe: what it saw gives the status that is reported, and nothing is probed that was not done
- a classification: what the person signed is what stands now, of the incident as it stood, and only the lead lowers it
- a lead and causes: those that the person signed, and nothing else changed; the lead only by who may hand it over
"""

from collections.abc import Collection, Iterable

from runbooks.domain.approval import ApprovalRequest, Purpose
from runbooks.domain.audit import differences_of
from runbooks.domain.configuration import Configuration, Right
from runbooks.domain.containment import ContainmentStatus
from runbooks.domain.evidence import Captured, EvidenceClass, Manifest
from runbooks.domain.incident import Incident, Name, Standing
from runbooks.domain.instants import Instant, later
from runbooks.domain.leading import wrong_hand_over
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.severity import Severity
from runbooks.domain.signed import Reclassification
from runbooks.domain.value import Digest

_CLOCK_SET_BACK_SECONDS = 60
"""By how much a clock may be set back between asking and writing that it was asked."""


def seal_again(manifest: Manifest, wanted: Collection[tuple[EvidenceClass, ...]], cut: Collection[Digest]) -> list[str]:
    """What is required, and what is whole.

    `wanted`: the classes that the runbook required, by each configuration since the opening; `cut`: collections whose
    source failed on the way.
    """
    flawed = {c.evidence_class for c in manifest.collections if c.dropped or c.unreadable or c.digest() in cut}
    whole = [s.evidence_class for s in manifest.standings if s.captured is Captured.CAPTURED]
    required = manifest.required if manifest.required in wanted else next(iter(wanted), ())
    return differences_of(
        ("classes that the runbook requires", manifest.required, required),
        ("classes said to be captured, of which something is missing", [], [one for one in whole if one in flawed]),
    )


def request_again(known_at: Instant, request: ApprovalRequest, right: Right, disabled: Collection[Name]) -> list[str]:
    """`known_at`: the latest time that the record knew then; `disabled`: who alone are not enough to give back."""
    acted = () if request.purpose is Purpose.CONTAIN else tuple(sorted(disabled))
    latest = later(known_at, _CLOCK_SET_BACK_SECONDS)
    return differences_of(
        ("people who took it away", request.acted_before, acted),
        ("expiry", request.expires_at, later(request.asked_at, 60 * right.expires_minutes)),
        ("when it was asked", request.asked_at, min(request.asked_at, latest)),
    )  # fmt: skip


def probed_again(entry: LedgerEntry, before: Iterable[LedgerEntry]) -> list[str]:
    """`before`: the incident's entries up to the judgement of the probes."""
    saw = [str(one).rpartition(": ")[2] for one in entry.body["saw"]]
    status = ContainmentStatus(str(entry.body["status"]))
    if status is ContainmentStatus.EFFECTIVE and (not saw or set(saw) != {"refused"}):
        return [f"expected every path refused for `effective`, found {', '.join(saw) or 'no path'}"]
    done = (EntryType.EFFECT_APPLIED, EntryType.EFFECT_UNDONE)
    if not any(e.type in done and e.body["effect"] == entry.body["effect"] for e in before):
        return [f"expected {entry.body['action']} done before it was probed, found nothing done"]
    if status is ContainmentStatus.UNVERIFIED and "through" in saw:
        return ["expected `applied` or `partial` when a path gets through, found unverified"]
    return []


def classified_again(entry: LedgerEntry, before: Incident, now: Incident) -> list[str]:
    """A person classified it anew: the incident as this record knew it `before`, and as it stands `now`.

    In the incident that continues another, what that one was is only told; its own record shows it.
    """
    said = Reclassification.model_validate(entry.body["signed"])
    kind, severity = entry.body.get("archetype"), entry.body.get("severity")
    here = said.incident == entry.incident
    found = differences_of(
        ("who signed", entry.actor.name, said.person),
        ("the incident that was signed for", said.incident, entry.incident if here else entry.body.get("continues")),
        ("all but its severity", now.model_copy(update={"severity": before.severity}), before),
    )
    if here:
        found += differences_of(("the incident as it stood when it was signed for", said.was, before.digest()))
    if kind is not None:
        wanted = said.archetype or kind["was"]
        found += differences_of(
            ("archetype", kind["is"], wanted), ("archetype here", before.archetype, kind["was"] if here else wanted)
        )
    if severity is None:
        return found + differences_of(("severity", now.severity, before.severity))
    was = Severity(severity["was"])
    again = said.severity or was.worse_of(before.severity.severity)
    found += differences_of(
        ("severity", severity["is"], again), ("severity that stands", now.severity.severity, again),
        *([("severity before", was, before.severity.severity)] if here else []),
    )  # fmt: skip
    if again.rank > was.rank and said.person != before.lead:
        found.append(f"only the lead lowers a severity: expected {before.lead}, found {said.person}")
    return found


def _signed_for(entry: LedgerEntry, said: Reclassification, before: Incident) -> list[tuple[str, object, object]]:
    """By whom, and for this incident, or for the one that it continues."""
    here = before.continues if said.incident == before.continues else before.id
    return [("who signed", entry.actor.name, said.person), ("the incident that was signed for", said.incident, here)]


def led_again(entry: LedgerEntry, configuration: Configuration, before: Incident, now: Incident) -> list[str]:
    """Another one leads, on the word of who may say so: the one whom they named, and nothing else changed."""
    said = Reclassification.model_validate(entry.body["signed"])
    wrong = wrong_hand_over(configuration, before, said.person, said.lead)
    return differences_of(
        *_signed_for(entry, said, before), ("lead", now.lead, said.lead),
        ("all but its lead", now.model_copy(update={"lead": before.lead}), before),
    ) + [wrong] * bool(wrong)  # fmt: skip


def established_again(entry: LedgerEntry, before: Incident, now: Incident) -> list[str]:
    """Causes became facts, on a person's word: those that they named, and nothing else changed."""
    said = Reclassification.model_validate(entry.body["signed"])
    known, facts = (
        {one.cause for one in incident.causes if one.standing is Standing.FACT} for incident in (before, now)
    )
    return differences_of(
        *_signed_for(entry, said, before), ("facts", sorted(facts), sorted(known | set(said.facts))),
        ("all but its causes", now.model_copy(update={"causes": before.causes}), before),
    )  # fmt: skip


def raised_again(entry: LedgerEntry, before: Incident, now: Incident) -> list[str]:
    """A further signal made it worse, and nothing else."""
    was, is_ = before.severity.severity, now.severity.severity
    return differences_of(
        ("severity before", entry.body["was"], was), ("severity", entry.body["severity"], is_),
        ("the worse of the two", is_, was.worse_of(is_)),
        ("all but its severity", now.model_copy(update={"severity": before.severity}), before),
    )  # fmt: skip
