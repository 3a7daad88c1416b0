"""What the contract needs to know of a system at the other end, and the practice world that most of them are."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.support_agent import world
from examples.support_agent.world import World
from runbooks.domain.containment import Reversibility, Verb
from tests.contracts.connectors.wire import Wire

LIMITS = {"read_seconds": 1, "readback_seconds": 1, "deadline_seconds": 10}
REGION = "eu-central-1"


@dataclass
class FarSide:
    """What the contract needs to know of the system at the other end."""

    kind: str
    verb: Verb
    settings: dict[str, Any]
    target: str
    missing: str
    taken_away: Callable[[], bool]
    """Asked of the far side by its own means, never through the connector."""
    effects: Callable[[], int]
    """How many effects it saw, by its own book or on its wire; a state that is only read does not count."""
    desired: dict[str, str] = field(default_factory=dict)
    reversibility: Reversibility | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    own: str | None = None
    """A target that is quell's own access, where the kind has such."""
    meddle: Callable[[], None] | None = None
    """Somebody else changes the target into a third state, where there is a third."""
    give_back: Callable[[], None] | None = None
    """Somebody else restores what was before."""
    wire: Wire | None = None
    effect: bytes = b""
    """What an effect looks like on the wire."""
    repeatable: bool = True
    conclusive: bool = True
    """Whether the wanted state, when seen, can have no other cause."""
    down: Callable[[], None] = lambda: None

    def resolve(self, reference: str) -> str:
        return self.secrets[reference]


@functools.cache
def practice() -> World:
    """The practice world, started once per process when the first test needs it."""
    directory = Path(tempfile.mkdtemp(prefix="quell-practice-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    far = world.start(directory, seed=7, prompt_cache_seconds=0.2)
    atexit.register(far.stop)
    return far
