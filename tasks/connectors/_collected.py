"""What a source hands over: raw items one by one, and what is known about them after the last."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runbooks.domain.errors import QuellError
from tasks.connectors._signals import SignalError, contained


@dataclass
class Facts:
    """What the source says about itself. Complete only after the last item was taken."""

    media_type: str
    """Of one item."""
    dropped: int | None = None
    """Items, attributes, events or links that the source says it lost; None when it does not say."""
    unreadable: int = 0
    """Items that could not be understood; they are handed over all the same."""
    source_clock: str | None = None
    """The source's own clock, as it prints it."""
    clock_offset_ms: int | None = None
    """Source clock minus ours, milliseconds."""
    schema_url: str | None = None


class Collected:
    """An iterator of items, each exactly the bytes that arrived, and their `facts`."""

    def __init__(self, items: Iterator[bytes], facts: Facts) -> None:
        self.facts = facts
        self._items = items
        self._error: Callable[[str], QuellError] | None = None

    def guard(self, error: Callable[[str], QuellError]) -> None:
        """From now on a failure midway surfaces as this error; called by `base` only."""
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            item = contained(lambda: next(self._items, None))
        except SignalError as problem:
            if self._error is None:
                raise
            raise self._error(problem.reason) from None
        if item is None:
            raise StopIteration
        return item
