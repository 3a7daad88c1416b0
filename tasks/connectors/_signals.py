"""What passes between a connector's private methods and the guard: signals, limits, a deadline, an act, safe text.

The signals never leave `base`; it turns them into domain errors that name system, verb and target.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from runbooks.domain.containment import ContainmentAction, Snapshot
from runbooks.domain.errors import QuellError
from runbooks.domain.instants import Instant
from runbooks.domain.value import Json

T = TypeVar("T")


class SignalError(Exception):
    """What a connector's private method tells the guard. `reason` is fit to be shown: no secret, no foreign text."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        """Seconds, when the far side asked for patience."""


class NotDoneError(SignalError):
    """The far side definitely did not do it."""


class MissingError(NotDoneError):
    """The named target does not exist at the far side."""


class MaybeDoneError(SignalError):
    """It was sent and the answer does not tell: a time-out after sending, a broken connection, a 5xx."""


class FaultError(MaybeDoneError):
    """A fault of ours, or of a library, that nobody foresaw. Only its kind is told: its text may hold a secret."""


def contained(call: Callable[[], T]) -> T:
    """Call it; nothing but our own errors comes out. The one place where any failure at all is caught."""
    try:
        return call()
    except (SignalError, QuellError):
        raise
    except Exception as problem:  # noqa: BLE001 - no foreign exception leaves a connector
        raise FaultError(f"a fault ({type(problem).__name__})") from None


class Limits(BaseModel):
    """How long and how much, per connector. Base of every connector's `Settings`: unknown keys are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_seconds: float = Field(default=3, gt=0, le=30)
    """Longest wait for one connection."""
    read_seconds: float = Field(default=5, gt=0, le=60)
    """Longest silence within one call; raise it for systems that act slowly."""
    deadline_seconds: float = Field(default=15, gt=0, le=120)
    """Longest time of one public call, waiting, retrying and reading back included."""
    readback_seconds: float = Field(default=4, ge=0, le=60)
    """How long an effect is looked for after it was sent."""
    largest_answer_bytes: int = Field(default=4_000_000, gt=0)
    """A longer answer is refused, whatever length it claims."""


class Deadline:
    """One moment (monotonic seconds) after which nothing more is sent or awaited."""

    def __init__(self) -> None:
        self._end = time.monotonic()
        self.reserved = 0.0
        """Seconds kept back from sending, so that there is time to look whether it arrived."""
        self.given_up = False
        """Nobody waits any more, whatever time was left; no restart changes that."""

    def restart(self, seconds: float) -> None:
        """End so many seconds from now."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; zero or less when it is over."""
        return 0.0 if self.given_up else self._end - self.reserved - time.monotonic()

    def sleep(self, seconds: float) -> bool:
        """Wait, unless that would pass the end: then False at once."""
        if seconds >= self.left():
            return False
        time.sleep(max(0.0, seconds))
        return True


@dataclass(frozen=True)
class Place:
    """Where and as what a connector was opened. `stated` are its settings as the configuration states them."""

    kind: str
    name: str
    system: str
    stated: Mapping[str, Json]
    resolve: Callable[[str], str]
    """Turns a secret reference into the secret."""
    now: Callable[[], Instant]

    def secret(self, reference: str) -> str:
        """The secret, read now and never remembered; NotDoneError when it cannot be read or is empty."""
        try:
            found = contained(lambda: self.resolve(reference)).strip()
        except (FaultError, QuellError):
            raise NotDoneError(f"the secret {shown(reference)} cannot be read") from None
        if not found:
            raise NotDoneError(f"the secret {shown(reference)} is empty")
        return found


@dataclass(frozen=True)
class Act:
    """One act, as `_desired`, `_apply` and `_restore` get it."""

    action: ContainmentAction
    photo: Snapshot
    """Taken before the act; what `_restore` puts back."""
    current: dict[str, str]
    """The state just read: compare with it where the far side can."""
    key: str
    """Idempotency key, the same at every attempt."""


def shown(text: object, longest: int = 200) -> str:
    """Foreign text, made harmless for a message: printable ASCII, one line, cut."""
    flat = "".join(letter if " " <= letter <= "~" else "?" for letter in str(text)[: longest + 1])
    return flat if len(flat) <= longest else flat[:longest] + "..."


def shown_state(state: Mapping[str, str]) -> str:
    """A state as people read it: `blocked=true, version=3`."""
    return ", ".join(f"{shown(key, 40)}={shown(value, 80)}" for key, value in sorted(state.items())) or "nothing"
