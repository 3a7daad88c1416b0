"""Closed incidents in which somebody asked for what is still away: the keeper goes on to tell people, and to expire.

Giving back is allowed after closure; it is the normal way after an ending of `contained`.
"""

from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Digest
from tasks.approval import gives_back
from tasks.installation import Installation

_SETTLED = (EntryType.REQUEST_DENIED, EntryType.REQUEST_EXPIRED)
_FOLLOWED = (EntryType.APPROVAL_REQUESTED, *_SETTLED, EntryType.EFFECT_UNDONE, EntryType.INCIDENT_CLOSED)


class Afterwards:
    """Follows the record from entry to entry, so that a long one costs nothing; what it knows it reads anew at its start."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._read = 0
        self._asked: dict[Digest, tuple[str, Digest]] = {}
        """By request: its incident and its act; only those to give back, and not settled."""
        self._closed: set[str] = set()

    def incidents(self) -> list[str]:
        """Closed ones with a request to give back that nobody denied, that has not expired, and that was not carried out."""
        for entry in self._installation.store.entries(since=self._read, types=_FOLLOWED):
            self._read = entry.index + 1
            if entry.type is EntryType.APPROVAL_REQUESTED and gives_back(entry):
                self._asked[entry.subject["request"]] = str(entry.incident), entry.subject["action"]
            elif entry.type in _SETTLED:
                self._asked.pop(entry.subject["request"], None)
            elif entry.type is EntryType.EFFECT_UNDONE:
                back = entry.subject["action"]
                self._asked = {request: place for request, place in self._asked.items() if place[1] != back}
            elif entry.type is EntryType.INCIDENT_CLOSED:
                self._closed.add(str(entry.incident))
        return list(dict.fromkeys(incident for incident, _ in self._asked.values() if incident in self._closed))
