"""Rules 6 to 9 of the guard: send once, and believe only what is read back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runbooks.domain.containment import ContainmentAction, Receipt, Snapshot
from runbooks.domain.errors import ClaimHeldError, ContainmentError, Outcome
from runbooks.domain.grant import Authority, Claim
from tasks.connectors._right import named
from tasks.connectors._signals import FaultError, MaybeDoneError, NotDoneError, contained, shown_state

if TYPE_CHECKING:
    from tasks.connectors.base import Connector

MOST_SENDINGS = 4
"""Of one effect, however patient the far side asks us to be."""
SAID_YES = "it said yes"
GLANCE_SECONDS = 0.25
"""Between two looks while reading back."""


@dataclass(frozen=True)
class Effect:
    """One effect as the guard sees it: what must hold, what forbids it, how it is sent."""

    key: str
    photo: Snapshot
    wanted: dict[str, str]
    repeatable: bool
    reached: Callable[[dict[str, str]], bool]
    objection: Callable[[dict[str, str]], str | None]
    send: Callable[[dict[str, str]], None]
    conclusive: bool = True
    """Whether seeing the wanted state, before anything was sent, proves that the effect is there."""


class Sending:
    """One claimed effect on its way. The claim is recorded as done or not done before `carry_out` returns or raises."""

    def __init__(
        self, connector: "Connector", authority: Authority, claim: Claim, action: ContainmentAction, effect: Effect
    ) -> None:
        self._connector = connector
        self._authority = authority
        self._claim = claim
        self._action = action
        self._effect = effect
        self._refusal = "it was refused"
        self._unclear = ""
        """Why an earlier sending may have arrived; empty when none may."""

    def carry_out(self) -> Receipt:
        """The receipt; ContainmentError with the outcome otherwise."""
        so_far = Outcome.UNKNOWN if self._claim.resumed else Outcome.NOT_DONE
        state = self._look()
        if state is None:
            raise self._failed(so_far, "the target can no longer be read")
        if self._effect.conclusive and self._effect.reached(state):  # 6
            return self._done(state, sent=False)
        objection = self._effect.objection(state)
        if objection is not None:
            raise self._failed(so_far, objection)
        resumed = self._claim.resumed and not self._effect.repeatable
        if resumed and self._authority.may_have_arrived(self._claim, self._action):  # 8
            raise self._failed(Outcome.UNKNOWN, "it was sent before, may still arrive, and must not be sent twice")
        after: dict[str, str] | None = None
        for _ in range(MOST_SENDINGS):
            again = self._send(state)
            after = self._read_back()
            if after is not None and self._effect.reached(after):  # 9
                return self._done(after, sent=True)
            if again is None or after != state or not self._connector.deadline.sleep(again):
                break
        if not self._unclear:
            raise self._failed(Outcome.NOT_DONE, self._refusal)
        seen = "cannot be read" if after is None else f"shows {shown_state(after)}"
        raise self._failed(Outcome.UNKNOWN, f"{self._unclear}; read back, it {seen}")

    def _send(self, state: dict[str, str]) -> float | None:
        """Send once. Returns seconds after which it may be sent again, or None when it may not."""
        if not self._authority.still_held(self._claim):  # 7
            if self._unclear:
                raise self._error(Outcome.UNKNOWN, f"{self._unclear}; then this worker's lease ended")
            raise ClaimHeldError(self._effect.key, "somebody else: this worker's lease has ended")
        first = not self._unclear
        self._authority.sending(self._claim, self._action)
        deadline = self._connector.deadline
        deadline.reserved = min(self._connector.limits.readback_seconds, deadline.left() / 2)
        try:  # 8
            contained(lambda: self._effect.send(dict(state)))
        except NotDoneError as problem:
            self._refusal = problem.reason
            return problem.retry_after
        except MaybeDoneError as problem:
            self._unclear = problem.reason
            may_repeat = self._effect.repeatable and first and not isinstance(problem, FaultError)
            return (problem.retry_after or 0.0) if may_repeat else None
        finally:
            deadline.reserved = 0.0
        self._unclear = SAID_YES
        return None

    def _look(self) -> dict[str, str] | None:
        try:
            return self._connector.read(self._action)
        except ContainmentError:
            return None

    def _read_back(self) -> dict[str, str] | None:
        """The state after sending: one look after a refusal, else until it is as desired or the time is over."""
        waited = 0.0
        while True:
            state = self._look()
            if state is not None and self._effect.reached(state):
                return state
            if not self._unclear or waited >= self._connector.limits.readback_seconds:
                return state
            if not self._connector.deadline.sleep(GLANCE_SECONDS):
                return state
            waited += GLANCE_SECONDS

    def _done(self, state: dict[str, str], *, sent: bool) -> Receipt:
        noop = not sent and self._effect.reached(self._effect.photo.state)
        said_yes = sent and self._unclear == SAID_YES
        receipt = Receipt(
            action=self._action.id,
            effect_key=self._effect.key,
            verb=self._action.verb,
            target=self._action.target,
            before=self._effect.photo.digest(),
            after=state,
            noop=noop,
            recovered=not noop and not said_yes,
            applied_at=self._connector.place.now(),
        )
        self._authority.done(self._claim, self._action, receipt)
        return receipt

    def _failed(self, outcome: Outcome, reason: str) -> ContainmentError:
        """Record it and say it."""
        self._authority.not_done(self._claim, self._action, outcome, reason)
        return self._error(outcome, reason)

    def _error(self, outcome: Outcome, reason: str) -> ContainmentError:
        if outcome is Outcome.UNKNOWN:
            now = "unknown: it was sent, and neither an answer nor a look afterwards says that it holds."
            next_step = "look at the target itself; a person decides whether to send it again (`quell show`)."
        else:
            now = "not done: nothing was changed there."
            next_step = "mend what it names, then run the response again; the photograph is kept."
        return ContainmentError(
            f"{named(self._action)}: expected {shown_state(self._effect.wanted)}, found that {reason}.",
            now=now, next_step=next_step, outcome=outcome,
        )  # fmt: skip
