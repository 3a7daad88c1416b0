"""Opening an incident: from a form, from a door, or again after a restart. One function, one record."""

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ApprovalError
from runbooks.domain.identifiers import short_id
from runbooks.domain.incident import Archetype, Incident, Origin, Report, Requester
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import Actor, EntryType
from runbooks.domain.severity import Floor, SeverityJudgement, judge_severity
from runbooks.domain.value import Digest
from tasks.installation import Installation
from tasks.ledger import Pen, clock


def incident_of_run(installation: Installation, flow_run_id: str) -> str:
    """The id of the incident that a run started from the form opens, now or when it begins again."""
    return short_id("INC", installation.id.encode() + flow_run_id.encode())


def opening_key(incident_id: str) -> str:
    """The key of the entry by which an incident stands."""
    return f"opened/{incident_id}"


def first_flow(installation: Installation, incident_id: str) -> str:
    """The flow that this incident's first run has, whatever it was found to be later: a second flow would run twice."""
    opening = installation.store.find(opening_key(incident_id))
    return str(opening.body["archetype"]) if opening else str(installation.incident(incident_id).archetype)


def open_incident(
    installation: Installation, report: Report, archetype: Archetype, *, drill: bool, opener: Actor, material: bytes,
    judged: SeverityJudgement | None = None, origin: Origin | None = None, recurrence_of: str | None = None,
    storm: str | None = None, continues: str | None = None,
) -> Incident:  # fmt: skip
    """The incident of this report. The same material (a run id, a signal's digest) gives the same incident again.

    The report is kept in the vault; the ledger holds its digest. An unknown system opens an incident all the same:
    evidence is kept and people are told, but nothing is taken away. `judged`: a severity that holds if it is worse
    than what the report's own factors and floors give.
    """
    incident_id = short_id("INC", installation.id.encode() + material)
    standing = installation.store.find(opening_key(incident_id))
    if standing is not None:
        return installation.incident(incident_id)
    configuration = installation.active()
    by_people = origin is None and storm is None and continues is None
    same = _open_for(installation, report.system, archetype, drill=drill) if by_people else []
    if not report.system:
        raise ApprovalError(
            "expected the name of an AI system, found none.", now="no incident was opened.",
            next_step=f"name one of {', '.join(sorted(configuration.systems)) or '(none is configured)'}.",
        )  # fmt: skip
    incident = _incident(configuration, report, archetype, drill=drill, incident_id=incident_id, now=clock(),
                         digest=installation.keep(report)).model_copy(
        update={"origin": origin, "recurrence_of": recurrence_of, "storm": storm, "continues": continues}
    )  # fmt: skip
    if judged is not None and judged.severity.rank < incident.severity.severity.rank:
        incident = incident.model_copy(update={"severity": judged})
    installation.pen(opener).write(
        EntryType.INCIDENT_OPENED, opening_key(incident_id), incident=incident_id,
        subject={"incident": installation.keep(incident), "report": incident.report},
        body={
            "archetype": archetype, "system": incident.system, "severity": incident.severity.severity,
            "lead": incident.lead, "drill": drill, "noticed_at": report.noticed_at, "source": report.source,
            **({"began_at": report.began_at} if report.began_at else {}),
            **({"origin": origin.as_json()} if origin else {}),
            **({"recurrence_of": recurrence_of} if recurrence_of else {}), **({"storm": storm} if storm else {}),
            **({"continues": continues} if continues else {}), **({"near_miss": True} if report.near_miss else {}),
            **({"also_open": same} if same else {}),
        },
    )  # fmt: skip
    return installation.incident(incident_id)


def _incident(
    configuration: Configuration, report: Report, archetype: Archetype, *, drill: bool, incident_id: str,
    now: Instant, digest: str,
) -> Incident:  # fmt: skip
    system = configuration.systems.get(report.system)
    return Incident(
        id=incident_id, archetype=archetype, systems=(report.system,),
        lead=report.lead if report.lead in configuration.people else (system.lead if system else report.lead),
        requester=Requester(name=report.reporter, proven=report.reporter_proven),
        severity=judge_severity(report.factors, frozenset(report.floors)), causes=report.causes, opened_at=now,
        noticed_at=report.noticed_at, began_at=report.began_at, report=digest, drill=drill,
        near_miss=report.near_miss, known_system=system is not None,
    )  # fmt: skip


def also_open(installation: Installation, incident_id: str) -> list[str]:
    """What was open already, of the same system and kind, when a person opened this one."""
    opening = installation.store.find(opening_key(incident_id))
    return [] if opening is None else [str(one) for one in opening.body.get("also_open", ())]


def _open_for(installation: Installation, system: str, archetype: Archetype, *, drill: bool) -> list[str]:
    """Open incidents of this system and kind, oldest first; one that was classified anew counts as what it became."""
    kinds = (EntryType.INCIDENT_OPENED, EntryType.INCIDENT_CLOSED)
    entries = installation.store.entries(types=kinds)
    gone = {e.incident for e in entries if e.type is EntryType.INCIDENT_CLOSED} | {
        e.body.get("continues") for e in entries
    }
    return [
        e.incident for e in entries
        if e.type is EntryType.INCIDENT_OPENED and e.incident and e.incident not in gone
        and (e.body["system"], e.body["archetype"], e.body["drill"]) == (system, archetype, drill)
    ]  # fmt: skip


def with_floors(report: Report, floors: tuple[Floor, ...]) -> Report:
    """The report with the floors that its runbook states for every incident of the archetype."""
    return report.model_copy(update={"floors": tuple(dict.fromkeys((*report.floors, *floors)))})


def raise_severity(
    installation: Installation, writer: Pen, incident_id: str, judged: SeverityJudgement, key: str, because: str,
    rests_on: dict[str, Digest] | None = None,
) -> bool:  # fmt: skip
    """Make an open incident more severe, with the reason; whether it was. A milder judgement changes nothing.

    `rests_on`: what else the entry refers to.
    """
    incident = installation.incident(incident_id)
    if judged.severity.rank >= incident.severity.severity.rank:
        return False
    changed = incident.model_copy(
        update={"severity": judged.model_copy(update={"reasons": (*judged.reasons, because)})}
    )
    writer.write(
        EntryType.SEVERITY_CHANGED, key, incident=incident_id,
        subject={"incident": installation.keep(changed), **(rests_on or {})},
        body={"was": incident.severity.severity, "severity": judged.severity, "because": because},
    )  # fmt: skip
    return True
