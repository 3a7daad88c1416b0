"""Replaying an incident from its entries: every judgement is made again from the recorded inputs and compared.

Nothing is believed but the inputs: the report as it arrived, the configuration and runbook versions that were pinned,
the sealed manifest, the decisions, what probes and trials saw. What the record says came of them must come of them
again. An input that was withheld makes a step "not recomputed", never "agrees".
"""

from collections.abc import Callable, Iterator

from runbooks.domain.approval import Purpose
from runbooks.domain.audit import differences_of, told
from runbooks.domain.case import ContainmentVerdict, action_rows, judge_containment, judge_ending
from runbooks.domain.claiming import Claiming
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction, Plan
from runbooks.domain.errors import QuellError
from runbooks.domain.evidence import Manifest
from runbooks.domain.incident import Incident, Report
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.past import WithheldError
from runbooks.domain.planning import alternatives_to, make_plan
from runbooks.domain.recovery import RecoveryVerdict, Trial, judge_recovery
from runbooks.domain.rejudging import (
    classified_again,
    established_again,
    led_again,
    probed_again,
    raised_again,
    seal_again,
)
from runbooks.domain.replayed import Outcome, Step
from runbooks.domain.runbook import Runbook
from runbooks.domain.severity import judge_severity
from runbooks.domain.value import Value

__all__ = ["Outcome", "Replay", "Step", "WithheldError"]

UNFIT = (
    ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, StopIteration, QuellError,
)  # fmt: skip
"""What a judgement may raise on inputs that no writer of quell's wrote."""


class Replay(Claiming):
    """`read` gives an object by its digest, or None; `fingerprints` the key lines of a configuration by fingerprint."""

    def steps(self) -> Iterator[Step]:
        """Every entry in order, with what came of judging it again."""
        again: dict[EntryType, Callable[[LedgerEntry], list[str]]] = {
            EntryType.INCIDENT_OPENED: self._opened, EntryType.EVIDENCE_SEALED: self._sealed,
            EntryType.PLAN_MADE: self._planned, EntryType.APPROVAL_REQUESTED: self._requested,
            EntryType.REQUEST_GRANTED: self._settled, EntryType.REQUEST_DENIED: self._settled,
            EntryType.REQUEST_EXPIRED: self._settled, EntryType.EFFECT_CLAIMED: self._claimed,
            EntryType.EFFECT_SENDING: self._sending, EntryType.EVIDENCE_WAIVED: self._waived,
            EntryType.BREAK_GLASS_OPENED: self._glass, EntryType.BREAK_GLASS_ENDED: self._glass_ended,
            EntryType.EFFECT_APPLIED: self._applied, EntryType.PROBES_JUDGED: self._probed,
            EntryType.CONTAINMENT_JUDGED: self._contained, EntryType.RECOVERY_JUDGED: self._recovered,
            EntryType.INCIDENT_CLOSED: self._closed, EntryType.SEVERITY_CHANGED: self._raised,
            EntryType.INCIDENT_RECLASSIFIED: self._classified,
            EntryType.LEAD_CHANGED: self._led, EntryType.CAUSE_ESTABLISHED: self._established,
        }  # fmt: skip
        for entry in self._entries:
            judge = again.get(entry.type)
            base = {"entry": entry.index, "at": entry.at, "type": entry.type, "what": told(entry)}
            if judge is None:
                yield Step(**base, outcome=Outcome.TOLD)
                continue
            try:
                differences = judge(entry)
                yield Step(
                    **base, outcome=Outcome.DIFFERS if differences else Outcome.AGREES, differences=tuple(differences)
                )
            except WithheldError as error:
                yield Step(**base, outcome=Outcome.WITHHELD, differences=(str(error),))
            except UNFIT as error:
                yield Step(
                    **base, outcome=Outcome.DIFFERS,
                    differences=(f"its inputs are not of the form that they should have ({type(error).__name__})",),
                )  # fmt: skip

    def _opened(self, entry: LedgerEntry) -> list[str]:
        incident, report = self._get(entry, "incident", Incident), self._get(entry, "report", Report)
        again = judge_severity(report.factors, frozenset(report.floors))
        by_signals = incident.origin is not None or incident.storm == incident.id
        if by_signals and incident.severity.severity.rank < again.severity.rank:
            again = (
                incident.severity
            )  # the sender, or a storm's first, made it worse; never milder, and no report says so
        return differences_of(
            ("severity", incident.severity.severity, again.severity), ("its reasons", incident.severity, again),
            ("severity in the entry", entry.body["severity"], again.severity),
            ("archetype", entry.body["archetype"], incident.archetype), ("system", report.system, incident.system),
            ("drill mark", entry.body["drill"], incident.drill), ("report", incident.report, entry.subject["report"]),
        )  # fmt: skip

    def _classified(self, entry: LedgerEntry) -> list[str]:
        return classified_again(entry, self._incident(entry), self._get(entry, "incident", Incident))

    def _led(self, entry: LedgerEntry) -> list[str]:
        rules = self._parse(self._active(entry), Configuration)
        return led_again(entry, rules, self._incident(entry), self._get(entry, "incident", Incident))

    def _established(self, entry: LedgerEntry) -> list[str]:
        return established_again(entry, self._incident(entry), self._get(entry, "incident", Incident))

    def _raised(self, entry: LedgerEntry) -> list[str]:
        return raised_again(entry, self._incident(entry), self._get(entry, "incident", Incident))

    def _sealed(self, entry: LedgerEntry) -> list[str]:
        manifest = self._get(entry, "manifest", Manifest)
        sealings = [e for e in self._before(entry) if e.type is EntryType.COLLECTION_SEALED]
        sealed = {e.subject["collection"] for e in sealings}
        cut = {e.subject["collection"] for e in sealings if e.body["failure"]}
        listed = {collection.digest() for collection in manifest.collections}
        wanted = [self._parse(book, Runbook).evidence for book in self._books(entry)]
        return seal_again(manifest, wanted, cut) + differences_of(
            ("incident", manifest.incident, entry.incident), ("items", entry.body["items"], manifest.items),
            ("bytes", entry.body["bytes"], manifest.bytes),
            ("collections that were sealed", sorted(sealed), sorted(listed)),
            ("required classes", manifest.required, tuple(s.evidence_class for s in manifest.standings)),
            ("captured classes without a collection", [], [
                s.evidence_class for s in manifest.standings if s.captured != "unavailable" and not s.collections
            ]),
        )  # fmt: skip

    def _planned(self, entry: LedgerEntry) -> list[str]:
        plan = self._get(entry, "plan", Plan)
        earlier = [e for e in self._before(entry) if e.type is EntryType.PLAN_MADE]
        if earlier:
            before = self._get(earlier[-1], "plan", Plan)
            kept = plan.actions[: len(before.actions)]
            added = plan.actions[len(before.actions) :]
            instead = self._instead(entry, before)
            again = [a for a in added if a.attempt > 1 and any(a.does(b) for b in before.actions)]
            strangers = [a.id for a in added if a not in again and a not in instead]
            return differences_of(
                ("acts that were planned before", before.actions, kept),
                ("acts that nothing before planned", [], strangers),
            )
        made = make_plan(
            self._incident(entry), self._parse(plan.runbook, Runbook), self._parse(plan.configuration, Configuration),
            manifest=self._subject_before(entry, EntryType.EVIDENCE_SEALED, "manifest"), waiver=plan.waiver,
            spent=frozenset(entry.body.get("spent", ())), at=(at := entry.body.get("planned_at")),
        )  # fmt: skip
        grounds = [e for e in self._before(entry) if e.type in (EntryType.EVIDENCE_SEALED, EntryType.EVIDENCE_WAIVED)]
        return differences_of(
            ("seal or waiver that came after it", [], [e.index for e in grounds[:1] if at and e.at > at]),
            ("configuration", plan.configuration, self._active(entry)), ("acts", plan.actions, made.actions),
            ("pre-authorised acts", plan.preauthorised, made.preauthorised), ("refusals", plan.refused, made.refused),
            ("the whole plan", plan, made),
        )  # fmt: skip

    def _instead(self, entry: LedgerEntry, plan: Plan) -> list[ContainmentAction]:
        """What the runbook names instead of the acts that people denied before this entry."""
        denied = [e for e in self._before(entry) if e.type is EntryType.REQUEST_DENIED]
        names = {str(e.body["action"]) for e in denied if e.body["purpose"] == Purpose.CONTAIN}
        book, rules = self._parse(plan.runbook, Runbook), self._parse(plan.configuration, Configuration)
        found = (alternatives_to(plan.action(name), plan, self._incident(entry), book, rules) for name in names)
        return [action for pairs in found for action, _ in pairs]

    def _sending(self, entry: LedgerEntry) -> list[str]:
        """Seal first, consent first, photograph first."""
        before, action, effect = self._before(entry), entry.body["action"], entry.body["effect"]
        kinds = {e.type for e in before}
        found = []
        if not kinds & {EntryType.EVIDENCE_SEALED, EntryType.EVIDENCE_WAIVED}:
            found.append("expected the evidence sealed (or waived) before anything is sent, found neither")
        granted = [e for e in before if e.type is EntryType.REQUEST_GRANTED and e.body["action"] == action]
        undoing = str(effect).startswith("undo/")
        granted = [e for e in granted if (e.body["purpose"] != "contain") is undoing]
        alone = any(e.type == "break_glass_opened" and e.body.get("action") == action for e in before)
        if not granted and not alone and (undoing or action not in self._plan(entry).preauthorised):
            found.append(f"expected consent or a pre-authorisation for {action} before it is sent, found neither")
        if not any(e.type is EntryType.BEFORE_CAPTURED and e.body["effect"] == effect for e in before):
            found.append(f"expected a photograph of {action} before it is sent, found none")
        if not any(e.type is EntryType.EFFECT_CLAIMED and e.body["effect"] == effect for e in before):
            found.append(f"expected the right to {action} consumed before it is sent, found nothing")
        return found

    def _applied(self, entry: LedgerEntry) -> list[str]:
        twice = [e for e in self._before(entry) if e.type is entry.type and e.body["effect"] == entry.body["effect"]]
        found = ["expected exactly one effect under its key, found a second one"] if twice else []
        wanted = self._act(entry, str(entry.body["action"]), entry.subject["action"])
        return found + differences_of(("act", entry.subject["action"], wanted.digest()))

    def _probed(self, entry: LedgerEntry) -> list[str]:
        return probed_again(entry, self._before(entry))

    def _contained(self, entry: LedgerEntry) -> list[str]:
        again = judge_containment(action_rows(self._plan(entry), self._before(entry)))
        return differences_of(("verdict", ContainmentVerdict.model_validate(entry.body["verdict"]), again))

    def _recovered(self, entry: LedgerEntry) -> list[str]:
        recorded, incident = RecoveryVerdict.model_validate(entry.body["verdict"]), self._incident(entry)
        configuration = self._parse(self._active(entry), Configuration)
        book = {str(k): v for k, v in configuration.runbooks.items()}[incident.archetype]
        bar = configuration.policy.bars.get(incident.severity.severity) or self._parse(book, Runbook).recovery.bar
        made = self._subject_before(entry, EntryType.TRIALS_MADE, "trials")
        trials: tuple[Trial, ...] = self._parse(made, _Trials).trials if made else ()
        again = judge_recovery(incident.id, trials, bar, recorded.judged_at)
        return differences_of(
            ("bar", recorded.bar, bar), ("trials", recorded.trials, again.trials), ("hits", recorded.hits, again.hits),
            ("unclear", recorded.unclear, again.unclear), ("bound", recorded.upper_bound_percent, again.upper_bound_percent),
            ("whether the fix holds", recorded.passed, again.passed), ("in the entry", entry.body["passed"], again.passed),
            ("reasons", recorded.reasons[len(recorded.reasons) - len(again.reasons) :], again.reasons),
        )  # fmt: skip

    def _closed(self, entry: LedgerEntry) -> list[str]:
        if not any(e.type is EntryType.PLAN_MADE for e in self._before(entry)):
            return []
        rows = action_rows(self._plan(entry), self._before(entry))
        again = judge_ending(self._incident(entry).near_miss, rows, self._before(entry))
        return differences_of(("ending", entry.body["ending"], again))


class _Trials(Value):
    """As kept in the vault."""

    incident: str
    trials: tuple[Trial, ...]
