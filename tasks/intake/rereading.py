"""A mapping was corrected: what came before it is read again. The bytes are the ones that came, so nothing is guessed.

Events that are known and are read as before change nothing; one that a corrected mapping places elsewhere is judged
again (`correlating.py`).
"""

from collections import Counter
from contextlib import closing

from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.instants import Instant, moment
from runbooks.domain.value import Value
from tasks.installation import Installation
from tasks.intake.normalising import normalise
from tasks.stores import open_signals, open_spool


class Reread(Value):
    """What deliveries would be read as, under the active configuration."""

    deliveries: int
    readable: int
    signals: int
    defects: dict[str, int]
    """Why some cannot be read, or not all of them, and how many."""


def candidates(installation: Installation, source: str | None, since: Instant | None, *, everything: bool) -> list[str]:
    """Receipts of deliveries that were read: the defects, or everything; oldest first."""
    path = installation.settings.signals
    if not path.exists():
        return []
    since_ns = 0 if since is None else int(moment(since).timestamp()) * 1_000_000_000
    with closing(open_signals(path)) as store:
        return store.deliveries(source, since_ns, only_defects=not everything)


def look_at(installation: Installation, deliveries: list[str]) -> Reread:
    """What they would be read as now; nothing is kept."""
    sources = installation.active().sources
    readable = signals = 0
    why: Counter[str] = Counter()
    if deliveries:
        with closing(open_spool(installation.settings.signals)) as spool:
            for name in deliveries:
                found = spool.read(name)
                if found is None or found[0].source not in sources:
                    why["the active configuration does not know its source"] += 1
                    continue
                try:
                    said = normalise(*found, sources[found[0].source])
                    signals += len(said.signals)
                    readable += 1
                    why.update([said.defect] if said.defect else [])
                except IntakeDefectError as error:
                    why[error.problem] += 1
    return Reread(deliveries=len(deliveries), readable=readable, signals=signals, defects=dict(why.most_common(20)))


def read_again(installation: Installation, deliveries: list[str]) -> None:
    """Mark them unread: whoever takes deliveries in does so with these, within a second or as soon as quell is up."""
    if deliveries:
        with closing(open_signals(installation.settings.signals)) as store:
            store.read_again(deliveries)
