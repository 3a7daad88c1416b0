"""What somebody did to our runs through the engine's own doors. It authorises nothing and stops nothing; it is written down.

A waiting run has no process, so nothing of ours changes it: when its state, its form or the run itself is another, or
gone, somebody with access to the engine did that. While a process works, the engine must show it as running.
"""

from prefect.client.schemas.objects import FlowRun, State, StateType

from flows.doors.listing import POOL
from runbooks.domain.instants import instant_from, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.engine import clear_the_way, has_form, is_there, runs_of, state_name
from tasks.installation import Installation
from tasks.ledger import KEEPER, clock
from tasks.presence import lease_name

ON_THE_WAY = (StateType.SCHEDULED, StateType.PENDING, StateType.PAUSED)
"""A run that begins, or goes to sleep, passes through these while its process is there; it does not stay in them."""
ON_THE_WAY_SECONDS = 10.0
JUST_NOW_SECONDS = 2.0


def note(installation: Installation, incident: str, run_id: str, said: str, because: str, mark: str) -> None:
    """One entry per run and new state."""
    installation.pen(KEEPER).write(
        EntryType.RUN_INTERFERED, f"interfered/{run_id}/{mark}", incident=incident,
        body={"flow_run": run_id, "engine_said": said, "because": because},
    )  # fmt: skip


def keep_the_way_clear(installation: Installation) -> None:
    """What somebody paused, so that no response could start or go on, is opened again and written down."""
    for what in clear_the_way(POOL):
        installation.pen(KEEPER).write(
            EntryType.RUN_INTERFERED, f"interfered/{POOL}/{clock()}",
            body={"engine_said": "held up", "because": f"{what}; it was opened again"},
        )  # fmt: skip


def note_waiting(installation: Installation, form: LedgerEntry, run: FlowRun | None) -> None:
    """The run that waited on this form no longer does, and nobody of ours woke it."""
    run_id, incident = str(form.flow_run_id), str(form.incident)
    if run is None:
        note(installation, incident, run_id, "deleted", "the waiting run was deleted, or its tags were", "deleted")
    elif run.state is not None and not run.state.is_paused():
        because = f"the waiting run was forced to {state_name(run.state)}"
        note(installation, incident, run_id, state_name(run.state), because, str(run.state.id))
    elif not has_form(run_id, str(form.body["form"])):
        note(
            installation, incident, run_id, "no form", "the form of the waiting run was removed", str(form.body["form"])
        )


def note_deleted(installation: Installation, incident: str, entries: list[LedgerEntry], runs: list[FlowRun]) -> None:
    """The run that worked last is gone: whatever its process said when it noticed, somebody deleted it."""
    started = [str(entry.flow_run_id) for entry in entries if entry.type is EntryType.RUN_STARTED]
    if started and started[-1] not in {str(run.id) for run in runs} and not is_there(started[-1]):
        note(installation, incident, started[-1], "deleted", "the run was deleted", "deleted")


def note_working(installation: Installation, incident: str) -> None:
    """A process holds the lease: does the engine show its run as running?"""
    row = installation.store.lease_of(lease_name(incident))
    run_id = row.holder.rpartition("/")[2] if row else ""
    began = installation.store.entries(incident, types=(EntryType.RUN_STARTED,), flow_run_id=run_id)
    if not began or milliseconds_between(began[-1].at, clock()) < 1000 * JUST_NOW_SECONDS:
        return  # its tags may not be there yet, and it has better things to do than to wait for our questions
    run = next((run for run in runs_of(incident) if str(run.id) == run_id), None)
    again = installation.store.lease_of(lease_name(incident))
    if row is None or again is None or again.holder != row.holder:
        return
    if run is None:
        note(installation, incident, run_id, "deleted", "the working run was deleted, or its tags were", "gone")
    elif run.state is not None and not _fits_a_working_run(run.state):
        because = f"the working run was forced to {state_name(run.state)}; its process goes on"
        note(installation, incident, run_id, state_name(run.state), because, str(run.state.id))


def _fits_a_working_run(state: State) -> bool:
    """By its type: whoever forces a state chooses its name."""
    if state.type in ON_THE_WAY:
        return milliseconds_between(instant_from(state.timestamp), clock()) < 1000 * ON_THE_WAY_SECONDS
    return state.type is StateType.RUNNING
