"""Evidence: every source is asked, what it hands over is sealed, what is missing is named. Then one manifest."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

from runbooks.domain.configuration import Configuration, Control, EvidenceSource, System
from runbooks.domain.errors import EvidenceError, QuellError
from runbooks.domain.evidence import Collection, EvidenceClass, Manifest, standings_of
from runbooks.domain.incident import AffectedRecord, AffectedRecords, Incident, Report, Standing
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from runbooks.domain.planning import action_for
from runbooks.domain.runbook import Runbook
from runbooks.domain.traces import harmful, read_conversations
from runbooks.domain.value import Digest, Json
from tasks.installation import Installation
from tasks.intake.keeping import Delivered, bodies, delivered_about, listed
from tasks.ledger import Pen, clock
from tasks.sealing_turn import LEASE_SECONDS, Turn, in_turn
from tasks.step import here, pen, step
from tasks.stores.base import SourceFacts
from tasks.waiver import waivers_of

CONTROL = "control:"
"""Prefix of an evidence source's `what`: photograph the state of this control."""


@step("seal the evidence")
def seal_evidence(incident_id: str) -> Digest:
    """Seal every required class and write the manifest; returns its digest. Done once per incident."""
    return seal_now(here(), pen(), incident_id)


def seal_now(installation: Installation, writer: Pen, incident_id: str) -> Digest:
    """The same for any caller. One seals at a time; whoever comes second waits, and finds it done or goes on with it."""
    return str(in_turn(Turn(installation, writer, incident_id, final=True), _seal_once))


def seal_early(installation: Installation, writer: Pen, incident_id: str) -> bool:
    """Seal before there is a response; False when a source failed.

    Whoever responds may reach what we cannot: it asks again, and only then is a gap a gap. What was sealed stays sealed.
    """
    return in_turn(Turn(installation, writer, incident_id, final=False), _seal_once) is not None


def _seal_once(turn: Turn) -> Digest | None:
    installation, writer, incident_id = turn.installation, turn.writer, turn.incident
    incident = installation.incident(incident_id)
    configuration = installation.active()
    runbook = installation.runbook(incident.archetype, configuration)
    manifest = _seal(turn, incident, configuration, runbook)
    if manifest is None:
        return None
    digest = installation.keep(manifest)
    entry = writer.write(
        EntryType.EVIDENCE_SEALED, f"sealed/{incident_id}", incident=incident_id, subject={"manifest": digest},
        body={
            "classes": [f"{s.evidence_class}:{s.captured}" for s in manifest.standings],
            "gaps": [f"{s.evidence_class} {s.evidence_class.holds}: {s.captured}, {s.reason}" for s in manifest.gaps],
            "items": manifest.items,
            "bytes": manifest.bytes,
        },
    )  # fmt: skip
    return entry.subject["manifest"]


def _seal(turn: Turn, incident: Incident, configuration: Configuration, runbook: Runbook) -> Manifest | None:
    installation = turn.installation
    system = configuration.systems.get(incident.system)
    collections: list[Collection] = []
    failures: dict[EvidenceClass, tuple[str, ...]] = {}
    report = Report.from_bytes(installation.vault.get(incident.report))
    sources: list[EvidenceSource] = list(system.evidence) if system else []
    with ThreadPoolExecutor(max_workers=4) as pool:
        jobs = [pool.submit(_seal_source, turn, incident, configuration, one) for one in sources]
        jobs.append(pool.submit(_seal_report, turn, incident, report))
        if incident.origin is not None or delivered_about(installation, incident.id):
            jobs += [pool.submit(_seal_deliveries, turn, incident, what) for what in _DELIVERED]
        for job in jobs:
            while not wait([job], LEASE_SECONDS / 3).done:
                turn.prolong()
            collection, evidence_class, failure = job.result()
            if collection is not None:
                collections.append(collection)
            if failure:
                failures[evidence_class] = (*failures.get(evidence_class, ()), failure)
    if failures and not turn.final:
        return None
    absent = dict(system.absent) if system else {}
    if system is None:
        for evidence_class in runbook.evidence:
            failures.setdefault(evidence_class, (f"the inventory does not know the system {incident.system}",))
    collections.sort(key=lambda c: (c.evidence_class, c.source, c.id))
    return Manifest(
        incident=incident.id, drill=incident.drill, sealed_at=clock(), required=runbook.evidence,
        standings=standings_of(runbook.evidence, tuple(collections), failures, absent),
        collections=tuple(collections),
    )  # fmt: skip


def _seal_report(turn: Turn, incident: Incident, report: Report) -> tuple[Collection | None, EvidenceClass, str]:
    return _store(
        turn, incident, EvidenceClass.J, "report", "application/json", [report.canonical()],
        SourceFacts(),
    )  # fmt: skip


def _seal_deliveries(turn: Turn, incident: Incident, what: str) -> tuple[Collection | None, EvidenceClass, str]:
    """What senders sent, byte for byte; it was acknowledged, so that nothing of it may be missing here."""
    media_type, read = _DELIVERED[what]
    delivered = delivered_about(turn.installation, incident.id)
    return _store(
        turn, incident, EvidenceClass.J, f"signals:{what}", media_type, read(turn.installation, delivered),
        SourceFacts(),
    )  # fmt: skip


_DELIVERED: dict[str, tuple[str, Callable[[Installation, Delivered], Iterable[bytes]]]] = {
    "bodies": ("application/octet-stream", bodies), "list": ("application/json", listed),
}  # fmt: skip


def _seal_source(
    turn: Turn, incident: Incident, configuration: Configuration, source: EvidenceSource
) -> tuple[Collection | None, EvidenceClass, str]:
    installation = turn.installation
    name = f"{source.connector}:{source.what}"
    try:
        if source.what.startswith(CONTROL):
            control = _control(configuration.systems[incident.system], source.what.removeprefix(CONTROL))
            state = _observe(installation, incident, configuration, control)
            return _store(turn, incident, source.evidence_class, name, "application/json", [state], SourceFacts())
        connector = installation.connector(incident.system, source.connector, configuration)
        minutes = installation.settings.limits.evidence_before_minutes
        since = later(incident.began_at or incident.noticed_at, -60 * minutes)
        collected = connector.collect(source.what, since, clock())
        facts = collected.facts
        return _store(
            turn, incident, source.evidence_class, name, facts.media_type,
            _InTime(collected, installation.settings.limits.evidence_source_deadline_seconds),
            lambda: SourceFacts(
                dropped=facts.dropped, unreadable=facts.unreadable, source_clock=facts.source_clock,
                clock_offset_ms=facts.clock_offset_ms, schema_url=facts.schema_url,
            ),
        )  # fmt: skip
    except QuellError as error:
        return None, source.evidence_class, f"{name}: {error.problem}"


@dataclass
class _InTime:
    """The items that come within so many seconds; a source without an end must not keep containment waiting for ever.

    What came stays sealed, as partial. A connector's own time-outs see to it that no single item takes for ever.
    """

    items: Iterable[bytes]
    seconds: int
    cut: bool = False

    def __iter__(self) -> Iterator[bytes]:
        until = time.monotonic() + self.seconds
        for item in self.items:
            if time.monotonic() > until:
                self.cut = True
                raise EvidenceError(
                    f"it still handed over more after {self.seconds} s (evidence_source_deadline_seconds)",
                    now="what came until then is sealed.", next_step="what is missing is named in the manifest.",
                )  # fmt: skip
            yield item


def _control(system: System, name: str) -> Control:
    return next(control for control in system.controls if control.name == name)


def _observe(installation: Installation, incident: Incident, configuration: Configuration, control: Control) -> bytes:
    connector = installation.connector(incident.system, control.connector, configuration)
    state = connector.observe(action_for(incident, control, "photographed as evidence"))
    shown: dict[str, Json] = {"control": control.name, "target": control.target, "state": state, "at": clock()}
    return json.dumps(shown, sort_keys=True).encode()


def _store(
    turn: Turn, incident: Incident, evidence_class: EvidenceClass, source: str, media_type: str,
    items: Iterable[bytes], facts: SourceFacts | Callable[[], SourceFacts],
) -> tuple[Collection | None, EvidenceClass, str]:  # fmt: skip
    installation, writer = turn.installation, turn.writer
    key = f"collected/{incident.id}/{evidence_class}/{source}"
    standing = writer.find(key)
    if standing is not None:
        held = Collection.from_bytes(installation.vault.get(standing.subject["collection"]))
        return held, evidence_class, str(standing.body["failure"])
    try:
        sealed = installation.vault.seal(
            incident=incident.id, evidence_class=evidence_class, source=source, media_type=media_type, items=items,
            facts=facts, now=clock,
        )  # fmt: skip
    except QuellError as error:
        return None, evidence_class, f"{source}: {error.problem}"
    cut = isinstance(items, _InTime) and items.cut  # asked again it would be cut again
    if sealed.failure is not None and not turn.final and not cut:
        return None, evidence_class, sealed.failure  # begun again, whole, by the response
    entry = writer.write(
        EntryType.COLLECTION_SEALED, key, incident=incident.id,
        subject={"collection": installation.keep(sealed.collection)},
        body={
            "class": evidence_class, "source": source, "items": sealed.collection.items,
            "bytes": sealed.collection.bytes, "failure": sealed.failure or "",
        },
    )  # fmt: skip
    held = Collection.from_bytes(installation.vault.get(entry.subject["collection"]))
    return held, evidence_class, str(entry.body["failure"])


def sealed_items(installation: Installation, manifest: Manifest, evidence_class: EvidenceClass) -> Iterable[bytes]:
    """The sealed items of one class, verified as they are read."""
    for collection in manifest.collections:
        if collection.evidence_class is evidence_class:
            for _, item in installation.vault.items(collection):
                yield item


def is_sealed(incident_id: str) -> bool:
    """Whether the manifest of this incident stands."""
    return bool(here().store.entries(incident_id, types=(EntryType.EVIDENCE_SEALED,)))


def is_waived(incident_id: str) -> bool:
    """Whether a proven person said that it is unsafe to wait for the seal."""
    return bool(waivers_of(here(), incident_id))


@step("list the affected records")
def list_affected(incident_id: str) -> int:
    """Register whom the harm reached, from the sealed traces and the tool server's book; returns how many."""
    installation, writer = here(), pen()
    done = writer.last(incident_id, EntryType.AFFECTED_LISTED)
    if done is not None:
        return int(done.body["records"])
    sealed = writer.last(incident_id, EntryType.EVIDENCE_SEALED)
    if sealed is None:
        return 0
    incident = installation.incident(incident_id)
    manifest = Manifest.from_bytes(installation.vault.get(sealed.subject["manifest"]))
    records = affected_records(installation, incident, manifest)
    register = AffectedRecords(incident=incident_id, records=records)
    entry = writer.write(
        EntryType.AFFECTED_LISTED, f"affected/{incident_id}", incident=incident_id,
        subject={"affected": installation.keep(register)},
        body={
            "records": len(records),
            "facts": sum(record.standing is Standing.FACT for record in records),
        },
    )  # fmt: skip
    return int(entry.body["records"])


def affected_records(installation: Installation, incident: Incident, manifest: Manifest) -> tuple[AffectedRecord, ...]:
    """Done, real effects in the book. One that a sealed trace also shows is a fact, else a hypothesis."""
    system = installation.active().systems.get(incident.system)
    tools = frozenset(system.harmful_tools) if system else frozenset()
    conversations, _ = read_conversations(sealed_items(installation, manifest, EvidenceClass.A))
    traced = {c.trace_id for c in harmful(conversations, tools)}
    began: Instant = incident.began_at or later(incident.noticed_at, -3600)
    records = []
    for item in sealed_items(installation, manifest, EvidenceClass.G):
        try:
            row = json.loads(item)
        except ValueError:
            continue
        if not isinstance(row, dict) or row.get("tool") not in tools or row.get("outcome") != "done":
            continue
        if row.get("canary") or row.get("trial") or str(row.get("at", "")) < began[:19]:
            continue
        arguments = row.get("arguments")
        arguments = json.loads(arguments) if isinstance(arguments, str) else (arguments or {})
        reference = str(arguments.get("order_id") or arguments.get("to") or row.get("seq"))
        amount = arguments.get("amount")
        records.append(
            AffectedRecord(
                kind=str(row["tool"]), reference=reference,
                what=f"{row['tool']}" + (f" of {amount}" if amount is not None else ""), source="book",
                seen_at=str(row.get("at", "")),
                standing=Standing.FACT if row.get("trace_id") in traced else Standing.HYPOTHESIS,
            )
        )  # fmt: skip
    return tuple(records)
