"""What one person takes upon themselves, judged again: acting before the seal, and acting without anybody's consent.

1. A waiver: by somebody who may waive by the policy that was active then, of this incident, before its seal. (A seal of
   the same minute is passed over: whoever waived had looked before it stood. A waiver after the seal changes nothing.)
2. A broken glass: for one act of the plan, as its person signed it, of somebody whom the policy that was active then
   lets do this alone for so many minutes; it ends when these are over.
3. Its end: of a glass that was broken, not before its time; what is said to be given back was given back.
"""

from runbooks.domain.audit import differences_of
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.past import SECONDS_BETWEEN, Past
from runbooks.domain.signed import BreakGlass, Waiver
from runbooks.domain.voices import valid_objection
from runbooks.domain.waiving import why_not_waive


class Alone(Past):
    """Each method takes one entry and says in words what of it does not follow from what was recorded before it."""

    def _waived(self, entry: LedgerEntry) -> list[str]:
        said, looked = self._get(entry, "waiver", Waiver), later(entry.at, -SECONDS_BETWEEN)
        found = self._unless_let(entry, looked, lambda rules: why_not_waive(rules, said.person, entry.at))
        return found + self._over(entry, EntryType.EVIDENCE_SEALED, EntryType.INCIDENT_CLOSED) + differences_of(
            ("incident that was waived", said.incident, entry.incident), ("who waived", entry.actor.name, said.person),
        )  # fmt: skip

    def _glass(self, entry: LedgerEntry) -> list[str]:
        said, opened = self._get(entry, "glass", BreakGlass), str(entry.body["opened_at"])
        action, known_at = self._as_signed(entry, said), max(e.at for e in self._entries if e.index <= entry.index)
        if action is None:
            return [f"expected that {said.person} signed an act of the plan, found another one"]
        looked = later(entry.at, -SECONDS_BETWEEN)
        found = self._unless_let(entry, looked, lambda rules: why_not_alone(rules, said, action, entry.at))
        under = self._active_since(entry, looked)
        return found + self._over(entry, EntryType.INCIDENT_CLOSED) + differences_of(
            ("incident of the broken glass", said.incident, entry.incident),
            ("who broke the glass", entry.actor.name, said.person), ("its person", entry.body["person"], said.person),
            ("its act", entry.subject["action"], said.action),
            ("its configuration", said.configuration, said.configuration if said.configuration in under else under[0]),
            ("when it was broken", opened, min(opened, later(known_at, SECONDS_BETWEEN))),
            ("its end", entry.body["ends_at"], later(opened, 60 * said.minutes)),
        )  # fmt: skip

    def _glass_ended(self, entry: LedgerEntry) -> list[str]:
        before, glass = self._before(entry), entry.subject["glass"]
        opened = [e for e in before if e.type is EntryType.BREAK_GLASS_OPENED and e.subject["glass"] == glass]
        if not opened:
            return ["expected a glass that was broken before it ended, found none"]
        ends, at = str(opened[0].body["ends_at"]), max(self._time_of(entry), str(entry.body.get("tried_at") or ""))
        found = differences_of(("its act", entry.body["action"], opened[0].body["action"]))
        if at < ends:
            found.append(f"expected the glass to hold until {ends}, found its end at {at}")
        back = [
            e
            for e in before
            if e.type is EntryType.EFFECT_UNDONE and e.subject["action"] == opened[0].subject["action"]
        ]
        if entry.body["outcome"] == "undone" and not back:
            found.append(f"expected {entry.body['action']} given back before that is said, found nothing")
        return found

    def _as_signed(self, entry: LedgerEntry, said: BreakGlass) -> ContainmentAction | None:
        """The act of the plan as this person signed to do it alone."""
        planned = self._plan(entry).action(said.step)
        broken = [
            e for e in self._before(entry) if e.type is EntryType.BREAK_GLASS_OPENED and e.body["action"] == said.step
        ]
        turns = (planned.alone(turn) for turn in range(1, len(broken) + 2))
        return next((one for one in turns if one.digest() == said.action), None)

    def _over(self, entry: LedgerEntry, *kinds: EntryType) -> list[str]:
        """What was over a minute and more before, so that nobody could begin this any more."""
        looked = later(entry.at, -SECONDS_BETWEEN)
        found = next((e for e in self._before(entry) if e.type in kinds and e.at < looked), None)
        return (
            [f"expected it before {found.type.replace('_', ' ')}, found that in entry {found.index}"] if found else []
        )


def why_not_alone(rules: Configuration, said: BreakGlass, action: ContainmentAction, at: Instant | None) -> str:
    """Why these rules do not let this person do this act alone for so long; empty when they do.

    `at`: when the person must be valid; None: whenever.
    """
    person = rules.people.get(said.person)
    problem = valid_objection(person, said.person, at, "then") if at is not None else None
    if problem is not None:
        return problem
    rule = rules.break_glass_for(
        roles=person.roles if person else (), verb=action.verb, reversibility=action.reversibility, system=action.system
    )
    if rule is None:
        return f"the active policy lets nobody in the roles of {said.person} do {action.verb.shown} on {action.system} alone"
    return (
        "" if said.minutes <= rule.max_minutes else f"expected at most {rule.max_minutes} minutes, found {said.minutes}"
    )
