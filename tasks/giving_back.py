"""Giving back what was taken away: undo from the photograph, then look at it, and at everything else that stands.

Rules of `undo`, in order:
1. What another incident keeps away too does not come back with this one: it is refused, and the other one is named.
   Except when what comes back is just what that incident left: then it loses nothing. So the newer of two comes back
   first, in whichever incident it is. And except when the photograph, taken later, shows that it was back already.
   Two that photographed the same state, because they acted in the same instant, would wait for each other for ever:
   once the other incident is closed, people who are asked for it (`quell undo`) give back, and the other is told.
2. The guard undoes under the grant, by compare-and-set. What fails calls a person until it was given back.
3. Whether the path works again is looked at, and written down: once, where another act that stands is proven by the
   same probe or another incident keeps the same away, because they keep it shut; else for as long as the system is
   known to lag. What another incident keeps away is named to people, who would wonder.
4. Everything else of this incident that was taken away is looked at again: a broad undo can undo a narrow act.
"""

from time import monotonic

from runbooks.domain.approval import Purpose
from runbooks.domain.case import action_rows
from runbooks.domain.containment import (
    UNDO_IMPOSSIBLE,
    ContainmentAction,
    ContainmentStatus,
    Passage,
    Receipt,
    judge_probes,
)
from runbooks.domain.errors import ContainmentError, LedgerError, Outcome, QuellError, UndoImpossibleError
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.situation import UNTIL_REVIEWED, UNTIL_UNDONE
from tasks.announcing import call_people
from tasks.approval import plan_of
from tasks.authority import LedgerAuthority, grant_for, when_free
from tasks.containment import Looked, glance, look, write_probes
from tasks.effects import nobody_knows
from tasks.installation import Installation
from tasks.ledger import Pen
from tasks.presence import AnotherRunWorksError
from tasks.step import here, pen, step
from tasks.waiting import pause

MARGIN_SECONDS = 3
"""More than a system is known to lag, for a path to work again, or to be refused still."""
GLANCE_SECONDS = 0.2
STANDS = (
    ContainmentStatus.APPLIED,
    ContainmentStatus.EFFECTIVE,
    ContainmentStatus.PARTIAL,
    ContainmentStatus.UNVERIFIED,
)
"""Statuses of what was taken away and is still away, however well that is known."""


@step("give back")
def give_back(incident_id: str, action_id: str, purpose: str = Purpose.RE_ENABLE) -> str:
    """Undo one act from its photograph, under its own grant, then look whether the path works again."""
    installation, writer = here(), pen()
    action = plan_of(installation, incident_id).action(action_id)
    return undo(installation, writer, action, Purpose(purpose))


def undo(
    installation: Installation, writer: Pen, action: ContainmentAction, purpose: Purpose, *,
    glass: LedgerEntry | None = None,
) -> str:  # fmt: skip
    """The same for any caller, by the rules at the head of this file; returns `undone`, `impossible` or `failed`."""
    configuration = installation.active()
    authority = LedgerAuthority(installation, writer)
    kept: list[LedgerEntry] = []
    try:
        if authority.outcome(action.undo_key) is None:  # else it came back before, whatever became of its consent since
            asked = purpose is Purpose.UNDO and glass is None
            kept = _demand_nobody_else(installation, authority, action, asked=asked)  # 1
            connector = installation.connector(action.system, action.connector, configuration)
            grant = grant_for(installation, writer, action, purpose, glass)
            when_free(installation, lambda: connector.reverse(action, grant, authority))  # 2
    except (LedgerError, AnotherRunWorksError):
        raise
    except UndoImpossibleError as error:
        writer.write(
            EntryType.UNDO_IMPOSSIBLE, f"impossible/{action.undo_key}", incident=action.incident,
            subject={"action": action.digest()}, body={"action": action.id, "because": error.problem},
        )  # fmt: skip
        return "impossible"
    except QuellError as error:
        _call_because_it_failed(installation, writer, action, error)
        return "failed"
    for other in kept:
        _tell_the_other(installation, writer, action, other)
    _look_whether_it_works(installation, writer, action)  # 3
    verify_the_others(installation, writer, action)  # 4
    return "undone"


def _demand_nobody_else(
    installation: Installation, authority: LedgerAuthority, action: ContainmentAction, *, asked: bool
) -> list[LedgerEntry]:
    """Rule 1; returns the effects of others that come back along with this one all the same."""
    photo = authority.before(action.effect_key)
    if photo is None or authority.outcome(action.undo_key) is not None:
        return []  # the guard says why there is nothing to give back, or gives the receipt
    closed = {entry.incident for entry in installation.store.entries(types=(EntryType.INCIDENT_CLOSED,))}
    along = []
    for other in _kept_elsewhere(installation, action):
        left = Receipt.from_bytes(installation.vault.get(other.subject["receipt"])).after
        if left == photo.state or photo.captured_at > other.at:
            continue
        before = authority.before(str(other.body["effect"]))
        same_instant = before is not None and before.state == photo.state
        if not (asked and same_instant and other.incident in closed):
            raise ContainmentError(
                f"{action.id}: expected that no other incident keeps {action.target} of {action.system} away, "
                f"found that {other.incident} does.",
                now="nothing was sent; it stays away.",
                next_step=f"first give it back there (quell undo {other.incident}), "
                f"then here (quell undo {action.incident}).",
                outcome=Outcome.NOT_DONE,
            )
        along.append(other)
    return along


def _kept_elsewhere(installation: Installation, action: ContainmentAction) -> list[LedgerEntry]:
    """What other incidents, open or closed, did to the same target and did not give back."""
    store = installation.store
    back = {str(entry.body["effect"]).partition("/")[2] for entry in store.entries(types=(EntryType.EFFECT_UNDONE,))}
    return [
        entry for entry in store.entries(types=(EntryType.EFFECT_APPLIED,))
        if entry.incident not in (None, action.incident) and str(entry.body["effect"]).partition("/")[2] not in back
        and any(
            one.id == entry.body["action"] and one.target_key == action.target_key
            for one in plan_of(installation, str(entry.incident)).actions
        )
    ]  # fmt: skip


def _tell_the_other(
    installation: Installation, writer: Pen, action: ContainmentAction, other: LedgerEntry
) -> None:  # fmt: skip
    """Its incident is closed and says that it keeps this away; from now on it does not."""
    call_people(
        installation, writer, str(other.incident), f"came-back/{other.body['effect']}/{action.undo_key}",
        {
            "action": other.body["action"], "because": f"{action.incident} gave back what this incident kept away too",
            "needed": f"{other.body['action']} works again, by {action.incident}: see that this is right, then "
                      f"quell undo {other.incident}",
            "until": UNTIL_UNDONE,
        },
        what=f"came-back/{action.undo_key}",
    )  # fmt: skip


def _call_because_it_failed(
    installation: Installation, writer: Pen, action: ContainmentAction, error: QuellError
) -> None:  # fmt: skip
    unknown = nobody_knows(installation, action.incident, action.undo_key, error)
    stands = "nobody knows whether it came back" if unknown else "it stays away"
    call_people(
        installation, writer, action.incident, f"undo-failed/{action.undo_key}/{error.problem}"[:200],
        {
            "action": action.id, "because": str(error), "until": UNTIL_UNDONE,
            "needed": f"{action.id} could not be given back, {stands}: see why, then quell undo {action.incident}",
        },
        what=f"undo-failed/{action.undo_key}", subject={"action": action.digest()},
    )  # fmt: skip


def _look_whether_it_works(installation: Installation, writer: Pen, action: ContainmentAction) -> None:
    """Rule 3. A path that is still shut is no failure of giving back: what is known of it is written, once."""
    key = f"probed/{action.undo_key}"
    if not action.probes or writer.find(key) is not None:
        return
    plan = plan_of(installation, action.incident)
    rows = [row for row in action_rows(plan, writer.entries(action.incident)) if row.action != action.id]
    shutters = [r.action for r in rows if r.status in STANDS and {*plan.action(r.action).probes} & {*action.probes}]
    elsewhere = sorted({str(entry.incident) for entry in _kept_elsewhere(installation, action)})
    deadline = monotonic() + (0 if shutters or elsewhere else action.lag_seconds + MARGIN_SECONDS)
    rounds = 1
    while True:
        seen = glance(installation, action)
        shut = [name for name, results in seen.items() if results[-1].passage is not Passage.THROUGH]
        if not shut or monotonic() > deadline:
            break
        rounds += 1
        pause(GLANCE_SECONDS)
    because = f"it works again on {', '.join(sorted(seen))}"
    if shut:
        because = f"it came back and does not work yet on {', '.join(sorted(shut))}"
        because += f"; {', '.join(shutters)} may keep it shut" if shutters else ""
        because += f"; {', '.join(elsewhere)} keeps it away too" if elsewhere else ""
    found = Looked(
        status=judge_probes(seen, 1)[0], because=because, rounds=rounds, effective_at=None,
        saw=tuple(f"{name}: {results[-1].passage}" for name, results in seen.items()),
    )  # fmt: skip
    write_probes(writer, action, found, key, {"again": True, "after": action.id, "effect": action.undo_key})
    if shut and elsewhere:
        call_people(
            installation, writer, action.incident, f"still-away/{action.undo_key}",
            {
                "action": action.id, "because": because, "until": UNTIL_REVIEWED,
                "needed": f"{action.id} was given back here and stays away, because {', '.join(elsewhere)} keeps it "
                          f"away too: give it back there, when that is right (quell undo {elsewhere[0]})",
            },
            what=f"still-away/{action.undo_key}", subject={"action": action.digest()},
        )  # fmt: skip


def verify_the_others(installation: Installation, writer: Pen, undone: ContainmentAction) -> None:
    """After something was given back: is everything else still taken away? A broad undo can undo a narrow act."""
    plan = plan_of(installation, undone.incident)
    for row in action_rows(plan, writer.entries(undone.incident)):
        if row.action == undone.id or row.status is not ContainmentStatus.EFFECTIVE:
            continue
        action = plan.action(row.action)
        key = f"probed/{action.effect_key}/after"
        if action.verb in UNDO_IMPOSSIBLE and writer.find(key) is not None:
            continue  # looked at once with the rest back; from then on a newly issued one works, rightly
        found = look(installation, action, action.lag_seconds + MARGIN_SECONDS)
        write_probes(
            writer, action, found, key if action.verb in UNDO_IMPOSSIBLE else f"{key}/{undone.undo_key}",
            {"again": True, "after": undone.id},
        )  # fmt: skip
        if found.status is not ContainmentStatus.EFFECTIVE:
            call_people(
                installation, writer, action.incident, f"no-longer/{action.effect_key}/{undone.undo_key}",
                {
                    "action": action.id, "until": [UNTIL_UNDONE, UNTIL_REVIEWED],
                    "because": f"no longer effective after {undone.id} came back: {found.because}",
                    "needed": f"{action.id} is no longer effective since {undone.id} came back: look at {action.target} "
                              f"of {action.system}, and take it away by hand where it works again",
                },
                what=f"no-longer/{action.effect_key}", subject={"action": action.digest()},
            )  # fmt: skip
