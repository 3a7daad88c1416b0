"""How the door was a moment ago: what a look at it saw, and that nothing which a look trips over ends the looking."""

import logging
import os
import traceback
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

log = logging.getLogger("quell.door")

CONFIGURATION, DISK, LOOK, SECRET, WRITER = "configuration", "disk", "look", "secret", "writer"
"""The words. The first and the third: who may come in may be other than we know."""

Problem = tuple[str, str]
"""A word for everybody and a sentence for the log."""


@dataclass(frozen=True)
class Vitals:
    """What is not well, and how full the disk is."""

    problems: tuple[Problem, ...] = ()
    disk_low: bool = False
    disk_free: float = 1.0

    @property
    def blind(self) -> bool:
        """Whether the configuration could not be read."""
        return any(word in (CONFIGURATION, LOOK) for word, _ in self.problems)

    def after(self, problems: Collection[Problem], home: Path, wanted_percent: int) -> "Vitals":
        """As it is now: these problems, and the disk's. Of a disk that does not answer, what was seen last still holds."""
        try:
            disk = os.statvfs(home)
        except OSError as error:
            unseen = (DISK, f"it cannot be seen how much of the disk is free: {error.strerror}")
            return replace(self, problems=(*problems, unseen))
        free = disk.f_bavail / max(1, disk.f_blocks)
        low = free * 100 < wanted_percent
        told = [(DISK, f"expected {wanted_percent}% of the disk to be free, found less")] if low else []
        return Vitals((*problems, *told), low, free)

    def tripped(self, error: Exception) -> "Vitals":
        """As it was, after a look that came to nothing; of the error its kind and place alone: its text may hold a secret."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        return self._blinded(
            f"could not look: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
        )

    def stuck(self, seconds: float) -> "Vitals":
        """As it was, while a look does not come back, as from a file on a share that is away: whom we know may be gone."""
        return self._blinded(
            f"a look takes longer than {seconds:.0f} s: a file of the configuration or a secret does not answer"
        )

    def _blinded(self, told: str) -> "Vitals":
        return replace(self, problems=(*(one for one in self.problems if one[0] != LOOK), (LOOK, told)))

    def tell(self, before: "Vitals") -> None:
        """To the log: what has come since then, and what is well again."""
        for word, sentence in sorted(set(self.problems) - set(before.problems)):
            log.warning("%s: %s", word, sentence)
        for word, _ in sorted(set(before.problems) - set(self.problems)):
            log.info("%s: well again", word)
