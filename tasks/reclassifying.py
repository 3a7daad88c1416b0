"""Classified anew: a proven person says what kind an incident is, how bad, who leads, or what caused it. All is kept.

Rules of `reclassify`, in order:
1. It names this installation, the incident as it stands now, and something that changes.
2. The person is listed, valid now, and signed exactly this.
3. Only the incident's lead lowers a severity. Anybody who is listed may raise it.
4. Another archetype has a runbook in the active configuration, and what it takes away needs a plan, evidence and
   consent of its own. So it opens an incident of its own that continues this one, and whoever reclassified has asked
   for it: that person counts for nothing when its acts are approved. What this one took away stays its own.
5. Only the lead or the system's owner hands the lead over, to somebody who is listed and valid; when nobody listed
   leads, anybody who is listed does. (Else whoever may not lower a severity would make themselves the lead first.)
6. A cause becomes a fact with the reason that was given; it need not have been suspected before.
"""

import secrets

from runbooks.domain.configuration import Configuration
from runbooks.domain.errors import ApprovalError
from runbooks.domain.incident import Archetype, Cause, Incident, Report, Standing, SuspectedCause
from runbooks.domain.instants import Instant
from runbooks.domain.leading import wrong_hand_over
from runbooks.domain.ledger import Actor, EntryType
from runbooks.domain.severity import SeverityJudgement
from runbooks.domain.signed import RECLASSIFICATION_NAMESPACE, Reclassification
from runbooks.domain.value import Json
from tasks.incident import open_incident, with_floors
from tasks.installation import Installation
from tasks.ledger import person_actor
from tasks.persons import listed_person
from tasks.proofs import verify_bytes


def reclassify(installation: Installation, said: Reclassification, signature: str, *, door: Actor) -> Incident:
    """The incident as it stands now, or the one that continues it; ApprovalError says why it was not accepted."""
    configuration = installation.active()
    try:
        before, proof = _verified(installation, configuration, said, signature)
    except ApprovalError as error:
        installation.pen(door).write(
            EntryType.DECISION_REFUSED, f"reclassification-refused/{secrets.token_hex(8)}", incident=said.incident,
            subject={"reclassification": said.digest()},
            body={"claimed_person": said.person, "answer": "reclassify", "because": error.problem},
        )  # fmt: skip
        raise
    told: dict[str, Json] = {"because": said.reason, "signed": said.as_json(), "proof": proof}
    after = before
    if said.archetype is not None or said.harm_happened:
        after = _continued(installation, configuration, before, said)
        told["archetype"] = {"was": before.archetype, "is": after.archetype}
        _write(installation, said, before, told | {"continued_as": after.id})
    if said.severity is not None or after is not before:
        judged = _judged(before, after, said)
        told["severity"] = {"was": before.severity.severity, "is": judged.severity}
        after = after.model_copy(update={"severity": judged})
        _write(installation, said, after, told | ({"continues": before.id} if after.id != before.id else {}))
    if said.lead is not None and said.lead != after.lead:
        told["lead"] = {"was": after.lead, "is": said.lead}
        after = after.model_copy(update={"lead": said.lead})
        _write(installation, said, after, told | {"leads": said.lead}, EntryType.LEAD_CHANGED)
    if fresh := _fresh_facts(after, said):  # 6
        kept = tuple(one for one in after.causes if one.cause not in fresh)
        found = tuple(SuspectedCause(cause=one, standing=Standing.FACT, because=said.reason) for one in fresh)
        after = after.model_copy(update={"causes": (*kept, *found)})
        words = ", ".join(one.replace("_", " ") for one in fresh)
        _write(installation, said, after, told | {"established": words}, EntryType.CAUSE_ESTABLISHED)
    return after


def _fresh_facts(incident: Incident, said: Reclassification) -> list[Cause]:
    """Those of the named causes that are no facts yet."""
    known = {one.cause for one in incident.causes if one.standing is Standing.FACT}
    return [one for one in dict.fromkeys(said.facts) if one not in known]


def _verified(
    installation: Installation, configuration: Configuration, said: Reclassification, signature: str
) -> tuple[Incident, dict[str, Json]]:
    before = installation.incident(said.incident)  # 1
    if said.installation != installation.id or said.was != before.digest():
        raise ApprovalError(
            f"what was signed is not for {said.incident} as it stands now.", now="nothing was changed.",
            next_step=f"look at it (quell show {said.incident}) and sign again.",
        )  # fmt: skip
    same_kind = said.archetype is None or said.archetype is before.archetype
    same_severity = said.severity is None or said.severity is before.severity.severity
    same_lead = said.lead is None or said.lead == before.lead
    same_causes = not _fresh_facts(before, said)
    if same_kind and same_severity and same_lead and same_causes and not (said.harm_happened and before.near_miss):
        raise ApprovalError(
            f"{said.incident} is that already: {before.archetype.shown}, {before.severity.severity}, lead {before.lead}.",
            now="nothing was changed.", next_step="name another archetype, severity or lead, or a cause that is no fact yet.",
        )  # fmt: skip
    person = listed_person(configuration, said.person, installation.latest())  # 2
    if not signature:
        raise ApprovalError(
            "to classify anew needs an SSH signature, found none.", now="nothing was changed.",
            next_step="sign with --key FILE, or --agent with --public-key FILE.",
        )  # fmt: skip
    proof = verify_bytes(
        said.canonical(), signature, person.ssh_keys, person=said.person, namespace=RECLASSIFICATION_NAMESPACE
    )
    lower = said.severity is not None and said.severity.rank > before.severity.severity.rank
    if lower and said.person != before.lead:  # 3
        raise ApprovalError(
            f"only the lead lowers a severity: expected {before.lead}, found {said.person}.",
            now=f"it stays {before.severity.severity}.", next_step=f"ask {before.lead}.",
        )  # fmt: skip
    if not same_lead:
        _demand_right_to_hand_over(configuration, before, said, installation.latest())  # 5
    kind = said.archetype or before.archetype
    if kind is not before.archetype and kind not in configuration.runbooks:  # 4
        raise ApprovalError(
            f"there is no runbook for {kind.shown} in the active configuration.", now="nothing was changed.",
            next_step=f"name one of {', '.join(sorted(Archetype(one).shown for one in configuration.runbooks))}.",
        )  # fmt: skip
    return before, proof.as_json()


def _demand_right_to_hand_over(
    configuration: Configuration, before: Incident, said: Reclassification, now: Instant
) -> None:
    listed_person(configuration, str(said.lead), now)
    if wrong := wrong_hand_over(configuration, before, said.person, said.lead):
        raise ApprovalError(f"{wrong}.", now=f"{before.lead} still leads.", next_step="ask one of them.")


def _continued(
    installation: Installation, configuration: Configuration, before: Incident, said: Reclassification
) -> Incident:
    kind = said.archetype or before.archetype
    report = Report.from_bytes(installation.vault.get(before.report)).model_copy(
        update={
            "reporter": said.person, "reporter_proven": True, "lead": before.lead, "causes": before.causes,
            "near_miss": before.near_miss and not said.harm_happened, "source": "reclassified",
        }
    )  # fmt: skip
    report = with_floors(report, installation.runbook(kind, configuration).severity_floors)
    return open_incident(
        installation, report, kind, drill=before.drill, opener=person_actor(said.person),
        material=b"continues" + said.canonical(), continues=before.id,
    )  # fmt: skip


def _judged(before: Incident, after: Incident, said: Reclassification) -> SeverityJudgement:
    """What the person says; else the worse of what it was and of what its new runbook makes it."""
    if said.severity is None:
        return min((after.severity, before.severity), key=lambda one: one.severity.rank)
    reason = f"{said.person} made it {said.severity} (it was {before.severity.severity}); the record says why"
    return SeverityJudgement(severity=said.severity, reasons=(*after.severity.reasons, reason), provisional=False)


def _write(
    installation: Installation, said: Reclassification, incident: Incident, body: dict[str, Json],
    kind: EntryType = EntryType.INCIDENT_RECLASSIFIED,
) -> None:  # fmt: skip
    name = kind.value.removeprefix("incident_")
    installation.pen(person_actor(said.person)).write(
        kind, f"{name}/{incident.id}/{said.digest()}", incident=incident.id,
        subject={"incident": installation.keep(incident), "configuration": installation.active_digest()}, body=body,
    )  # fmt: skip
