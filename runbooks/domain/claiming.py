"""Claims judged again: whether what the right rests on stood, and was in time, when it was used for the first time.

Of the claims under one grant the first counts: what began in time may be finished, however late. An effect that is
claimed under another grant begins anew. A claim that was not let through to its act did nothing.
1. With a request: for this act and purpose, and not expired.
2. What somebody signed to do alone: the policy still lets them, while the glass holds; giving it back when it is over.
3. Anything else is pre-authorised: the plan lets it begin, under the configuration that is still active, which covers
   it; and its signal is young enough, unless the act, or the one that it does once more, was claimed before.
   (Plans from before their instant was kept did not look at the age of signals.)
What is looked at comes up to a minute before the claim is written.
"""

from runbooks.domain.alone import Alone, why_not_alone
from runbooks.domain.approval import ApprovalRequest, Purpose
from runbooks.domain.audit import differences_of
from runbooks.domain.case import fences
from runbooks.domain.configuration import Configuration
from runbooks.domain.consent import Consent
from runbooks.domain.containment import ContainmentAction
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.past import SECONDS_BETWEEN
from runbooks.domain.planning import rule_for
from runbooks.domain.signed import BreakGlass


class Claiming(Consent, Alone):
    """Each method takes one entry and says in words what of it does not follow from what was recorded before it."""

    def _claimed(self, entry: LedgerEntry) -> list[str]:
        return super()._claimed(entry) + (self._begun(entry) if self._is_first(entry) else [])

    def _is_first(self, entry: LedgerEntry) -> bool:
        """Whether it is the first claim under its grant, and one under it was let through to the act."""
        through, grant = fences(self._entries), entry.subject["grant"]
        mine = [e for e in self._entries if e.type is EntryType.EFFECT_CLAIMED and e.subject["grant"] == grant]
        acted = any((str(e.body["effect"]), int(e.body["fence"])) in through for e in mine)
        return acted and entry.index == min(e.index for e in mine)

    def _begun(self, entry: LedgerEntry) -> list[str]:
        action, undoing = self._claimed_act(entry), str(entry.body["effect"]).startswith("undo/")
        if action is None:
            return ["expected that an act of the plan is claimed, found another one"]
        found = differences_of(("effect", entry.body["effect"], action.undo_key if undoing else action.effect_key))
        if "request" in entry.subject:
            return found + self._with_request(entry, undoing)
        signed = [e for e in self._before(entry) if e.type is EntryType.BREAK_GLASS_OPENED]
        glass = next((e for e in signed if e.subject["action"] == action.digest()), None)
        if glass is not None:
            return found + self._under_glass(entry, glass, action, undoing)
        if undoing:
            return [*found, f"expected a request or a broken glass to give {action.id} back, found neither"]
        return found + self._unasked(entry, action)

    def _claimed_act(self, entry: LedgerEntry) -> ContainmentAction | None:
        """The act of the plan, as planned or as somebody signed to do it alone."""
        plan, digest = self._plan(entry), entry.subject["action"]
        found = next((one for one in plan.actions if one.digest() == digest), None)
        if found is not None:
            return found
        broken = [e for e in self._before(entry) if e.type is EntryType.BREAK_GLASS_OPENED]
        alone = (self._act(entry, str(e.body["action"]), digest) for e in broken if e.subject["action"] == digest)
        return next((one for one in alone if one.digest() == digest), None)

    def _with_request(self, entry: LedgerEntry, undoing: bool) -> list[str]:  # 1
        request = self._get(entry, "request", ApprovalRequest)
        at = self._time_of(entry)
        late = later(at, -SECONDS_BETWEEN) > request.expires_at
        return (
            differences_of(
                ("act of its request", request.action, entry.subject["action"]),
                ("whether its request is to give back", request.purpose is not Purpose.CONTAIN, undoing),
            )
            + [f"expected a claim before its request expired at {request.expires_at}, found it at {at}"] * late
        )

    def _under_glass(
        self, entry: LedgerEntry, glass: LedgerEntry, action: ContainmentAction, undoing: bool
    ) -> list[str]:  # 2
        said, ends, at = self._get(glass, "glass", BreakGlass), str(glass.body["ends_at"]), self._time_of(entry)
        if undoing:
            early = later(at, SECONDS_BETWEEN) < ends
            return [f"expected it given back without consent only after {ends}, found it at {at}"] * early
        looked = later(at, -SECONDS_BETWEEN)
        found = [f"expected a claim while the glass holds, until {ends}, found it at {at}"] * (looked > ends)
        return found + self._unless_let(entry, looked, lambda rules: why_not_alone(rules, said, action, None))

    def _unasked(self, entry: LedgerEntry, action: ContainmentAction) -> list[str]:  # 3
        plans = [e for e in self._before(entry) if e.type is EntryType.PLAN_MADE]
        made = next((e for e in plans if action.id in e.body["preauthorised"]), None)
        if made is None:
            return [f"expected a request, a broken glass or a pre-authorisation for {action.id}, found none of them"]
        at, under, incident = self._time_of(entry), self._plan(entry).configuration, self._incident(entry)
        looked = later(at, -SECONDS_BETWEEN)
        if under not in self._active_since(entry, looked):
            return [
                f"expected the configuration active that lets {action.id} begin, {under}, found {self._active(entry)}"
            ]
        rules = self._parse(under, Configuration)
        rule = rule_for(action, incident, rules, made.body.get("planned_at"))
        if rule is None or incident.origin is None:
            return [f"expected a pre-authorisation of the active policy that covers {action.id}, found none"]
        if plans[0].body.get("planned_at") is None or self._was_claimed(entry, action):
            return []
        old = [rules.too_old(rule, incident.origin.received_at, when) for when in (at, looked)]
        return [f"the pre-authorisation {rule.id} needs a younger signal: {old[0]}"] * all(old)

    def _was_claimed(self, entry: LedgerEntry, action: ContainmentAction) -> bool:
        """Whether the act, or the one that it does once more, was claimed before."""
        keys = {one.effect_key for one in (action, action.model_copy(update={"attempt": 1}))}
        return any(e.type is EntryType.EFFECT_CLAIMED and e.body["effect"] in keys for e in self._before(entry))
