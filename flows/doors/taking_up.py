"""A start from the form whose process died before its incident stood: the keeper lets the same run begin once more."""

import socket

from prefect.client.schemas.objects import FlowRun

from flows.doors.looking import SLOW_START_SECONDS, age_of, process_lives
from runbooks.domain.ledger import EntryType
from tasks.engine import starts_without_incident, state_name
from tasks.incident import incident_of_run, opening_key
from tasks.installation import Installation
from tasks.ledger import KEEPER
from tasks.starting import start_again

MOST_BEGINNINGS = 5
"""Of one start from the form; after that a person looks."""


def take_up(installation: Installation) -> None:
    """What somebody sent through the form and no incident holds: the same run once more opens the same incident."""
    for run in starts_without_incident():
        if (
            not _died_before_it_began(run)
            or installation.store.find(opening_key(incident_of_run(installation, str(run.id)))) is not None
        ):
            continue  # it stands: from here on it is restarted like any other
        begun = installation.store.entries(types=(EntryType.RESPONSE_RESTARTED,), flow_run_id=str(run.id))
        if len(begun) >= MOST_BEGINNINGS:
            continue
        writer = installation.pen(KEEPER, str(run.id))
        last = len(begun) + 1 == MOST_BEGINNINGS
        writer.write(
            EntryType.RESPONSE_RESTARTED, f"begun-again/{run.id}/{len(begun) + 1}",
            body={
                "generation": len(begun) + 1, "engine_said": [f"{run.id}: {state_name(run.state)}"],
                "begun_from": str(run.state.id) if run.state else None,
                "because": "its process died before the incident stood" + ("; for the last time" if last else ""),
            },
        )  # fmt: skip
        start_again(run.id)


def _died_before_it_began(run: FlowRun) -> bool:
    """Crashed; or said to begin for a minute, by a process that is not there. Another machine's is not judged."""
    if run.state is None or run.state.is_crashed():
        return True
    elsewhere = (run.infrastructure_pid or "").partition(":")[0] not in ("", socket.gethostname())
    return not elsewhere and not process_lives(run) and age_of(run.state.timestamp) > SLOW_START_SECONDS
