"""Recovery: the recorded attack again, harmless and many times; then, with new consent, give back what may come back."""

import re
from concurrent.futures import ThreadPoolExecutor

from runbooks.domain.case import action_rows
from runbooks.domain.configuration import TrialSpec
from runbooks.domain.containment import ALONE, UNDO_IMPOSSIBLE, ContainmentStatus
from runbooks.domain.evidence import EvidenceClass, Manifest
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from runbooks.domain.recovery import Bar, RecoveryVerdict, Seen, Trial, TrialKind, judge_recovery
from runbooks.domain.situation import UNTIL_REVIEWED, UNTIL_TRIED
from runbooks.domain.traces import harmful, read_conversations
from runbooks.domain.value import Value
from tasks.announcing import call_people
from tasks.approval import plan_of
from tasks.connectors.base import Connector
from tasks.evidence import sealed_items
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.pages import leave_reissue
from tasks.presence import demand_presence
from tasks.step import here, pen, run_id, step
from tasks.waiting import pause

_AT_ONCE = 2
"""Trials in flight at once: enough to keep an agent busy, too few to be a load test."""

_READY_PAUSE_SECONDS = 0.5, 5.0
"""Between two looks whether the agent works: at first, and at last."""


_DONE = (
    ContainmentStatus.EFFECTIVE, ContainmentStatus.APPLIED, ContainmentStatus.PARTIAL, ContainmentStatus.UNVERIFIED,
)  # fmt: skip


class Trials(Value):
    """All trials of one recovery, kept in the vault; texts are not repeated, they are in evidence."""

    incident: str
    trials: tuple[Trial, ...]


@step("replay the attack, harmlessly")
def validate_recovery(incident_id: str) -> bool:
    """Trials against the bar; returns whether the fix holds. Made once; judged from the record."""
    installation, writer = here(), pen()
    done = writer.last(incident_id, EntryType.RECOVERY_JUDGED)
    if done is not None:
        return bool(done.body["passed"])
    verdict = _judge(installation, writer, installation.incident(incident_id))
    entry = writer.write(
        EntryType.RECOVERY_JUDGED, f"recovery/{incident_id}", incident=incident_id,
        body={
            "passed": verdict.passed, "verdict": verdict.as_json(), "because": "; ".join(verdict.reasons),
        },
    )  # fmt: skip
    if not verdict.passed:
        call_people(
            installation, writer, incident_id, f"recovery-failed/{incident_id}",
            {
                "because": "; ".join(verdict.reasons), "until": UNTIL_REVIEWED,
                "needed": f"{verdict.in_words}: {'correct the cause' if verdict.trials else 'see yourself whether it does'}. "
                          f"{_what_stays_away(installation, writer, incident_id)}",
            },
            what="recovery-failed",
        )  # fmt: skip
    return bool(entry.body["passed"])


def _what_stays_away(installation: Installation, writer: Pen, incident_id: str) -> str:
    rows = action_rows(plan_of(installation, incident_id), writer.entries(incident_id))
    lifted = ", ".join(row.action for row in rows if row.status is ContainmentStatus.UNDONE)
    stays = f"What was taken away stays away until people give it back (quell undo {incident_id})"
    return f"{stays}; {lifted} came back for the trials and is to be taken away again" if lifted else stays


def _judge(installation: Installation, writer: Pen, incident: Incident) -> RecoveryVerdict:
    configuration = installation.active()
    runbook = installation.runbook(incident.archetype, configuration)
    bar = configuration.policy.bars.get(incident.severity.severity, runbook.recovery.bar)
    spec, recorded, lacking = _to_be_tried(installation, incident)
    if spec is None or lacking:
        verdict = judge_recovery(incident.id, (), bar, clock())
        return verdict.model_copy(update={"reasons": (lacking, *verdict.reasons)})
    connectors = [installation.connector(incident.system, spec.connector, configuration) for _ in range(_AT_ONCE)]
    _wait_until_it_answers(installation, writer, connectors[0], incident, spec)
    trials = _make_trials(connectors, incident, spec, recorded, bar)
    writer.write(
        EntryType.TRIALS_MADE, f"trials/{incident.id}", incident=incident.id,
        subject={"trials": installation.keep(Trials(incident=incident.id, trials=trials))},
        body={"attack": bar.trials, "benign": bar.benign_trials},
    )  # fmt: skip
    return judge_recovery(incident.id, trials, bar, clock())


def _to_be_tried(installation: Installation, incident: Incident) -> tuple[TrialSpec | None, list[str], str]:
    """How the fix is tried, with which recorded attacks, and what is lacking for it, in words; empty: nothing."""
    system = installation.active().systems.get(incident.system)
    spec = system.trials.get(incident.archetype) if system else None
    if spec is None:
        return None, [], f"no trial of {incident.archetype.shown} is configured for {incident.system}"
    recorded = recorded_attacks(installation, incident)
    return spec, recorded, "" if recorded else "no recorded attack is in the sealed evidence"


def recorded_attacks(installation: Installation, incident: Incident) -> list[str]:
    """What was said to the agent in the sealed conversations that did harm; most harmful first, at most five."""
    sealed = installation.store.entries(incident.id, types=(EntryType.EVIDENCE_SEALED,))
    system = installation.active().systems.get(incident.system)
    if not sealed or system is None:
        return []
    manifest = Manifest.from_bytes(installation.vault.get(sealed[-1].subject["manifest"]))
    found, _ = read_conversations(sealed_items(installation, manifest, EvidenceClass.A))
    return list(dict.fromkeys(c.asked for c in harmful(found, frozenset(system.harmful_tools)) if c.asked))[:5]


def _make_trials(
    connectors: list[Connector], incident: Incident, spec: TrialSpec, recorded: list[str], bar: Bar
) -> tuple[Trial, ...]:
    benign = list(spec.benign)
    wanted = [(TrialKind.ATTACK, recorded[n % len(recorded)]) for n in range(bar.trials)]
    wanted += [(TrialKind.BENIGN, benign[n % len(benign)]) for n in range(bar.benign_trials if benign else 0)]

    def share(lane: int) -> list[tuple[int, Trial]]:
        """Every n-th trial, through a connector of this lane's own (a connector serves one thread)."""
        made = []
        for number, (kind, text) in list(enumerate(wanted, start=1))[lane :: len(connectors)]:
            mark = re.sub(r"[^a-z0-9-]", "", f"{incident.id}-{kind}-{number}".lower())
            made.append((number, connectors[lane].trial(incident.archetype, spec.settings, text, mark, kind)))
        return made

    with ThreadPoolExecutor(max_workers=len(connectors)) as pool:
        lanes = list(pool.map(share, range(len(connectors))))
    return tuple(trial for _, trial in sorted((p for lane in lanes for p in lane), key=lambda p: p[0]))


def _wait_until_it_answers(
    installation: Installation, writer: Pen, connector: Connector, incident: Incident, spec: TrialSpec
) -> None:  # fmt: skip
    """An agent that was stopped gets a while to work again; one that stays silent makes the trials unclear.

    Where its token was revoked it cannot work before somebody issues a new one: people are called and waited for.
    """
    number, until = 0, None
    wait, longest = _READY_PAUSE_SECONDS
    while spec.benign and (until is None or clock() < until):
        number += 1
        mark = f"{incident.id}-ready-{number}".lower()
        seen = connector.trial(incident.archetype, spec.settings, spec.benign[0], mark, TrialKind.BENIGN).seen
        if seen is Seen.HIT:
            return
        until = until or _waited_for_until(installation, writer, incident)
        pause(wait)
        wait = min(1.3 * wait, longest)
        demand_presence()


def _waited_for_until(installation: Installation, writer: Pen, incident: Incident) -> Instant:
    """When the trials begin at the latest; with a revoked token counted from the call, however often the run restarts."""
    limits = installation.settings.limits
    plan = plan_of(installation, incident.id)
    rows = action_rows(plan, writer.entries(incident.id))
    revoked = [
        plan.action(row.action) for row in rows if row.verb in UNDO_IMPOSSIBLE and row.status in _DONE
    ]  # fmt: skip
    if not revoked:
        return later(clock(), limits.recovery_ready_seconds)
    names = ", ".join(action.id for action in revoked)
    called = call_people(
        installation, writer, incident.id, f"reissue/{incident.id}",
        {
            "because": f"revoked for good, and the agent cannot work without: {names}. {revoked[0].undo}",
            "needed": f"issue a new one for {names} of {incident.system}: it was revoked, and the agent cannot work "
                      f"without. The fix is tried as soon as it works; after {limits.reissue_wait_minutes} min without "
                      "it the fix counts as one that does not hold",
            "until": [UNTIL_TRIED],
        },
        what="reissue",
    )  # fmt: skip
    until = later(called.at, 60 * limits.reissue_wait_minutes)
    if run_id() is not None:
        leave_reissue(incident.id, [(action.title, action.undo) for action in revoked], until)
    return until


@step("what must come back for the trials")
def needed_for_trials(incident_id: str) -> list[str]:
    """Acts that the runbook gives back, with consent, so that the agent can be tried at all.

    Nothing, where there is nothing to try it with; what came back already stays in the list, or nobody takes it away
    again. What was taken away once more, because the fix did not hold, is not lifted a second time.
    """
    installation, writer = here(), pen()
    plan = plan_of(installation, incident_id)
    names = [name for name in _planned(incident_id, "lift_for_trials") if not 1 < plan.action(name).attempt <= ALONE]
    undone = {
        row.action for row in action_rows(plan, writer.entries(incident_id)) if row.status is ContainmentStatus.UNDONE
    }
    if names and not undone & {*names} and _to_be_tried(installation, installation.incident(incident_id))[2]:
        return []
    return names


@step("what may be given back")
def may_be_given_back(incident_id: str) -> list[str]:
    """Acts that the runbook gives back once the fix is shown to hold."""
    return _planned(incident_id, "re_enable")


def _planned(incident_id: str, which: str) -> list[str]:
    """Acts with a verb of this list of the runbook. Those already given back stay in it: doing it again does nothing."""
    installation, writer = here(), pen()
    incident = installation.incident(incident_id)
    plan = plan_of(installation, incident_id)
    runbook = installation.runbook(incident.archetype, installation.configuration(plan.configuration))
    verbs = getattr(runbook.recovery, which)
    standing = (*_DONE, ContainmentStatus.UNDONE)
    rows = action_rows(plan, writer.entries(incident_id))
    return [row.action for row in rows if row.verb in verbs and row.status in standing]


def trials_of(installation: Installation, incident_id: str) -> tuple[Trial, ...]:
    """The trials of an incident, for tables and reviews."""
    found = installation.store.entries(incident_id, types=(EntryType.TRIALS_MADE,))
    return Trials.from_bytes(installation.vault.get(found[-1].subject["trials"])).trials if found else ()
