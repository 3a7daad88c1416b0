"""How the keeper looks at waiting runs in the engine: rarely enough, in turn, and never believing that nothing happened.

A waiting run has no process. The record says on which form it waits; whether the engine still shows it so is asked here.
"""

import logging
import socket
import time
from dataclasses import dataclass, field
from datetime import datetime

from prefect.client.schemas.objects import FlowRun

from flows.doors.interference import note_waiting
from flows.doors.processes import alive, start_mark
from runbooks.domain.errors import QuellError, UnreachableError
from runbooks.domain.instants import instant_from, milliseconds_between
from runbooks.domain.ledger import ActorKind, EntryType, LedgerEntry
from tasks.engine import has_form, paused_of, runs_of, state_name
from tasks.installation import Installation
from tasks.ledger import clock
from tasks.starting import is_handed, is_woken

log = logging.getLogger("quell.keeper")

STARTING_SECONDS = {
    "Scheduled": 40, "Late": 40, "Pending": 40, "Resuming": 40, "AwaitingRetry": 40, "Running": 10,
}  # fmt: skip
"""How long a run may be in these states without holding the lease: nobody starts it, or its process is gone. A new
run is safe all the same, because the lease decides which one works."""
SLOW_START_SECONDS = 45
"""How long a running run whose process lives may take to get the lease, on a very busy machine."""
LOOKS_PER_ROUND = 20
"""Of how many incidents the engine is asked in one round, in turn: a thousand that wait must not make the bells late."""
ATTENDED_SECONDS = 10.0
"""How late an expiry, or the next people on a ladder, may be noticed; both are given in minutes."""
FORMS_PER_ROUND = 2
"""Of how many of these it is asked for the form, too: every such question takes its processor from those who respond."""


@dataclass(frozen=True)
class Look:
    """At whom the engine is asked to look in one round, and which of their runs it says wait."""

    incidents: frozenset[str]
    closely: frozenset[str]
    paused: frozenset[str] = frozenset()
    attended: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By incident: its newest entry when its requests were judged last, and when that was (monotonic seconds)."""

    @classmethod
    def of_round(
        cls, installation: Installation, found: list[str], number: int,
        attended: dict[str, tuple[int, float]] | None = None,
    ) -> "Look":  # fmt: skip
        """The incidents whose turn it is. One question tells of all of them whether their runs wait."""
        groups = -(-len(found) // LOOKS_PER_ROUND) or 1
        turn = found[number % groups :: groups]
        few = -(-len(turn) // FORMS_PER_ROUND) or 1
        forms = [_form_of(installation, incident) for incident in turn]
        runs = [str(form.flow_run_id) for form in forms if form is not None]
        paused: frozenset[str] = frozenset()
        try:
            paused = paused_of(runs) if runs else paused
        except (UnreachableError, ValueError) as error:  # away; or the record names a run by what is no identifier
            log.warning("which runs wait: %s", error)
        closely = frozenset(turn[number // groups % few :: few])
        return cls(frozenset(turn), closely, paused, {} if attended is None else attended)

    def is_to_be_attended(self, installation: Installation, incident: str) -> bool:
        """Whether its requests may stand otherwise than when they were judged last: its record has news, or time went by."""
        entries = installation.store.entries(incident)
        newest, now = entries[-1].index if entries else -1, time.monotonic()
        index, at = self.attended.get(incident, (-2, 0.0))
        if newest == index and now - at < ATTENDED_SECONDS:
            return False
        self.attended[incident] = newest, now
        return True

    def leaves_waiting(self, incident: str, form: LedgerEntry) -> bool:
        """Whether nothing more need be asked now: it waits, or it is not its turn."""
        return incident not in self.incidents or (form.flow_run_id in self.paused and incident not in self.closely)


def _form_of(installation: Installation, incident: str) -> LedgerEntry | None:
    """The form that waits; none where the record contradicts itself, which whoever keeps this incident will tell."""
    try:
        return waiting_form(installation.store.entries(incident))
    except QuellError:
        return None


def waiting_form(entries: list[LedgerEntry]) -> LedgerEntry | None:
    """The entry of the form that the newest run waits on, if it suspended last and has neither woken nor failed since."""
    for entry in reversed(entries):
        if entry.type is EntryType.RUN_SUSPENDED:
            return entry
        if entry.type in (EntryType.RUN_WOKEN, EntryType.RUN_STARTED, EntryType.RESPONSE_RESTARTED):
            return None
        if entry.type is EntryType.PERSON_NEEDED and entry.actor.kind is ActorKind.FLOW:
            return None  # going to sleep failed, which is the last thing that a run does
    return None


def form_stands(installation: Installation, form: LedgerEntry) -> bool:
    """Whether Prefect still shows the run as waiting, with the very form, or is just about to start it."""
    run_id = form.flow_run_id or ""
    run = next((run for run in runs_of(form.incident or "") if str(run.id) == run_id), None)
    if run is not None and run.state is not None and is_starting(run, begun=True):
        return True
    stands = (
        run is not None and run.state is not None and run.state.is_paused() and has_form(run.id, str(form.body["form"]))
    )
    if not stands and not _died_on_the_way(run, form):
        note_waiting(installation, form, run)
    return stands


def _died_on_the_way(run: FlowRun | None, form: LedgerEntry) -> bool:
    """The process died between writing that it waits and waiting: nobody interfered."""
    if run is None or run.state is None:
        return False
    if run.state.is_crashed() or is_woken(run.state):  # or woken, and its process with its worker
        return True
    return run.state.is_running() and instant_from(run.state.timestamp) < form.at


def is_starting(run: FlowRun, *, begun: bool = False) -> bool:
    """Whether it may still get the lease; `begun`: it had it once, so that no worker is waited for any more."""
    if run.state is None:
        return False
    age = age_of(run.state.timestamp)
    if run.state.is_running() and age < SLOW_START_SECONDS and process_lives(run):
        return True
    handed = is_handed(run.state) and not run.infrastructure_pid and not begun
    name = "Pending" if handed or is_woken(run.state) else state_name(run.state)
    return age < STARTING_SECONDS.get(name, 0)


def process_lives(run: FlowRun) -> bool:
    """Whether the process that the worker names for this run is one of this machine and lives."""
    host, _, rest = (run.infrastructure_pid or "").partition(":")
    pid, _, mark = rest.partition(":")  # Prefect's own process worker writes no start mark
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return alive(int(pid), mark) if mark else bool(start_mark(int(pid)))


def age_of(stamp: datetime) -> float:
    """Seconds since then; the engine's clock and ours may differ by a little."""
    return milliseconds_between(instant_from(stamp), clock()) / 1000
