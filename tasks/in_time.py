"""The items of a source that come within so many seconds: one without an end must not keep containment waiting for ever.

Rules, in order:
1. The source is read in a thread of its own, so that the clock runs also while nothing comes: pages and lines of which
   none is asked for, a read that hangs.
2. What came in time is handed on, also what nobody had taken yet. A source that ended in time was read whole, however
   slow whoever takes is.
3. When the time is over the source is told so, and stops at its next page or line; nobody waits for that.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Thread

from runbooks.domain.errors import EvidenceError

_AHEAD = 4
"""Items that are read before somebody takes them; each may be as large as its connector lets it be."""


@dataclass(frozen=True)
class _Ended:
    """After the last item: why there is no more, if the source broke off."""

    error: Exception | None = None


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
        until, over = time.monotonic() + self.seconds, Event()
        read: Queue[bytes | _Ended] = Queue(maxsize=_AHEAD)
        Thread(target=self._read, args=(read, over), name="a source of evidence", daemon=True).start()  # 1
        try:
            while True:
                if (left := until - time.monotonic()) <= 0:
                    self._give_up(over)  # 3
                try:
                    came = read.get(timeout=max(0.0, left))  # 2
                except Empty:
                    if left > 0:
                        continue
                    self.cut = True
                    raise EvidenceError(
                        f"it had not ended after {self.seconds:g} s (evidence_source_deadline_seconds)",
                        now="what came until then is sealed.", next_step="what is missing is named in the manifest.",
                    ) from None  # fmt: skip
                if not isinstance(came, _Ended):
                    yield came
                elif came.error is not None:
                    raise came.error
                else:
                    return
        finally:
            self._give_up(over)
            while not read.empty():  # whoever reads may wait for room
                read.get_nowait()

    def _give_up(self, over: Event) -> None:
        over.set()
        self.stop()

    def _read(self, read: Queue[bytes | _Ended], over: Event) -> None:
        ended = _Ended()
        try:
            for item in self.items:
                read.put(item)
                if over.is_set():
                    return
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            ended = _Ended(error)
        if not over.is_set():
            read.put(ended)
