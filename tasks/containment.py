"""Containment: plan, act under a grant, probe until effective. The record decides what is done, not the engine."""

from runbooks.domain.approval import Purpose
from runbooks.domain.case import ContainmentVerdict, action_rows, judge_containment
from runbooks.domain.containment import (
    ContainmentAction,
    ContainmentStatus,
    Passage,
    ProbeResult,
    Receipt,
    judge_probes,
)
from runbooks.domain.errors import ContainmentError, GrantRefusedError, Outcome, QuellError
from runbooks.domain.instants import later, moment
from runbooks.domain.ledger import EntryType
from runbooks.domain.planning import make_plan
from runbooks.domain.value import Digest
from tasks.approval import plan_of
from tasks.authority import LedgerAuthority, grant_for
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.step import here, pen, step
from tasks.waiting import pause


@step("make the plan")
def plan_containment(incident_id: str) -> Digest:
    """Plan from runbook, inventory, policy and seal (or waiver); returns the plan's digest. Made once."""
    installation, writer = here(), pen()
    done = writer.last(incident_id, EntryType.PLAN_MADE)
    if done is not None:
        return done.subject["plan"]
    incident, configuration = installation.incident(incident_id), installation.active()
    sealed = writer.last(incident_id, EntryType.EVIDENCE_SEALED)
    waived = writer.last(incident_id, EntryType.EVIDENCE_WAIVED)
    plan = make_plan(
        incident, installation.runbook(incident.archetype, configuration), configuration,
        manifest=sealed.subject["manifest"] if sealed else None,
        waiver=waived.subject["waiver"] if waived and not sealed else None,
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
            "refused": list(plan.refused),
        },
    )  # fmt: skip
    return entry.subject["plan"]


@step("contain")
def contain(incident_id: str, action_id: str) -> str:
    """Do one act and probe it; returns its status. A failure is a status with a name, never an exception."""
    installation, writer = here(), pen()
    action = plan_of(installation, incident_id).action(action_id)
    authority = LedgerAuthority(installation, writer)
    try:
        connector = installation.connector(action.system, action.connector, installation.active())
        grant = grant_for(installation, writer, action, Purpose.CONTAIN)
        receipt = connector.perform(action, grant, authority)
    except ContainmentError as error:
        if error.outcome is Outcome.NOT_DONE:
            _failed(writer, action, error)
        return ContainmentStatus.UNKNOWN if error.outcome is Outcome.UNKNOWN else ContainmentStatus.FAILED
    except QuellError as error:
        _failed(writer, action, error)
        return ContainmentStatus.FAILED
    return prove(installation, writer, action, receipt)


def _failed(writer: Pen, action: ContainmentAction, error: QuellError) -> None:
    writer.write(
        EntryType.EFFECT_FAILED, f"failed/{action.effect_key}/{error.problem}"[:200], incident=action.incident,
        subject={"action": action.digest()},
        body={"action": action.id, "effect": action.effect_key, "because": str(error)},
    )  # fmt: skip


def prove(installation: Installation, writer: Pen, action: ContainmentAction, receipt: Receipt) -> ContainmentStatus:
    """Probe through the agent's own path, past its caches, until every path is refused N times or the deadline."""
    done = writer.find(f"probed/{action.effect_key}")
    if done is not None:
        return ContainmentStatus(str(done.body["status"]))
    configuration = installation.active()
    system = configuration.systems[action.system]
    wanted = configuration.policy.probes_in_a_row
    deadline = later(clock(), action.deadline_seconds)
    results: dict[str, tuple[ProbeResult, ...]] = {name: () for name in action.probes}
    looks = {
        name: (installation.connector(action.system, system.probes[name].connector, configuration), system.probes[name])
        for name in action.probes
    }
    status, because = judge_probes(results, wanted)
    number = 0
    while looks:
        number += 1
        for name, (connector, spec) in looks.items():
            mark = f"{action.incident}-{name}-{number}".lower()
            results[name] = (*results[name][-20:], connector.probe(name, spec.settings, mark))
        status, because = judge_probes(results, wanted)
        if status is ContainmentStatus.EFFECTIVE or clock() > deadline:
            break
        pause(installation.settings.limits.probe_interval_milliseconds / 1000)
    first_refusals = [_since(seen) for seen in results.values()]
    effective_at = max(first_refusals) if status is ContainmentStatus.EFFECTIVE else None
    entry = writer.write(
        EntryType.PROBES_JUDGED, f"probed/{action.effect_key}", incident=action.incident,
        subject={"action": action.digest()},
        body={
            "action": action.id, "effect": action.effect_key, "status": status, "because": because,
            "applied_at": receipt.applied_at, "effective_at": effective_at, "probes": number,
            "saw": [f"{name}: {seen[-1].saw}" for name, seen in results.items() if seen],
        },
    )  # fmt: skip
    return ContainmentStatus(str(entry.body["status"]))


def _since(seen: tuple[ProbeResult, ...]) -> str:
    """When the unbroken row of refusals began."""
    began = seen[-1].at
    for result in reversed(seen):
        if result.passage is not Passage.REFUSED:
            break
        began = result.at
    return began


@step("give back")
def give_back(incident_id: str, action_id: str, purpose: str = Purpose.RE_ENABLE) -> str:
    """Undo one act from its photograph, under its own grant, then look whether the path works again."""
    installation, writer = here(), pen()
    action = plan_of(installation, incident_id).action(action_id)
    return undo(installation, writer, action, Purpose(purpose))


def undo(installation: Installation, writer: Pen, action: ContainmentAction, purpose: Purpose) -> str:
    """The same for any caller; returns `undone`, `impossible` or `failed`."""
    from runbooks.domain.errors import UndoImpossibleError  # noqa: PLC0415

    configuration = installation.active()
    authority = LedgerAuthority(installation, writer)
    try:
        connector = installation.connector(action.system, action.connector, configuration)
        grant = grant_for(installation, writer, action, purpose)
        connector.reverse(action, grant, authority)
    except UndoImpossibleError as error:
        writer.write(
            EntryType.UNDO_IMPOSSIBLE, f"impossible/{action.undo_key}", incident=action.incident,
            subject={"action": action.digest()}, body={"action": action.id, "because": error.problem},
        )  # fmt: skip
        return "impossible"
    except QuellError as error:
        writer.write(
            EntryType.PERSON_NEEDED, f"undo-failed/{action.undo_key}/{error.problem}"[:200], incident=action.incident,
            subject={"action": action.digest()}, body={"action": action.id, "because": str(error)},
        )  # fmt: skip
        return "failed"
    return "undone"


@step("judge the containment")
def judge(incident_id: str) -> ContainmentVerdict:
    """What containment achieved, with the names of what is missing."""
    installation, writer = here(), pen()
    plan = plan_of(installation, incident_id)
    verdict = judge_containment(action_rows(plan, writer.entries(incident_id)))
    done = writer.find(f"contained/{incident_id}")
    if done is not None:
        return ContainmentVerdict.model_validate(done.body["verdict"])
    writer.write(
        EntryType.CONTAINMENT_JUDGED, f"contained/{incident_id}", incident=incident_id,
        body={"verdict": verdict.as_json(), "because": verdict.because},
    )  # fmt: skip
    if plan.actions and not verdict.complete:
        writer.write(
            EntryType.PERSON_NEEDED, f"partial/{incident_id}", incident=incident_id,
            body={"because": verdict.because, "needed": "decide about what is missing"},
        )  # fmt: skip
    return verdict


def waited_seconds(first: str, second: str) -> float:
    """Seconds between two instants, for people."""
    return (moment(second) - moment(first)).total_seconds()
