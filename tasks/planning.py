"""The plan, made once, from runbook, inventory, policy and seal (or waiver), and written down."""

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import GrantRefusedError
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType
from runbooks.domain.planning import make_plan, rules_used
from runbooks.domain.value import Digest
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.preauthorising import spending
from tasks.waiver import waivers_of


def plan_now(installation: Installation, writer: Pen, incident_id: str) -> Digest:
    """The digest of the plan of this incident; what it pre-authorises counts against its rules' caps."""
    done = writer.last(incident_id, EntryType.PLAN_MADE)
    if done is not None:
        return done.subject["plan"]
    incident, configuration = installation.incident(incident_id), installation.active()
    with spending(installation, incident, configuration) as spent:
        return _write_plan(installation, writer, incident, configuration, spent, installation.now())


def _write_plan(
    installation: Installation, writer: Pen, incident: Incident, configuration: Configuration, spent: frozenset[str],
    now: Instant,
) -> Digest:  # fmt: skip
    incident_id = incident.id
    sealed = writer.last(incident_id, EntryType.EVIDENCE_SEALED)
    waived = waivers_of(installation, incident_id)
    plan = make_plan(
        incident, installation.runbook(incident.archetype, configuration), configuration,
        manifest=sealed.subject["manifest"] if sealed else None,
        waiver=waived[-1].subject["waiver"] if waived and not sealed else None, spent=spent, at=now,
    )  # fmt: skip
    if plan.configuration != installation.active_digest():
        raise GrantRefusedError(
            "the configuration changed while the plan was made.", now="nothing was sent.",
            next_step="nothing: the response starts this step again by itself.",
        )  # fmt: skip
    entry = writer.write(
        EntryType.PLAN_MADE, f"planned/{incident_id}", incident=incident_id,
        subject={"plan": installation.keep(plan), "configuration": plan.configuration, "runbook": plan.runbook}
        | ({"manifest": plan.manifest} if plan.manifest else {}),
        body={
            "actions": [a.id for a in plan.actions], "preauthorised": list(plan.preauthorised),
            "refused": list(plan.refused), "rules": list(rules_used(plan, incident, configuration, now)),
            "spent": sorted(spent), "planned_at": now,
        },
    )  # fmt: skip
    return entry.subject["plan"]
