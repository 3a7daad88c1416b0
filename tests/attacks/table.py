"""The list of attacks: what each is called, what must be seen. Each is a function of the ground; it returns what it saw.

Attacks on the engine mostly wait until the keeper notices; so they are performed side by side, in a few lanes, while
the quick ones are performed one after the other. What must be alone (a real effect, a clock set back) comes last.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from runbooks.domain.ledger import EntryType
from tests.attacks.ground import Ground


@dataclass(frozen=True)
class Attack:
    """One attack."""

    name: str
    expected: str
    perform: Callable[[Ground], str]
    recorded: tuple[EntryType, ...]
    """What must be on record afterwards: an entry of one of these types."""
    lane: str
    """Attacks of one lane are performed one after the other."""


QUICK, ALONE = "quick", "alone"
ATTACKS: list[Attack] = []


def attack(
    name: str, expected: str, *recorded: EntryType, lane: str = QUICK
) -> Callable[[Callable[[Ground], str]], Callable[[Ground], str]]:
    """Put this function on the list. No type: nothing can be on record, and `expected` says why."""

    def listed(function: Callable[[Ground], str]) -> Callable[[Ground], str]:
        ATTACKS.append(Attack(name, expected, function, recorded, lane))
        return function

    return listed


@dataclass
class Performance:
    """The attacks of this session on one ground, each performed once; and the table of what was seen."""

    ground: Ground
    seen: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    _running: dict[str, Future[str]] = field(default_factory=dict)
    _lanes: dict[str, ThreadPoolExecutor] = field(default_factory=dict)

    def begin(self, attacks: Iterable[Attack]) -> None:
        """Begin the lanes, once there is what all of them use."""
        assert self.ground.api
        assert self.ground.waiting
        for one in attacks:
            if one.lane not in (QUICK, ALONE):
                lane = self._lanes.setdefault(one.lane, ThreadPoolExecutor(1))
                self._running[one.name] = lane.submit(self._perform, one)

    def see(self, one: Attack) -> str:
        """Perform it, or wait for its lane; what was seen."""
        self.note(one.name, one.expected, "NOT AS EXPECTED")
        running = self._running.get(one.name)
        said = self._perform(one) if running is None else running.result()
        self.note(one.name, one.expected, said)
        return said

    def _perform(self, one: Attack) -> str:
        """The far side's own books must say the same before and after; the record must hold the attempt."""
        before, since = self.ground.far(), self.ground.installation.store.size()
        said = one.perform(self.ground)
        assert self.ground.far() == before, "the far side's own books show an effect"
        found = self.ground.installation.store.entries(since=since, types=one.recorded) if one.recorded else []
        assert found or not one.recorded, f"no entry of {', '.join(one.recorded)} tells of it"
        return said

    def note(self, name: str, expected: str, seen: str) -> None:
        """One row of the table."""
        self.seen[name] = (name, expected, " ".join(seen.split()).replace("|", "/")[:400])

    def close(self) -> None:
        """Wait for the lanes."""
        for lane in self._lanes.values():
            lane.shutdown(cancel_futures=True)

    def row(self, name: str) -> str:
        """What is noted of this attack, as a row of a markdown table."""
        return f"| {' | '.join(self.seen[name])} |"
