"""Containment: plan, act under a grant, probe until effective. The record decides what is done, not the engine."""

from collections.abc import Callable
from functools import partial
from time import monotonic

from runbooks.domain.approval import Purpose
from runbooks.domain.case import ContainmentVerdict, action_rows, judge_containment
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import (
    ALONE,
    ContainmentAction,
    ContainmentStatus,
    Passage,
    ProbeResult,
    Receipt,
    judge_probes,
)
from runbooks.domain.errors import (
    ContainmentError,
    LedgerError,
    Outcome,
    QuellError,
)
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.situation import UNTIL_APPLIED, UNTIL_REVIEWED
from runbooks.domain.value import Digest, Json, Value
from tasks.announcing import call_people
from tasks.approval import plan_of, request_key
from tasks.authority import LedgerAuthority, grant_for, when_free
from tasks.effects import nobody_knows
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.planning import plan_now
from tasks.presence import AnotherRunWorksError
from tasks.step import here, pen, step
from tasks.waiting import pause


@step("make the plan")
def plan_containment(incident_id: str) -> Digest:
    """Plan from runbook, inventory, policy and seal (or waiver); returns the plan's digest. Made once."""
    return plan_now(here(), pen(), incident_id)


@step("contain")
def contain(incident_id: str, action_id: str) -> str:
    """Do one act and probe it; returns its status. A failure is a status with a name, never an exception."""
    installation, writer = here(), pen()
    return act(installation, writer, plan_of(installation, incident_id).action(action_id))


def act(
    installation: Installation, writer: Pen, action: ContainmentAction, *, glass: LedgerEntry | None = None
) -> ContainmentStatus:
    """The same for any caller; `glass` is the entry by which a person took it upon themselves."""
    authority = LedgerAuthority(installation, writer)
    done = authority.outcome(action.effect_key)
    if done is not None and writer.find(f"done/{action.undo_key}") is not None:
        proven = writer.find(f"probed/{action.effect_key}")  # given back since: what it was, and never once more
        return ContainmentStatus(str(proven.body["status"])) if proven is not None else ContainmentStatus.APPLIED
    if done is not None:
        return prove(installation, writer, action, done)  # whoever did it, under whatever right
    try:
        connector = installation.connector(action.system, action.connector, installation.active())
        grant = grant_for(installation, writer, action, Purpose.CONTAIN, glass)
        receipt = when_free(installation, lambda: connector.perform(action, grant, authority))
    except (LedgerError, AnotherRunWorksError):
        raise  # the act may have been sent; the next run reads back and knows
    except QuellError as error:
        if nobody_knows(installation, action.incident, action.effect_key, error):
            _left_unknown(installation, writer, action, error)
            return ContainmentStatus.UNKNOWN
        if not isinstance(error, ContainmentError) or error.outcome is Outcome.NOT_DONE:
            _failed(writer, action, error)
        return ContainmentStatus.FAILED
    return prove(installation, writer, action, receipt)


def _left_unknown(installation: Installation, writer: Pen, action: ContainmentAction, error: QuellError) -> None:
    """It may have been done. The record says so, also where the right or the way to it was missing before any attempt."""
    claim = installation.store.claim_of(action.effect_key)
    attempted = isinstance(error, ContainmentError) and error.outcome is Outcome.UNKNOWN  # then it is written already
    if claim is not None and not attempted:
        writer.write(
            EntryType.EFFECT_UNKNOWN, f"left-unknown/{action.effect_key}/{claim.fence}", incident=action.incident,
            subject={"action": action.digest()},
            body={
                "action": action.id, "effect": action.effect_key,
                "because": f"it was sent before and may have been done; now: {error.problem}",
            },
        )  # fmt: skip
    _call_to_look(installation, writer, action, error)


def _failed(writer: Pen, action: ContainmentAction, error: QuellError) -> None:
    writer.write(
        EntryType.EFFECT_FAILED, f"failed/{action.effect_key}/{error.problem}"[:200], incident=action.incident,
        subject={"action": action.digest()},
        body={"action": action.id, "effect": action.effect_key, "because": str(error)},
    )  # fmt: skip


def _call_to_look(installation: Installation, writer: Pen, action: ContainmentAction, error: QuellError) -> None:
    """Nobody knows whether it was done: people hear of it now, and not only when everything else is settled."""
    call_people(
        installation, writer, action.incident, f"unknown/{action.effect_key}",
        {
            "action": action.id, "because": error.problem,
            "needed": f"look at {action.target} of {action.system} itself: nobody knows whether {action.id} was done "
                      "there; then decide whether to do it by hand",
            "until": [UNTIL_APPLIED, UNTIL_REVIEWED],
        },
        what=f"unknown/{action.effect_key}", subject={"action": action.digest()},
    )  # fmt: skip


def prove(installation: Installation, writer: Pen, action: ContainmentAction, receipt: Receipt) -> ContainmentStatus:
    """Probe through the agent's own path, past its caches, until every path is refused N times or the deadline."""
    done = writer.find(f"probed/{action.effect_key}")
    if done is None:
        found = look(installation, action, action.deadline_seconds)
        done = write_probes(writer, action, found, f"probed/{action.effect_key}", {"applied_at": receipt.applied_at})
    return ContainmentStatus(str(done.body["status"]))


class Looked(Value):
    """What a series of probes of one act saw."""

    status: ContainmentStatus
    because: str
    effective_at: Instant | None
    rounds: int
    saw: tuple[str, ...]


def look(installation: Installation, action: ContainmentAction, deadline_seconds: int) -> Looked:
    """Probe every path of one act until all are refused N times in a row, or the deadline.

    What was refused is looked at again at once; a path that is still open, because of a cache, less and less often.
    """
    configuration = installation.active()
    limits = installation.settings.limits
    deadline = monotonic() + deadline_seconds  # nobody who sets the clock makes this longer, or a refusal older
    lasted: dict[str, tuple[float, float]] = {}
    results: dict[str, tuple[ProbeResult, ...]] = dict.fromkeys(action.probes, ())
    eyes = _eyes(installation, configuration, action)
    status, because = judge_probes(results, configuration.policy.probes_in_a_row)
    rounds, wait = 0, limits.probe_confirm_milliseconds
    while eyes:
        rounds += 1
        for name, eye in eyes.items():
            seen = eye(f"{action.incident}-{name}-{rounds}".lower())
            now, before = monotonic(), results[name][-1:]
            goes_on = bool(before) and before[0].passage is seen.passage is Passage.REFUSED
            lasted[name] = (lasted[name][0] if goes_on else now, now)
            results[name] = (*results[name][-20:], seen)
        status, because = judge_probes(results, configuration.policy.probes_in_a_row)
        lasts = min(last - first for first, last in lasted.values())
        missing = round(limits.probe_span_milliseconds / 1000 - lasts, 6)
        if missing <= 0 if status is ContainmentStatus.EFFECTIVE else monotonic() > deadline:
            break  # one that is refused at the deadline must last all the same; it does, or it opens
        refused = all(seen[-1].passage is Passage.REFUSED for seen in results.values())
        wait = limits.probe_confirm_milliseconds if refused else min(2 * wait, limits.probe_interval_milliseconds)
        pause(min(wait / 1000, missing) if status is ContainmentStatus.EFFECTIVE else wait / 1000)
    effective = status is ContainmentStatus.EFFECTIVE
    return Looked(
        status=status, because=because, rounds=rounds,
        effective_at=max(_since(seen) for seen in results.values()) if effective else None,
        saw=tuple(f"{name}: {seen[-1].passage}" for name, seen in results.items() if seen),
    )  # fmt: skip


def glance(installation: Installation, action: ContainmentAction) -> dict[str, tuple[ProbeResult, ...]]:
    """What each path shows in one look, taking no longer than the connectors' own deadlines."""
    configuration = installation.active()
    seen: dict[str, tuple[ProbeResult, ...]] = {}
    for name, eye in _eyes(installation, configuration, action).items():
        try:
            found = eye(f"{action.incident}-{name}-glance".lower())
        except QuellError as error:
            found = ProbeResult(probe=name, passage=Passage.UNCLEAR, saw=error.problem, at=clock())
        seen[name] = (found,)
    return seen


def _eyes(
    installation: Installation, configuration: Configuration, action: ContainmentAction
) -> dict[str, Callable[[str], ProbeResult]]:
    """What looks at each path, given the mark of the look. A probe that an owner took out meanwhile sees nothing."""
    system, eyes = configuration.systems.get(action.system), dict[str, Callable[[str], ProbeResult]]()
    for name in action.probes:
        spec = system.probes.get(name) if system is not None else None
        if spec is None:
            eyes[name] = partial(_blind, name)
        else:
            connector = installation.connector(action.system, spec.connector, configuration)
            eyes[name] = partial(connector.probe, name, spec.settings)
    return eyes


def _blind(name: str, mark: str) -> ProbeResult:
    del mark
    saw = "the active inventory has no such probe any more"
    return ProbeResult(probe=name, passage=Passage.UNCLEAR, saw=saw, at=clock())


def write_probes(writer: Pen, action: ContainmentAction, found: Looked, key: str, more: dict[str, Json]) -> LedgerEntry:
    """Write what was seen; `more` may say of which effect, if not of the act itself."""
    return writer.write(
        EntryType.PROBES_JUDGED, key, incident=action.incident, subject={"action": action.digest()},
        body={
            "action": action.id, "effect": action.effect_key, "status": found.status, "because": found.because,
            "effective_at": found.effective_at, "probes": found.rounds, "saw": list(found.saw), **more,
        },
    )  # fmt: skip


def _since(seen: tuple[ProbeResult, ...]) -> str:
    """When the unbroken row of refusals began."""
    began = seen[-1].at
    for result in reversed(seen):
        if result.passage is not Passage.REFUSED:
            break
        began = result.at
    return began


@step("take away again")
def plan_again(incident_id: str, action_ids: list[str]) -> list[str]:
    """Add these acts, which were given back for the trials, to the plan once more; returns their new ids."""
    installation, writer = here(), pen()
    plan = plan_of(installation, incident_id)
    known = {action.id for action in plan.actions}
    new = [name for name in action_ids if f"{name}-again" not in known]
    again = [
        plan.action(name).model_copy(update={"id": f"{name}-again", "attempt": 2, "why": "the fix did not hold"})
        for name in new
    ]
    unasked = {  # what people had to be asked about needs them again
        name for name in new if name in plan.preauthorised
        and writer.find(request_key(incident_id, Purpose.CONTAIN, plan.action(name))) is None
    }  # fmt: skip
    if again:
        wider = plan.model_copy(
            update={
                "actions": (*plan.actions, *again),
                "preauthorised": (
                    *plan.preauthorised,
                    *(a.id for a, name in zip(again, new, strict=True) if name in unasked),
                ),
            }
        )
        writer.write(
            EntryType.PLAN_MADE, f"planned/{incident_id}/again", incident=incident_id,
            subject={"plan": installation.keep(wider), "configuration": wider.configuration, "runbook": wider.runbook},
            body={
                "actions": [a.id for a in wider.actions], "preauthorised": list(wider.preauthorised), "refused": [],
            },
        )  # fmt: skip
    return [f"{name}-again" for name in action_ids]


@step("judge the containment")
def judge(incident_id: str) -> ContainmentVerdict:
    """What containment achieved, with the names of what is missing; judged anew where acts were to be taken away again."""
    installation, writer = here(), pen()
    plan = plan_of(installation, incident_id)
    again = any(1 < action.attempt <= ALONE for action in plan.actions)
    which = f"{incident_id}/again" if again else incident_id
    done = writer.find(f"contained/{which}")
    if done is not None:
        return ContainmentVerdict.model_validate(done.body["verdict"])
    verdict = judge_containment(action_rows(plan, writer.entries(incident_id)))
    writer.write(
        EntryType.CONTAINMENT_JUDGED, f"contained/{which}", incident=incident_id,
        body={"verdict": verdict.as_json(), "because": verdict.because, **({"again": True} if again else {})},
    )  # fmt: skip
    if plan.actions and not verdict.complete:
        call_people(
            installation, writer, incident_id, f"partial/{which}",
            {
                "because": verdict.because, "needed": f"decide about what is not taken away: {_named(verdict)}",
                "until": UNTIL_REVIEWED,
            },
            what="partial/again" if again else "partial",
        )  # fmt: skip
    return verdict


def _named(verdict: ContainmentVerdict) -> str:
    """The acts that are missing, by their ids alone: their reasons may hold words of the far side."""
    return ", ".join(text.partition(" ")[0] for text in verdict.missing)
