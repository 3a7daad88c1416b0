"""The items of a source that come within so many seconds: one without an end must not keep containment waiting for ever.

Rules, in order:
1. The source is read in a thread of its own, so that the clock runs also while nothing comes: pages and lines of which
   none is asked for, a read that hangs.
2. What came in time is handed on, also what nobody had taken yet. A source that ended in time was read whole, however
   slow whoever takes is.
3. When the time is over the source is told so, and stops at its next page or line; nobody waits for that.
4. What was read is taken all at once, as far as it has come: one by one, the two threads would hand the processor to
   each other for every line. So much is read ahead, and no more.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Condition, Thread

from runbooks.domain.errors import EvidenceError

_AHEAD_BYTES, _EACH_BYTES = 1 << 20, 64
"""That are read before somebody takes them, and one item more; it may be as large as its connector lets it be. An item
takes room though it is empty."""


@dataclass
class _Read:
    """What was read and nobody has taken yet."""

    items: deque[bytes] = field(default_factory=deque)
    size: int = 0
    ended: bool = False
    error: Exception | None = None
    """Why there is no more, if the source broke off."""
    over: bool = False
    """Nobody waits any more."""
    changed: Condition = field(default_factory=Condition)

    def add(self, item: bytes) -> bool:
        """Wait for room (4); whether somebody still waits."""
        with self.changed:
            self.changed.wait_for(lambda: self.over or self.size < _AHEAD_BYTES)
            self.items.append(item)
            self.size += len(item) + _EACH_BYTES
            self.changed.notify_all()
            return not self.over

    def end(self, error: Exception | None) -> None:
        with self.changed:
            self.ended, self.error = not self.over, error
            self.changed.notify_all()

    def take(self, seconds: float) -> tuple[deque[bytes], bool]:
        """Everything that came (at least one, unless that takes longer), and whether that was all that there is."""
        with self.changed:
            self.changed.wait_for(lambda: self.items or self.ended, seconds)
            came, self.items, self.size = self.items, deque(), 0
            self.changed.notify_all()
            return came, self.ended

    def give_up(self) -> None:
        with self.changed:
            self.over = True
            self.changed.notify_all()


@dataclass
class InTime:
    """An iterable of items, once. `stop` tells the source that nobody waits any more; it is called from another thread.

    Raises EvidenceError when the time is over first, else what the source raises.
    """

    items: Iterable[bytes]
    seconds: float
    stop: Callable[[], None]
    cut: bool = False
    """Whether the time was over first."""

    def __iter__(self) -> Iterator[bytes]:
        until, read = time.monotonic() + self.seconds, _Read()
        Thread(target=self._read, args=(read,), name="a source of evidence", daemon=True).start()  # 1
        try:
            while True:
                if (left := until - time.monotonic()) <= 0:
                    self._give_up(read)  # 3
                came, ended = read.take(max(0.0, left))  # 2, 4
                for item in came:
                    if time.monotonic() >= until:
                        self._give_up(read)  # 3
                    yield item
                if ended:
                    if read.error is not None:
                        raise read.error
                    return
                if not came and left <= 0:
                    self.cut = True
                    raise EvidenceError(
                        f"it had not ended after {self.seconds:g} s (evidence_source_deadline_seconds)",
                        now="what came until then is sealed.", next_step="what is missing is named in the manifest.",
                    )  # fmt: skip
        finally:
            self._give_up(read)

    def _give_up(self, read: _Read) -> None:
        read.give_up()
        self.stop()

    def _read(self, read: _Read) -> None:
        error = None
        try:
            for item in self.items:
                if not read.add(item):
                    return
        except Exception as found:  # noqa: BLE001 - raised again where it is waited for
            error = found
        read.end(error)
