"""Requests judged again: what was asked of whom, how it stood when that was written, and when the act was claimed."""

from runbooks.domain.approval import (
    MORE_FOR_UNPROVEN,
    ApprovalRequest,
    Decision,
    Proof,
    Purpose,
    RequestVerdict,
    Standing,
    Statement,
    also_barred,
    barred_by,
)
from runbooks.domain.audit import differences_of
from runbooks.domain.case import acted_at, fences
from runbooks.domain.configuration import Configuration
from runbooks.domain.effects import is_not_done
from runbooks.domain.instants import Instant, later
from runbooks.domain.judging import judge_request
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.past import SECONDS_BETWEEN, Past
from runbooks.domain.rejudging import request_again
from runbooks.domain.voices import who_disabled


class Consent(Past):
    """Each method takes one entry and says in words what of it does not follow from what was recorded before it."""

    def _requested(self, entry: LedgerEntry) -> list[str]:
        request, plan = self._get(entry, "request", ApprovalRequest), self._plan(entry)
        action, incident = self._act(entry, request.step, request.action), self._incident(entry)
        known = self._active_since(entry, max(request.asked_at, later(entry.at, -SECONDS_BETWEEN)))
        under = request.configuration if request.configuration in known else self._active(entry)
        configuration = self._parse(under, Configuration)
        right = configuration.right_for(
            purpose=request.purpose, verb=action.verb, reversibility=action.reversibility,
            severity=incident.severity.severity, system=action.system,
        )  # fmt: skip
        if right is None:
            return ["expected a decision right that covers it, found none: nobody could have been asked"]
        barred = barred_by(right, configuration, action.system)
        if request.by_hand and request.requester != incident.requester:
            barred |= also_barred(
                incident.requester.name, configuration, self._parse(plan.configuration, Configuration)
            )
        pins = [
            (under, configuration.runbooks.get(incident.archetype, plan.runbook)),
            (plan.configuration, plan.runbook),
        ]
        pinned = (request.configuration, request.runbook)  # the plan's: requests of before 2026-11-28
        said = (action.verb, action.system, incident.severity.severity)
        known_at = max([entry.at, *(e.at for e in [*self._house, *self._entries] if e.index < entry.index)])
        return request_again(known_at, request, right, self._disabled(entry, request)) + differences_of(
            ("act", request.action, action.digest()), ("roles", request.roles, right.roles),
            ("people", request.people, right.people + (0 if request.requester.proven else MORE_FOR_UNPROVEN)),
            ("proofs", request.proofs, right.proofs),
            ("requester", request.requester, request.requester if request.by_hand else incident.requester),
            ("who never counts", request.excluded, tuple(sorted(barred))),
            ("verb, system and severity", (request.verb, request.system, request.severity) if request.says_its_act else said, said),
            ("seal", request.manifest, plan.manifest),
            ("configuration and runbook", pinned, pinned if pinned in pins else pins[0]),
            ("reversibility", request.reversibility, action.reversibility), ("drill mark", request.drill, incident.drill),
        )  # fmt: skip

    def _disabled(self, entry: LedgerEntry, request: ApprovalRequest) -> set[str]:
        """Whose word had taken something away before this was asked; of old requests only those who consented."""
        before = self._before(entry)
        if request.says_its_act:
            return who_disabled(
                before, lambda one: self._get(one, "request", ApprovalRequest),
                lambda digest: self._parse(digest, Configuration),
            )  # fmt: skip
        granted = [e for e in before if e.type is EntryType.REQUEST_GRANTED and e.body["purpose"] == Purpose.CONTAIN]
        return {str(name) for one in granted for name in one.body["approvers"]}

    def _settled(self, entry: LedgerEntry) -> list[str]:
        """As it stood when this was judged; from the decisions that it names, and those before them."""
        seen = [int(index) for index in entry.body["decisions"]] or [entry.index]
        now = str(entry.body.get("judged_at") or entry.at)
        # A denial names only itself; whoever approved after it, and before it was written down, counted beside it.
        readings = [max(seen), entry.index] if entry.type is EntryType.REQUEST_DENIED else [max(seen)]
        found = [self._settled_at(entry, self._stood(entry, now, until=until)) for until in readings]
        return next((one for one in found if not one), found[0])

    def _settled_at(self, entry: LedgerEntry, verdict: RequestVerdict) -> list[str]:
        return differences_of(
            ("standing", entry.type.removeprefix("request_"), verdict.standing),
            ("people who counted", entry.body["approvers"], list(verdict.approvers)),
            ("decisions that counted", entry.body["decisions"], list(verdict.entries)),
        )  # fmt: skip

    def _claimed(self, entry: LedgerEntry) -> list[str]:
        """Whoever was let through to the act had a request that stood granted in the instant of the claim."""
        fence, wrong = (str(entry.body["effect"]), int(entry.body["fence"])), self._taken_over(entry)
        if "request" not in entry.subject or fence not in fences(e for e in self._entries if e.index > entry.index):
            return wrong
        now = max(e.at for e in self._entries if e.index <= entry.index)
        verdict = self._stood(entry, now, until=entry.index)
        if verdict.standing is Standing.GRANTED:
            return wrong
        return [
            *wrong,
            f"expected a request that stands granted when its act is claimed, found {verdict.standing}: {verdict.because}",
        ]

    def _taken_over(self, entry: LedgerEntry) -> list[str]:
        """Another right claims an effect only when nothing can have come of it under the one that claimed it before."""
        before, effect = self._before(entry), str(entry.body["effect"])
        claims = [e for e in before if e.type is EntryType.EFFECT_CLAIMED and e.body["effect"] == effect]
        if not claims or claims[-1].subject["grant"] == entry.subject["grant"]:
            return []
        fence = int(claims[-1].body["fence"])
        if is_not_done(before, effect, fence, dead=True):  # nobody can tell by now who was alive
            return []
        return [f"expected that nothing came of {effect} before another right claims it; it may have been done"]

    def _stood(self, entry: LedgerEntry, now: Instant, *, until: int) -> RequestVerdict:
        """The verdict on the entry's request at this time, from the decisions up to and including the entry `until`."""
        request, before = self._get(entry, "request", ApprovalRequest), self._before(entry)
        mine = [e for e in before if e.subject.get("request") == entry.subject["request"]]
        decisions = tuple(
            Decision(statement=Statement.model_validate(e.body["statement"]), proof=Proof.model_validate(e.body["proof"]),
                     at=max(e.at, str(e.body.get("arrived_at") or "")), entry=e.index,
                     unsigned=self._unsigned.get(e.index, ""))
            for e in mine if e.type is EntryType.DECISION_RECORDED and e.index <= until
        )  # fmt: skip
        claims = [e for e in mine if e.type is EntryType.EFFECT_CLAIMED]
        pinned = self._parse(request.configuration, Configuration)
        return judge_request(
            request, decisions, pinned=pinned, active=self._parse(self._active(entry), Configuration),
            keys=self._fingerprints(pinned), now=now, claimed=min((e.index for e in claims), default=None),
            acted_at=acted_at(claims, fences(before)),
        )  # fmt: skip
