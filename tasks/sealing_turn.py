"""One seals an incident's evidence at a time: a lease in the ledger's database says whose turn it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from time import monotonic

from runbooks.domain.value import Digest
from tasks.installation import Installation
from tasks.ledger import Pen, clock, is_gone, this_process
from tasks.waiting import pause

LEASE_SECONDS = 60
"""Prolonged while sealing goes on; after it somebody else begins."""
LOOK_SECONDS = 0.01
"""Between two looks of whoever waits whether it is sealed."""
TRY_SECONDS, PATIENCE_SECONDS = 0.05, 0.25
"""Between two tries to take the turn, at first and in the end: those hold up whoever seals."""


@dataclass
class Turn:
    """Whose turn it is. `final`: what fails now is a gap; else it is left to whoever comes later."""

    installation: Installation
    writer: Pen
    incident: str
    final: bool
    _holder: str = field(default_factory=lambda: this_process(f"sealing-{token_hex(4)}"))
    _fence: int | None = None

    @property
    def _name(self) -> str:
        return f"sealing/{self.incident}"

    def sealed(self) -> Digest | None:
        """The manifest, if it stands."""
        done = self.writer.find(f"sealed/{self.incident}")
        return None if done is None else done.subject["manifest"]

    def take(self) -> bool:
        """Whether it is ours now."""
        store = self.installation.store
        self._fence = store.take_lease(
            self._name, holder=self._holder, now=clock(), seconds=LEASE_SECONDS, gone=is_gone
        )
        return self._fence is not None

    def prolong(self) -> None:
        """It goes on."""
        if self._fence is not None:
            store = self.installation.store
            store.renew_lease(self._name, self._holder, self._fence, now=clock(), seconds=LEASE_SECONDS)

    def end(self) -> None:
        """The next one's turn."""
        if self._fence is not None:
            self.installation.store.release_lease(self._name, self._holder, self._fence)


def in_turn(turn: Turn, seal: Callable[[Turn], Digest | None]) -> Digest | None:
    """The manifest that stands, or what `seal` makes when it is our turn; nobody else seals meanwhile."""
    waiting = TRY_SECONDS
    while not turn.take():
        again = monotonic() + waiting
        while monotonic() < again:
            if (sealed := turn.sealed()) is not None:
                return sealed
            pause(LOOK_SECONDS)
        waiting = min(2 * waiting, PATIENCE_SECONDS)
    try:
        return turn.sealed() or seal(turn)
    finally:
        turn.end()
