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
6. Already as desired: nothing is sent, unless the sight may have another cause (a token of a blocked client looks
   revoked, and comes back to life with the client). An irreversible act stops when the target is not the one
   photographed.
7. Right before each sending the claim must still be held, and that it is being sent is recorded.
8. A refusal means not done. An unclear answer is read back for a bounded time; only an act that may be repeated
   safely, whose before-state is still there, is sent once more; else the outcome is unknown and a person decides.
   So it stays for whoever claims it next: what may not be repeated, was sent and was not refused, is only read back.
9. What the far side says is not enough: it is read back, and only the desired state makes a receipt.

Rules of `reverse`: the same, under a grant for the undo key, and
a. it needs the receipt and the photograph of the effect; an irreversible verb answers "impossible: reissue";
b. compare-and-set: the state must be what the receipt says we left (or already the photograph: then it is done).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, final

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
from runbooks.domain.errors import ContainmentError, Outcome, QuellError, SelfLockoutError, UndoImpossibleError
from runbooks.domain.grant import Authority, Claim, Grant
from runbooks.domain.instants import Instant
from runbooks.domain.recovery import Trial, TrialKind
from runbooks.domain.value import Json
from tasks.connectors._collected import Collected
from tasks.connectors._right import ask, demand_right, named, nothing_sent, unreadable
from tasks.connectors._sending import Effect, Sending
from tasks.connectors._signals import Act, Deadline, Limits, NotDoneError, Place, SignalError, contained, shown_state

State = dict[str, str]
T = TypeVar("T")
FINAL = ("perform", "reverse", "observe", "collect", "give_up", "probe", "trial", "check", "read")


class Connector(ABC):
    """One system that quell acts upon or reads from. Not for several threads at once: one deadline per connector."""

    verbs: ClassVar[frozenset[Verb]] = frozenset()
    """What it can take away. Empty: it only reads."""
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

    # What an implementer writes. Failures are told by NotDoneError, MaybeDoneError and MissingError.

    def _observe(self, action: ContainmentAction) -> State:
        """The state of the target now: only what the verb changes, never a secret. Raises MissingError."""
        raise NotDoneError(f"a {self.place.kind} connector cannot {action.verb.shown}")

    def _desired(self, act: Act) -> State:
        """What must hold after the act; may need the photograph (a time, an identity)."""
        raise NotDoneError(f"a {self.place.kind} connector cannot {act.action.verb.shown}")

    def _apply(self, act: Act) -> None:
        """Send the act, if the state is still `act.current`."""
        raise NotDoneError(f"a {self.place.kind} connector cannot {act.action.verb.shown}")

    def _restore(self, act: Act) -> None:
        """Send what brings `act.photo` back, if the state is still `act.current`."""
        raise NotDoneError(f"a {self.place.kind} connector cannot undo {act.action.verb.shown}")

    def _own_access(self, action: ContainmentAction) -> str | None:  # noqa: ARG002 - for those who need it
        """Why this would lock quell itself out, or None."""
        return None

    def _least(self, verb: Verb) -> Reversibility:
        """The lowest class that an act with this verb may state."""
        return VERB_REVERSIBILITY.get(verb, Reversibility.R3)

    def _repeatable(self, verb: Verb) -> bool:
        """Whether sending it twice is the same as once; so for everything that sets a state."""
        return verb is not Verb.CALL_HTTP

    def _conclusive(self, verb: Verb) -> bool:  # noqa: ARG002 - for those where it is not so
        """Whether the wanted state, seen before sending, can have no other cause than this effect."""
        return True

    def _collect(self, what: str, since: Instant, until: Instant) -> Collected:
        """Raw items of `what`, from since to until, both included."""
        raise NotDoneError(f"a {self.place.kind} connector gives no evidence: {what}, {since} to {until}")

    def _probe(self, name: str, settings: Mapping[str, Json], mark: str) -> ProbeResult:
        """One look; `settings` are those of the probe."""
        raise NotDoneError(f"a {self.place.kind} connector cannot probe: {name}, {len(settings)} settings, {mark}")

    def _trial(self, name: str, settings: Mapping[str, Json], text: str, mark: str, kind: TrialKind) -> Trial:
        """One replay; `settings` are those of the trial."""
        raise NotDoneError(
            f"a {self.place.kind} connector cannot try: {name}, {kind}, {len(text + mark + str(settings))}"
        )

    @abstractmethod
    def _check(self) -> list[str]:
        """What is not ready, in words; empty when all is."""

    # What everybody else calls.

    @final
    def perform(self, action: ContainmentAction, grant: Grant, authority: Authority) -> Receipt:
        """Do the act once, by the rules at the head of this file."""
        self._begin(action, grant, authority, undoing=False)  # 1, 2
        earlier = authority.outcome(action.effect_key)  # 3
        if earlier is not None:
            return earlier
        own = ask(action, lambda: self._own_access(action))  # 2
        if own is not None:
            raise SelfLockoutError(f"{named(action)}: {own}")
        self.read(action)
        claim = authority.claim(grant, action)  # 4
        photo = self._photograph(claim, action, action.effect_key, authority)  # 5
        first = Act(action, photo, photo.state, action.effect_key)
        desired = self._attempt(claim, action, authority, lambda: self._desired(first))
        irreversible = action.reversibility is Reversibility.R3
        effect = Effect(
            key=action.effect_key,
            photo=photo,
            wanted=desired,
            repeatable=self._repeatable(action.verb),
            reached=lambda state: desired.items() <= state.items(),
            objection=lambda state: _not_as_photographed(photo, state, desired) if irreversible else None,
            send=lambda state: self._apply(Act(action, photo, state, action.effect_key)),
            conclusive=self._conclusive(action.verb),
        )
        return Sending(self, authority, claim, action, effect).carry_out()  # 6 to 9

    @final
    def reverse(self, action: ContainmentAction, grant: Grant, authority: Authority) -> Receipt:
        """Undo the act once: put back what was photographed, by the rules at the head of this file."""
        self._begin(action, grant, authority, undoing=True)  # 1, 2
        if action.verb in UNDO_IMPOSSIBLE or action.reversibility is Reversibility.R3:  # a
            raise UndoImpossibleError(f"{named(action)}: expected an act that can be undone, found one of class R3.")
        undone = authority.outcome(action.undo_key)  # 3
        if undone is not None:
            return undone
        receipt, before = authority.outcome(action.effect_key), authority.before(action.effect_key)
        if receipt is None or before is None:  # a
            missing = "no receipt" if receipt is None else "no photograph"
            raise nothing_sent(f"{named(action)}: expected the effect's receipt and photograph, found {missing}")
        touched = _touched(self.read(action), receipt, before)  # b, before the grant is consumed
        if touched is not None:
            raise nothing_sent(f"{named(action)}: {touched}")
        claim = authority.claim(grant, action)  # 4
        effect = Effect(
            key=action.undo_key,
            photo=self._photograph(claim, action, action.undo_key, authority),  # 5
            wanted=before.state,
            repeatable=self._repeatable(action.verb),
            reached=lambda state: state == before.state,
            objection=lambda state: _touched(state, receipt, before),  # b
            send=lambda state: self._restore(Act(action, before, state, action.undo_key)),
        )
        return Sending(self, authority, claim, action, effect).carry_out()  # 6 to 9

    @final
    def observe(self, action: ContainmentAction) -> State:
        """The state of the act's target now; reads only."""
        self.deadline.restart(self.limits.deadline_seconds)
        return self.read(action)

    @final
    def read(self, action: ContainmentAction) -> State:
        """The same within a running deadline. TargetMissingError when there is no target, else ContainmentError."""
        return ask(action, lambda: self._observe(action))

    @final
    def collect(self, what: str, since: Instant, until: Instant) -> Collected:
        """Evidence, item by item as received; its facts hold after the last. A failure midway is an EvidenceError."""
        self.deadline.restart(self.limits.deadline_seconds)
        try:
            collected = contained(lambda: self._collect(what, since, until))
        except SignalError as problem:
            raise unreadable(self.place, what, problem.reason) from None
        collected.guard(lambda problem: unreadable(self.place, what, problem))
        return collected

    @final
    def give_up(self) -> None:
        """Nobody waits any more for what is being collected; it ends at its next call or line. From any thread."""
        self.deadline.given_up = True

    @final
    def probe(self, name: str, settings: Mapping[str, Json], mark: str) -> ProbeResult:
        """One harmless look through the path that the agent uses; `mark` goes along, so that it is never counted."""
        return self._reading(f"probe {name}", lambda: self._probe(name, settings, mark))

    @final
    def trial(self, name: str, settings: Mapping[str, Json], text: str, mark: str, kind: TrialKind) -> Trial:
        """One harmless replay of `text`, an attack or a benign neighbour."""
        return self._reading(f"trial {name}", lambda: self._trial(name, settings, text, mark, kind))

    @final
    def check(self) -> list[str]:
        """What is not ready, in words; empty when all is. Changes nothing."""
        self.deadline.restart(self.limits.deadline_seconds)
        try:
            found = contained(self._check)
        except SignalError as problem:
            found = [problem.reason]
        except QuellError as problem:
            found = [str(problem)]
        return [f"{self.place.system}/{self.place.name}: {line}" for line in found]

    def _begin(self, action: ContainmentAction, grant: Grant, authority: Authority, *, undoing: bool) -> None:
        self.deadline.restart(self.limits.deadline_seconds)
        demand_right(self.place, action, grant, authority, undoing=undoing, practice_only=self.practice_only)  # 1
        if action.verb not in self.verbs:  # 2
            known = ", ".join(sorted(self.verbs)) or "none, it only reads"
            raise nothing_sent(f"{named(action)}: expected one of the verbs it has ({known})")
        least = self._least(action.verb)
        if action.reversibility.rank < least.rank:
            raise nothing_sent(f"{named(action)}: expected class {least} or higher, found {action.reversibility}")

    def _photograph(self, claim: Claim, action: ContainmentAction, key: str, authority: Authority) -> Snapshot:
        photo = authority.before(key)
        if photo is None:
            state = self._attempt(claim, action, authority, lambda: self._observe(action))
            photo = Snapshot(target=action.target, state=state, captured_at=self.place.now())
            authority.photographed(claim, action, photo)
        return photo

    @staticmethod
    def _attempt(claim: Claim, action: ContainmentAction, authority: Authority, read: Callable[[], T]) -> T:
        """Read after the claim: a failure is recorded. Under a resumed claim an earlier holder may have sent it."""
        try:
            return ask(action, read)
        except ContainmentError as problem:
            if claim.resumed:
                problem.outcome = Outcome.UNKNOWN
                problem.now = "unknown: an earlier attempt may have reached it, and now it cannot be read."
            authority.not_done(claim, action, problem.outcome, problem.problem)
            raise

    def _reading(self, what: str, read: Callable[[], T]) -> T:
        self.deadline.restart(self.limits.deadline_seconds)
        try:
            return contained(read)
        except SignalError as problem:
            raise nothing_sent(f"{self.place.system}: {what} through {self.place.name}: {problem.reason}") from None


def _not_as_photographed(photo: Snapshot, state: State, desired: State) -> str | None:
    if state == photo.state or desired.items() <= state.items():
        return None
    return f"it is no longer what was photographed ({shown_state(photo.state)}) but {shown_state(state)}"


def _touched(state: State, receipt: Receipt, before: Snapshot) -> str | None:
    if state in (receipt.after, before.state):
        return None
    return (
        f"expected what we left ({shown_state(receipt.after)}) or what was before ({shown_state(before.state)}), "
        f"found {shown_state(state)}: somebody else changed it"
    )
