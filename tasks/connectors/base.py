"""The guard: the only place that calls an effect on an outside system.

Implementers write small private methods; what is public here is final and keeps these rules.

Rules of `perform`, in order:
1. The record is asked what is true now and the grant is checked against it. Without the right nothing is sent, and
   that somebody asked is recorded. Every digest is computed here; the active configuration must hold this very
   connection, settings included.
2. The verb is one that this connector has, the stated class is not below the verb's own, the target exists and is not
   quell's own access. All this before the grant is consumed.
3. An effect that has a receipt is not sent again; the receipt is the answer.
4. The grant is consumed by a claim: one effect, one holder.
5. The before-state is photographed and stored before anything is sent. A resumed claim keeps the first photograph: by
   now it might be the after-state. What cannot be read is not touched.
6. Already as desired: nothing is sent. An irreversible act also stops when the target is not the one photographed.
7. Right before each sending the claim must still be held, and that it is being sent is recorded.
8. A refusal means not done. An unclear answer is read back for a bounded time; only an act that may be repeated
   safely, whose before-state is still there, is sent once more; else the outcome is unknown and a person decides.
9. What the far side says is not enough: it is read back, and only the desired state makes a receipt.

Rules of `reverse`: the same, under a grant for the undo key, and
a. it needs the receipt and the photograph of the effect; an irreversible verb answers "impossible: reissue";
b. compare-and-set: the state must be what the receipt says we left (or already the photograph: then it is done).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, final

from runbooks.domain.approval import Purpose
from runbooks.domain.containment import (
    UNDO_IMPOSSIBLE,
    VERB_REVERSIBILITY,
    ContainmentAction,
    ProbeResult,
    Receipt,
    Reversibility,
    Snapshot,
    Verb,
)
from runbooks.domain.errors import (
    ContainmentError,
    EvidenceError,
    GrantRefusedError,
    Outcome,
    QuellError,
    SelfLockoutError,
    TargetMissingError,
    UndoImpossibleError,
)
from runbooks.domain.grant import Authority, Claim, Grant, GrantFacts, check_grant
from runbooks.domain.instants import Instant
from runbooks.domain.recovery import Trial, TrialKind
from runbooks.domain.value import Json, canonical
from tasks.connectors._collected import Collected
from tasks.connectors._sending import Effect, Sending
from tasks.connectors._signals import (
    Act,
    Deadline,
    Limits,
    MaybeDoneError,
    MissingError,
    NotDoneError,
    Place,
    shown_state,
)

State = dict[str, str]
T = TypeVar("T")
FINAL = ("perform", "reverse", "observe", "collect", "probe", "trial", "check")


class Connector(ABC):
    """One system that quell acts upon or reads from. Not for several threads at once: one deadline per connector."""

    verbs: ClassVar[frozenset[Verb]] = frozenset()
    """What it can take away. Empty: it only reads."""
    repeatable: ClassVar[frozenset[Verb]] = frozenset()
    """Verbs that set a state, so that sending them twice is the same as once."""
    practice_only: ClassVar[bool] = False
    """It refuses systems that are not marked practice."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        overridden = [name for name in FINAL if name in vars(cls)]
        if overridden:
            raise TypeError(f"{cls.__name__}: expected the guard's {', '.join(overridden)}, found its own")

    def __init__(self, place: Place, limits: Limits) -> None:
        self.place = place
        self.limits = limits
        self.deadline = Deadline()

    # What an implementer writes. `NotDoneError`, `MaybeDoneError` and `MissingError` say what happened.

    def _observe(self, action: ContainmentAction) -> State:
        """The state of the target now: only what the verb changes, never a secret. Raises `MissingError`."""
        raise NotImplementedError

    def _desired(self, act: Act) -> State:
        """What must hold after the act; may need the photograph (a time, an identity)."""
        raise NotImplementedError

    def _apply(self, act: Act) -> None:
        """Send the act, if the state is still `act.current`."""
        raise NotImplementedError

    def _restore(self, act: Act) -> None:
        """Send what brings `act.photo` back, if the state is still `act.current`."""
        raise NotImplementedError

    def _own_access(self, action: ContainmentAction) -> str | None:  # noqa: ARG002 - for those who need it
        """Why this would lock quell itself out, or None."""
        return None

    def _least(self, verb: Verb) -> Reversibility:
        """The lowest class that an act with this verb may state."""
        return VERB_REVERSIBILITY.get(verb, Reversibility.R3)

    def _collect(self, what: str, since: Instant, until: Instant) -> Collected:
        raise NotImplementedError

    def _probe(self, name: str, settings: Mapping[str, Json], mark: str) -> ProbeResult:
        raise NotImplementedError

    def _trial(self, name: str, settings: Mapping[str, Json], text: str, mark: str, kind: TrialKind) -> Trial:
        raise NotImplementedError

    @abstractmethod
    def _check(self) -> list[str]:
        """What is not ready, in words; empty when all is."""

    # What everybody else calls.

    @final
    def perform(self, action: ContainmentAction, grant: Grant, authority: Authority) -> Receipt:
        """Do the act once, by the rules at the head of this file."""
        self.deadline.restart(self.limits.deadline_seconds)
        self._demand_right(action, grant, authority, undoing=False)  # 1
        self._demand_fit(action)  # 2
        earlier = authority.outcome(action.effect_key)  # 3
        if earlier is not None:
            return earlier
        own = self._ask(action, lambda: self._own_access(action))  # 2
        if own is not None:
            raise SelfLockoutError(f"{self._named(action)}: {own}")
        self.read(action)
        claim = authority.claim(grant, action)  # 4
        photo = self._photograph(claim, action, action.effect_key, authority)  # 5
        desired = self._attempt(
            claim, action, authority, lambda: self._desired(Act(action, photo, photo.state, action.effect_key))
        )
        effect = Effect(
            key=action.effect_key,
            photo=photo,
            reached=lambda state: desired.items() <= state.items(),
            objection=lambda state: self._changed_since(photo, state, action),
            send=lambda state: self._apply(Act(action, photo, state, action.effect_key)),
            wanted=desired,
        )
        return Sending(self, authority, claim, action, effect).carry_out()  # 6 to 9

    @final
    def reverse(self, action: ContainmentAction, grant: Grant, authority: Authority) -> Receipt:
        """Undo the act once: put back what was photographed, by the rules at the head of this file."""
        self.deadline.restart(self.limits.deadline_seconds)
        self._demand_right(action, grant, authority, undoing=True)  # 1
        self._demand_fit(action)  # 2
        if action.verb in UNDO_IMPOSSIBLE or action.reversibility is Reversibility.R3:  # a
            raise UndoImpossibleError(
                f"{self._named(action)}: expected an act that can be undone, found one of class R3."
            )
        undone = authority.outcome(action.undo_key)  # 3
        if undone is not None:
            return undone
        receipt, before = authority.outcome(action.effect_key), authority.before(action.effect_key)
        if receipt is None or before is None:
            raise ContainmentError(
                f"{self._named(action)}: expected its receipt and its photograph, found "
                f"{'no receipt' if receipt is None else 'no photograph'}.",
                now="nothing was changed there by this undoing.",
                next_step="look at the target itself; where the record does not say what to restore, a person decides.",
                outcome=Outcome.NOT_DONE,
            )
        self._demand_untouched(action, self.read(action), receipt, before)  # b, before the grant is consumed
        claim = authority.claim(grant, action)  # 4
        photo = self._photograph(claim, action, action.undo_key, authority)  # 5
        effect = Effect(
            key=action.undo_key,
            photo=photo,
            reached=lambda state: state == before.state,
            objection=lambda state: self._touched(state, receipt, before),
            send=lambda state: self._restore(Act(action, before, state, action.undo_key)),
            wanted=before.state,
        )
        return Sending(self, authority, claim, action, effect).carry_out()  # 6 to 9

    @final
    def observe(self, action: ContainmentAction) -> State:
        """The state of the act's target now; reads only."""
        self.deadline.restart(self.limits.deadline_seconds)
        self._demand_verb(action)
        return self.read(action)

    @final
    def collect(self, what: str, since: Instant, until: Instant) -> Collected:
        """Evidence, item by item as received; `facts` hold after the last item. Errors midway come from the iterator."""
        self.deadline.restart(self.limits.deadline_seconds)
        subject = f"{self.place.system}: {self.place.kind} {self.place.name}: {what}"
        try:
            collected = self._collect(what, since, until)
        except NotImplementedError:
            raise self._cannot("give evidence") from None
        except (NotDoneError, MaybeDoneError, MissingError) as problem:
            raise _unreadable(subject, str(problem)) from None
        collected.guard(lambda problem: _unreadable(subject, problem))
        return collected

    @final
    def probe(self, name: str, settings: Mapping[str, Json], mark: str) -> ProbeResult:
        """One harmless look through the path that the agent uses; `mark` goes along, so that it is never counted."""
        self.deadline.restart(self.limits.deadline_seconds)
        return self._reading("probe", lambda: self._probe(name, settings, mark))

    @final
    def trial(self, name: str, settings: Mapping[str, Json], text: str, mark: str, kind: TrialKind) -> Trial:
        """One harmless replay of `text`, an attack or a benign neighbour."""
        self.deadline.restart(self.limits.deadline_seconds)
        return self._reading("try", lambda: self._trial(name, settings, text, mark, kind))

    @final
    def check(self) -> list[str]:
        """What is not ready, in words; empty when all is. Changes nothing."""
        self.deadline.restart(self.limits.deadline_seconds)
        try:
            return [f"{self.place.system}/{self.place.name}: {line}" for line in self._check()]
        except QuellError as problem:
            return [str(problem)]
        except Exception as problem:  # noqa: BLE001 - whatever is wrong, "not ready" is the answer
            return [f"{self.place.system}/{self.place.name}: not ready: {_reason(problem)}"]

    # How the guard does it.

    def read(self, action: ContainmentAction) -> State:
        """The state of the target; TargetMissingError when there is none, ContainmentError when it cannot be read."""
        return self._ask(action, lambda: self._observe(action))

    def _named(self, action: ContainmentAction) -> str:
        return f"{action.system}: {action.verb.shown} {action.target} through {self.place.name}"

    def _demand_right(self, action: ContainmentAction, grant: Grant, authority: Authority, *, undoing: bool) -> None:
        facts = authority.facts(grant, action)
        reasons = list(check_grant(grant, action, facts).reasons)
        if (grant.purpose is Purpose.CONTAIN) is undoing:
            reasons.append(f"the grant is to {grant.purpose}, not to {'undo' if undoing else 'contain'}")
        reasons += self._foreign(action, facts)
        if reasons:
            authority.refused(grant, action, tuple(reasons))
            raise GrantRefusedError(
                f"{self._named(action)}: expected a grant that covers it, found that {'; '.join(reasons)}.",
                now="nothing was sent there.",
                next_step="ask for approval of exactly this act (`quell inbox`), then run it again.",
            )

    def _foreign(self, action: ContainmentAction, facts: GrantFacts) -> list[str]:
        """Why this connector is not the one that the active configuration means."""
        mine = (self.place.system, self.place.name)
        if (action.system, action.connector) != mine:
            return [f"the act is for {action.system}/{action.connector}, this is {'/'.join(mine)}"]
        system = facts.configuration.systems.get(action.system)
        if system is None:
            return []  # check_grant said so
        connection = system.connections.get(action.connector)
        if connection is None:
            return [f"the active configuration has no connection {action.connector}"]
        if connection.kind != self.place.kind or canonical(connection.settings) != canonical(dict(self.place.stated)):
            return [f"the connection {action.connector} was opened with other settings than the active ones"]
        if self.practice_only and not system.practice:
            return [f"a {self.place.kind} connector is for practice systems only"]
        return []

    def _demand_verb(self, action: ContainmentAction) -> None:
        if action.verb not in self.verbs:
            known = ", ".join(sorted(self.verbs)) or "none, it only reads"
            raise self._nothing_sent(f"{self._named(action)}: expected one of the verbs it has ({known})")

    def _demand_fit(self, action: ContainmentAction) -> None:
        self._demand_verb(action)
        least = self._least(action.verb)
        if action.reversibility.rank < least.rank:
            raise self._nothing_sent(
                f"{self._named(action)}: expected class {least} or higher, found {action.reversibility}"
            )

    def _photograph(self, claim: Claim, action: ContainmentAction, key: str, authority: Authority) -> Snapshot:
        photo = authority.before(key)
        if photo is None:
            state = self._attempt(claim, action, authority, lambda: self._observe(action))
            photo = Snapshot(target=action.target, state=state, captured_at=self.place.now())
            authority.photographed(claim, action, photo)
        return photo

    @staticmethod
    def _changed_since(photo: Snapshot, state: State, action: ContainmentAction) -> str | None:
        if action.reversibility is Reversibility.R3 and state != photo.state:
            return f"expected what was photographed ({shown_state(photo.state)}), found {shown_state(state)}"
        return None

    @staticmethod
    def _touched(state: State, receipt: Receipt, before: Snapshot) -> str | None:
        if state in (receipt.after, before.state):
            return None
        return (
            f"expected what we left ({shown_state(receipt.after)}) or what was before ({shown_state(before.state)}), "
            f"found {shown_state(state)}: somebody else changed it"
        )

    def _demand_untouched(self, action: ContainmentAction, state: State, receipt: Receipt, before: Snapshot) -> None:
        touched = self._touched(state, receipt, before)
        if touched is not None:
            raise self._nothing_sent(f"{self._named(action)}: {touched}")

    def _ask(self, action: ContainmentAction, read: Callable[[], T]) -> T:
        """Read at the far side before anything is sent; whatever goes wrong, it is not done."""
        try:
            return read()
        except MissingError as problem:
            raise TargetMissingError(
                f"{self._named(action)}: expected an existing target, found none: {problem}.",
                next_step="compare the target's name in config/systems.toml with the system; a typing error contains nothing.",
            ) from None
        except QuellError:
            raise
        except Exception as problem:  # noqa: BLE001 - no foreign exception leaves a connector
            raise self._nothing_sent(
                f"{self._named(action)}: expected a readable target, found: {_reason(problem)}"
            ) from None

    def _attempt(self, claim: Claim, action: ContainmentAction, authority: Authority, read: Callable[[], T]) -> T:
        """Read after the claim: a failure is recorded. Under a resumed claim an earlier holder may have sent it."""
        try:
            return self._ask(action, read)
        except ContainmentError as problem:
            problem.outcome = Outcome.UNKNOWN if claim.resumed else Outcome.NOT_DONE
            if claim.resumed:
                problem.now = "unknown: an earlier attempt may have reached it, and it cannot be read."
            authority.not_done(claim, action, problem.outcome, problem.problem)
            raise

    def _reading(self, what: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except NotImplementedError:
            raise self._cannot(what) from None
        except QuellError:
            raise
        except Exception as problem:  # noqa: BLE001 - no foreign exception leaves a connector
            raise self._nothing_sent(
                f"{self.place.system}/{self.place.name}: could not {what}: {_reason(problem)}"
            ) from None

    def _cannot(self, what: str) -> ContainmentError:
        return self._nothing_sent(f"{self.place.system}/{self.place.name}: a {self.place.kind} connector cannot {what}")

    @staticmethod
    def _nothing_sent(problem: str) -> ContainmentError:
        return ContainmentError(
            f"{problem}.",
            now="nothing was changed there.",
            next_step="run `quell check`, correct what it names, and run it again.",
            outcome=Outcome.NOT_DONE,
        )


def _reason(problem: Exception) -> str:
    """Our own words are shown; of a foreign exception only its name, since its text may hold a secret."""
    return str(problem) if isinstance(problem, NotDoneError | MaybeDoneError | MissingError) else type(problem).__name__


def _unreadable(subject: str, problem: str) -> EvidenceError:
    return EvidenceError(
        f"{subject}: expected readable evidence, found: {problem}.",
        now="what was read before this is whole; the rest is not.",
        next_step="the gap is named in the manifest; mend the source and collect again.",
    )
