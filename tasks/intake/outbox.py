"""What waits for Prefect, as others see it: the inbox shows it, the keeper leaves it to a dispatcher that lives."""

from collections.abc import Iterator
from contextlib import contextmanager

from runbooks.domain.correlation import IncidentDraft
from runbooks.domain.incident import Archetype, IncidentId
from runbooks.domain.instants import Instant
from runbooks.domain.severity import Severity
from runbooks.domain.value import Value
from tasks.installation import Installation
from tasks.intake.bell import bell_of, is_heard
from tasks.stores import SignalStore, open_signals, signals_are_made


class WaitingResponse(Value):
    """An incident whose response has not started, with what stood in the way when it was last tried."""

    incident: IncidentId
    archetype: Archetype
    system: str
    severity: Severity
    drill: bool
    signals: int
    since: Instant
    problem: str


class Defect(Value):
    """A delivery that could not be read, and why, in our words."""

    delivery: str
    source: str
    at: Instant
    because: str


@contextmanager
def looking(installation: Installation) -> Iterator[SignalStore | None]:
    """The file of signals, where this installation has one. Who only looks makes nothing, and waits for no writer."""
    if not signals_are_made(installation.settings.signals):
        yield None
        return
    store = open_signals(installation.settings.signals)
    try:
        yield store
    finally:
        store.close()


def waiting_responses(installation: Installation) -> list[WaitingResponse]:
    """In the order in which they will start."""
    with looking(installation) as store:
        return [] if store is None else [
            WaitingResponse(
                incident=row.incident, archetype=draft.archetype, system=draft.report.system,
                severity=Severity(f"SEV{row.rank}"), drill=draft.drill, signals=store.counts(row.incident)[0],
                since=row.made_at, problem=row.problem,
            )
            for row in store.waiting() for draft in (IncidentDraft.from_bytes(row.draft),)
        ]  # fmt: skip


def others_wait_to_begin(installation: Installation, incident: str) -> bool:
    """Whether a dispatcher lives and has other responses to start that nothing stood in the way of yet."""
    if not is_heard(bell_of(installation.settings.home)):
        return False
    with looking(installation) as store:
        return store is not None and store.others_wait(incident)


def defects(installation: Installation, most: int = 20) -> list[Defect]:
    """Deliveries that could not be read, newest first."""
    with looking(installation) as store:
        return [] if store is None else [
            Defect(delivery=delivery, source=source, at=at, because=because)
            for delivery, source, at, because in store.defects(most)
        ]  # fmt: skip


def is_dispatched(installation: Installation, incident: str) -> bool:
    """Whether a dispatcher of this machine lives and has this response in its outbox."""
    if not is_heard(bell_of(installation.settings.home)):
        return False
    with looking(installation) as store:
        return store is not None and store.is_waiting(incident)
