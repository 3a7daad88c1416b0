"""Where people find what belongs to an incident: its runs, the review, the door, evidence and record.

Only addresses of quell's own (law 8), made from the record and from where this installation is.
"""

from pathlib import Path

from runbooks.domain.ledger import EntryType
from tasks.installation import Installation
from tasks.settings import interface_of

DOOR_ADDRESS = Path("door") / "address"
"""Where a door that was started in a home leaves word."""


def run_link(flow_run_id: str) -> str:
    """The page of a run in Prefect's interface; empty while no server is known."""
    interface = interface_of()
    return f"{interface}/runs/flow-run/{flow_run_id}" if interface else ""


def runs_in_order(installation: Installation, incident_id: str) -> list[str]:
    """Ids of the runs that responded, oldest first."""
    started = installation.store.entries(incident_id, types=(EntryType.RUN_STARTED,))
    return list(dict.fromkeys(entry.flow_run_id for entry in started if entry.flow_run_id))


def response_link(installation: Installation, incident_id: str) -> str:
    """The page of the newest run of the response; empty while there is none."""
    runs = runs_in_order(installation, incident_id)
    return run_link(runs[-1]) if runs else ""


def ledger_place(installation: Installation) -> str:
    """Where the ledger is, without a password."""
    url = installation.settings.ledger_url
    return url if "@" not in url else url.partition("://")[0] + "://…@" + url.rpartition("@")[2]


def linked(installation: Installation, incident_id: str) -> list[tuple[str, str, str]]:
    """Pages of Prefect's interface, as far as they are known by now: what it is, its name, its address."""
    runs = runs_in_order(installation, incident_id)
    found = [
        ("Response", f"{incident_id}, run {number} of {len(runs)}" if len(runs) > 1 else incident_id, run_link(run))
        for number, run in enumerate(runs, start=1)
    ]
    scheduled = installation.store.entries(incident_id, types=(EntryType.REVIEW_SCHEDULED,))
    if scheduled:
        due = str(scheduled[-1].body["due"])
        found.append(("Review", f"{due[:10]} {due[11:16]} UTC", run_link(str(scheduled[-1].body["flow_run"]))))
    return [one for one in found if one[2]]


def kept(installation: Installation, incident_id: str) -> list[tuple[str, str]]:
    """What lies in files and databases, and where the door listens: what it is, where."""
    settings = installation.settings
    found = [("Evidence (vault)", settings.vault_path), ("Record (ledger)", ledger_place(installation))]
    scheduled = installation.store.entries(incident_id, types=(EntryType.REVIEW_SCHEDULED,))
    if scheduled:
        found.append(("Invitation", str(settings.home / "invitations" / str(scheduled[-1].body["invitation"]))))
    door = _door(settings.home)
    return [*found, ("Door (signals, signed answers)", door)] if door else found


def _door(home: Path) -> str:
    try:
        return (home / DOOR_ADDRESS).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
