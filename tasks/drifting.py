"""The drift watch: is what was taken away still away while people are waited for? A duty of the keeper.

Rules, for each open incident whose response sleeps:
1. An act is looked at that is effective and has probes; or that the watch itself found open. What was revoked is not:
   a newly issued token works, rightly. What is being given back is not.
2. One look at each act every `drift_watch_seconds`, the first so long after it was seen here first, through the paths of
   its probes, each within its connector's deadline.
3. A look that gets through where the record says effective is written, and people are called: the status is no longer
   effective, whoever changed it. One that cannot tell says nothing new, and nothing is written.
4. What the watch found open, and now is refused on every path as often in a row as the policy wants, is effective again.
5. What happened meanwhile counts: when the response woke, or somebody gives it back, what was seen is dropped.
Nothing is written as long as nothing changes. Two watches at once write the same entry once.
"""

import time
from collections.abc import Callable

from runbooks.domain.case import ActionRow, action_rows
from runbooks.domain.containment import UNDO_IMPOSSIBLE, ContainmentAction, ContainmentStatus, Passage, judge_probes
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.situation import UNTIL_PROBED, UNTIL_REVIEWED, UNTIL_UNDONE
from tasks.announcing import call_people
from tasks.approval import plan_of
from tasks.containment import Looked, glance, look, write_probes
from tasks.glasses import standing_alone, stands
from tasks.installation import Installation
from tasks.ledger import KEEPER, clock, is_gone
from tasks.presence import lease_name

_OPEN = (ContainmentStatus.APPLIED, ContainmentStatus.PARTIAL)


class DriftWatch:
    """Remembers when it looked at what. It asks far sides, so nobody who is in a hurry may wait for it."""

    def __init__(self, installation: Installation, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._installation = installation
        self._pen = installation.pen(KEEPER)
        self._monotonic = monotonic
        self._looked: dict[str, float] = {}
        """By effect: when it was looked at last."""

    def watch(self, incident_id: str) -> None:
        """Look at every act of this incident whose turn it is, by the rules at the head of this file."""
        for row, action in self._standing(incident_id):
            found_open = row.status in _OPEN and self._was_found_open(action)  # 1
            if row.status is not ContainmentStatus.EFFECTIVE and not found_open:
                continue
            if row.verb in UNDO_IMPOSSIBLE or not action.probes or not self._is_due(action):
                continue
            if found_open:
                self._look_again(action)
            else:
                self._look(action)

    def _is_due(self, action: ContainmentAction) -> bool:  # 2
        now = self._monotonic()
        if (
            now - self._looked.setdefault(action.effect_key, now)
            < self._installation.settings.limits.drift_watch_seconds
        ):
            return False
        self._looked[action.effect_key] = now
        return True

    def _look(self, action: ContainmentAction) -> None:  # 3
        seen = glance(self._installation, action)
        through = sorted(name for name, results in seen.items() if results[-1].passage is Passage.THROUGH)
        if not through:
            return
        found = Looked(
            status=judge_probes(seen, 1)[0], rounds=1, effective_at=None,
            because=f"gets through again on {', '.join(through)}, though quell did not give it back",
            saw=tuple(f"{name}: {results[-1].passage}" for name, results in seen.items()),
        )  # fmt: skip
        if self._write(action, found, (ContainmentStatus.EFFECTIVE,)):
            self._call(action)

    def _look_again(self, action: ContainmentAction) -> None:  # 4
        found = look(self._installation, action, 0)
        if found.status is ContainmentStatus.EFFECTIVE:
            self._write(action, found, _OPEN)
        else:
            self._call(action)  # the same call: who could not be told is told now

    def _call(self, action: ContainmentAction) -> None:
        seconds = self._installation.settings.limits.drift_watch_seconds
        call = f"drifted/{action.effect_key}/{len(self._watched(action))}"
        call_people(
            self._installation, self._pen, action.incident, call,
            {
                "action": action.id, "because": f"{action.id} gets through again, though quell did not give it back",
                "needed": f"{action.id} was taken away and works again, though quell did not give it back: see who "
                          f"turned it on, and turn it off there; quell looks again every {seconds} s",
                "until": [UNTIL_PROBED, UNTIL_UNDONE, UNTIL_REVIEWED],
            },
            what=call, subject={"action": action.digest()},
        )  # fmt: skip

    def _write(self, action: ContainmentAction, found: Looked, stood: tuple[ContainmentStatus, ...]) -> bool:  # 5
        """Write what was seen, if the act still stands as it did before the look; whether it was written."""
        now = {standing.effect_key: row.status for row, standing in self._standing(action.incident)}
        if now.get(action.effect_key) not in stood:
            return False
        key = f"watched/{action.effect_key}/{len(self._watched(action)) + 1}"
        write_probes(self._pen, action, found, key, {"again": True, "watched": True})
        return True

    def _standing(self, incident_id: str) -> list[tuple[ActionRow, ContainmentAction]]:
        """Acts whose effect stands, without those that are being given back; none while a run responds, or before a plan."""
        store = self._installation.store
        entries = store.entries(incident_id)
        kinds = {entry.type for entry in entries}
        lease = store.lease_of(lease_name(incident_id))
        awake = lease is not None and lease.lease_until > clock() and not is_gone(lease.holder)
        if awake or EntryType.PLAN_MADE not in kinds or EntryType.INCIDENT_CLOSED in kinds:
            return []
        plan = plan_of(self._installation, incident_id)
        found = ((row, self._effect(plan.action(row.action))) for row in action_rows(plan, entries))
        return [(row, action) for row, action in found if action is not None and not self._comes_back(action)]

    def _effect(self, action: ContainmentAction) -> ContainmentAction | None:
        """The act itself, or the same as somebody did it alone; None when neither stands."""
        return action if stands(self._installation, action) else standing_alone(self._installation, action)

    def _comes_back(self, action: ContainmentAction) -> bool:
        claim = self._installation.store.claim_of(action.undo_key)
        return claim is not None and claim.lease_until > clock() and not is_gone(claim.holder)

    def _watched(self, action: ContainmentAction) -> list[LedgerEntry]:
        entries = self._pen.entries(action.incident, types=(EntryType.PROBES_JUDGED,))
        return [e for e in entries if e.body.get("watched") and e.body["effect"] == action.effect_key]

    def _was_found_open(self, action: ContainmentAction) -> bool:
        """Whether it was this watch that saw it open last."""
        found = self._watched(action)
        return bool(found) and found[-1].body["status"] != ContainmentStatus.EFFECTIVE
