"""From the outbox to the ledger and to Prefect: every incident stands first, then one response at a time is started.

1. An incident stands in the ledger whether Prefect is there or not; it is opened by its draft, which gives the same
   incident however often.
2. One start at a time, the worst first. Every try has the same key, so an answer that was lost is repaired by asking
   again. The flow was fixed with the draft: what people find out later never starts a second one.
3. What a signal changes afterwards (how bad, how many) is written down too, with what it was delivered in: evidence is
   sealed once, early, and what came later must not be known by its number alone.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from runbooks.domain.correlation import IncidentDraft
from runbooks.domain.errors import BookError, QuellError, UnreachableError
from runbooks.domain.instants import milliseconds_between
from runbooks.domain.ledger import EntryType
from runbooks.domain.signal import DeliveredSoFar
from runbooks.domain.value import Digest, Json
from tasks.incident import open_incident, raise_severity
from tasks.installation import Installation
from tasks.ledger import clock, door_actor
from tasks.stores import SignalStore, open_signals
from tasks.stores.base import OutboxRow

SIGNALS = door_actor("signals")
MOST_NAMED = 20
"""Deliveries that an entry's list names, the first ones and the newest, so many of each."""
NOTE_EVERY_SECONDS = 10
"""At most so often is the ledger told that an incident has more signals."""
Start = Callable[[str, str, bool], str]
"""Flow, incident, whether it is a drill; returns the run's id, the same one however often it is asked for."""


def dispatcher_on(installation: Installation, start: Start) -> "Dispatcher":
    """A dispatcher with a line of its own to the file of signals."""
    return Dispatcher(installation, open_signals(installation.settings.signals), start)


@dataclass
class Dispatcher:
    """Works through the outbox, in one thread."""

    installation: Installation
    store: SignalStore
    start: Start

    def open_all(self) -> list[str]:
        """Every incident that was made and does not stand yet is opened, the worst first; returns their ids."""
        opened = []
        for row in self.store.unopened():
            try:
                self.open(row)
            except BookError as error:
                self.store.not_started(row.incident, error.problem, refused=True)
            else:
                opened.append(row.incident)
        return opened

    def open(self, row: OutboxRow) -> None:
        """Open the incident of this row: its report into the vault, its entries into the ledger."""
        draft = IncidentDraft.from_bytes(row.draft)
        incident = open_incident(
            self.installation, draft.report, draft.archetype, drill=draft.drill, opener=SIGNALS,
            material=draft.material.encode(), judged=draft.severity, origin=draft.origin,
            recurrence_of=draft.recurrence_of, storm=draft.storm,
        )  # fmt: skip
        told = draft.classification
        self._note(row.incident, {"because": draft.because, **({"classification": told.as_json()} if told else {})})
        self.store.opened(incident.id, clock())

    def start_next(self) -> bool | None:
        """Start the response that is due; whether it was, None when none is. What went wrong stands in its row."""
        row = self.store.next_start()
        if row is None:
            return None
        draft = IncidentDraft.from_bytes(row.draft)
        try:
            run = self.start(str(draft.archetype), row.incident, draft.drill)
        except QuellError as error:
            self.store.not_started(row.incident, error.problem, refused=not isinstance(error, UnreachableError))
            return False
        self.store.started(row.incident, clock(), run)
        return True

    def tell(self) -> None:
        """What signals changed of incidents that stand."""
        for incident, worse in self.store.worse():
            raise_severity(
                self.installation, self.installation.pen(SIGNALS), incident, worse.severity,
                f"worse/{incident}/{worse.severity.severity}", worse.because or f"a signal that joined ({worse.delivery}) is worse",
                self._deliveries(incident, worse.delivery),
            )  # fmt: skip
            self.store.told_worse(incident, worse)
        for incident, _ in self.store.to_note():
            last = self.installation.pen(SIGNALS).last(incident, EntryType.SIGNAL_RECEIVED)
            if last is None or milliseconds_between(last.at, clock()) > 1000 * NOTE_EVERY_SECONDS:
                self._note(incident, {"alerts": dict(self.store.alerts(incident))}, self._deliveries(incident))

    def _note(self, incident: str, more: dict[str, Json], rests_on: dict[str, Digest] | None = None) -> None:
        count, noted = self.store.counts(incident)
        if count > noted:
            self.installation.pen(SIGNALS).write(
                EntryType.SIGNAL_RECEIVED, f"signals/{incident}/{count}", incident=incident,
                subject=rests_on, body={"signals": count, **more},
            )  # fmt: skip
            self.store.noted(incident, count)

    def _deliveries(self, incident: str, worse: str = "") -> dict[str, Digest]:
        """The list of what was delivered so far, kept in the vault: the digest that an entry refers to it by."""
        count, first, newest = self.store.delivered(incident, MOST_NAMED)
        listed = DeliveredSoFar(
            incident=incident, count=count, first=tuple(first), newest=tuple(newest), salt=secrets.token_hex(16),
            worse=self.store.one_delivered(worse) if worse else None,
        )  # fmt: skip
        return {"deliveries": self.installation.keep(listed)}
