"""What a run would otherwise import and open on the way to its first act: a warm process does it before there is a run.

Measured: importing the database's library alone took a third of the time from a decision to its act.
"""

from contextlib import suppress

from runbooks.domain.errors import QuellError
from tasks import connectors, stores
from tasks.installation import open_installation
from tasks.rehearsal import rehearse


def warm() -> None:
    """Every connector and store, and a rehearsal, for processes forked from this one. No thread stays."""
    connectors.warm()
    stores.warm()
    rehearse()


def open_early() -> None:
    """Ledger, vault and active configuration of this process's home. What cannot be opened now, the run will tell."""
    with suppress(QuellError, OSError):
        place = open_installation()
        if place.store.size():
            place.active()
            place.store.entries(place.store.incidents()[-1] if place.store.incidents() else None)
