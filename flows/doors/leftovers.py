"""Runs that a closed incident left waiting: a second one, or one that somebody put to sleep. Nobody needs to answer them.

They end as cancelled, so that Prefect's list shows as waiting only what really waits for people.
"""

from runbooks.domain.identifiers import INCIDENT_TAG
from runbooks.domain.ledger import EntryType
from tasks.engine import runs_of, set_aside
from tasks.installation import Installation

PER_ROUND = 5
"""Incidents about which the engine is asked in one round, newest first; each is asked about until nothing is left."""


class Leftovers:
    """A duty of the keeper. What it has seen to the end it remembers only as long as the keeper lives."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._clean: set[str] = set()

    def tidy(self) -> None:
        """End what waits without a reason."""
        closed = self._installation.store.entries(types=(EntryType.INCIDENT_CLOSED,))
        names = dict.fromkeys(str(entry.incident) for entry in reversed(closed))
        for incident in [name for name in names if name not in self._clean][:PER_ROUND]:
            runs = [run for run in runs_of(incident) if run.state is None or not run.state.is_final()]
            for run in runs:
                if run.state is not None and run.state.is_paused() and _others_are_closed(run.tags, names):
                    set_aside(run.id, f"{incident} is closed; nobody needs to answer here any more")
            if not runs:
                self._clean.add(incident)


def _others_are_closed(tags: list[str], closed: dict[str, None]) -> bool:
    """A run may carry the tags of two incidents, when somebody changed its parameters: both must be closed."""
    return all(tag.removeprefix(INCIDENT_TAG) in closed for tag in tags if tag.startswith(INCIDENT_TAG))
