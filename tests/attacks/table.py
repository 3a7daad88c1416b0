"""The list of attacks: what each is called, what must be seen. Each is a function of the ground; it returns what it saw."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.attacks.ground import Ground


@dataclass(frozen=True)
class Attack:
    """One attack."""

    name: str
    expected: str
    perform: Callable[[Ground], str]


ATTACKS: list[Attack] = []
SEEN: list[tuple[str, str, str]] = []
"""Attack, expected, seen: as far as they were performed."""


def attack(name: str, expected: str) -> Callable[[Callable[[Ground], str]], Callable[[Ground], str]]:
    """Put this function on the list."""

    def listed(function: Callable[[Ground], str]) -> Callable[[Ground], str]:
        ATTACKS.append(Attack(name, expected, function))
        return function

    return listed


def shown() -> str:
    """The table, as markdown."""
    rows = [f"| {name} | {expected} | {seen} |" for name, expected, seen in SEEN]
    return "\n".join(["| Attack | Expected | Seen |", "|---|---|---|", *rows])
