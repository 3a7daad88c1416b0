"""The first step of a response: the incident is opened or found again, and this run becomes the one that responds."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from runbooks.domain.errors import QuellError
from runbooks.domain.identifiers import incident_tag
from runbooks.domain.incident import Archetype, Name, Report
from runbooks.domain.ledger import EntryType
from runbooks.domain.severity import Floor
from runbooks.domain.value import Json, canonical, digest_of
from tasks.engine import tag_run
from tasks.incident import also_open, open_incident, with_floors
from tasks.ledger import Pen, clock
from tasks.presence import AnotherRunWorksError, Presence
from tasks.step import actor, here, pen, run_id, run_tags, step, tell

_FLOORS: dict[str, tuple[Floor, ...]] = {
    "harm goes on right now, or nobody can stop it": (Floor.UNCONTROLLED_ACTION,),
    "some customers, money or data are touched": (Floor.EXPOSURE,),
}
"""What the form's sentences mean for the severity."""


@step("open the incident")
def open_response(start: dict[str, Json], archetype: Archetype) -> Name:
    """Open from the form, or find the incident that a door opened; returns its id."""
    installation = here()
    if start["incident"]:
        incident = installation.incident(str(start["incident"]))
    else:
        book = installation.runbook(archetype, installation.active())
        report = Report(
            system=str(start["system"]).strip().lower(), what_happened=str(start["what_happened"]),
            reporter=str(start["your_name"]).strip() or "unknown", lead=str(start["lead"]).strip() or "unknown",
            noticed_at=clock(), floors=_FLOORS.get(str(start["how_bad"]), ()),
            near_miss="near miss" in str(start["how_bad"]), source="form",
        )  # fmt: skip
        incident = open_incident(
            installation, with_floors(report, book.severity_floors), archetype, drill=bool(start["drill"]),
            opener=actor(), material=(run_id() or "").encode(),
        )  # fmt: skip
        if same := also_open(installation, incident.id):
            tell(f"Already open for the same system and kind: {', '.join(same)}. Look there first.")
    flow_run = run_id()
    if flow_run and incident_tag(incident.id) not in run_tags():
        tag_run(flow_run, incident.id, drill=incident.drill)
    return incident.id


@contextmanager
def respond(incident_id: str, told: str = "") -> Iterator[None]:
    """Be the one live run of this incident while inside; write how the run left, whatever happens.

    `told` is a digest of what the run was started with.
    """
    installation, writer, flow_run = here(), pen(), run_id() or "none"
    with Presence(installation, incident_id, actor(), flow_run), ExitStack() as leaving:
        _note_changed_start(writer, incident_id, flow_run, told)
        writer.write(
            EntryType.RUN_STARTED, f"run/{flow_run}/{clock()}", incident=incident_id,
            body={"flow_run": flow_run, "start": told},
        )  # fmt: skip
        leaving.push(lambda _, error, __: _left(writer, incident_id, flow_run, error))
        yield


def _left(writer: Pen, incident_id: str, flow_run: str, error: BaseException | None) -> bool:
    """Write how a run left: at its end, by a failure (foreign words stay out), or, silently, to wait for people."""
    if error is None:
        writer.write(EntryType.RUN_ENDED, f"ended/{flow_run}/{clock()}", incident=incident_id, body={})
    elif isinstance(error, Exception) and not isinstance(error, AnotherRunWorksError):
        because = (
            str(error) if isinstance(error, QuellError) else f"a fault that nobody foresaw ({type(error).__name__})"
        )
        writer.write(
            EntryType.PERSON_NEEDED, f"stopped/{flow_run}/{clock()}", incident=incident_id,
            body={"because": because, "needed": "the run stopped; the keeper starts it again"},
        )  # fmt: skip
    return False


def _note_changed_start(writer: Pen, incident_id: str, flow_run: str, told: str) -> None:
    """A run that was started with one thing and wakes with another: somebody changed its parameters in the engine."""
    earlier = writer.store.entries(types=(EntryType.RUN_STARTED,), flow_run_id=flow_run)
    if earlier and (earlier[-1].incident, earlier[-1].body.get("start", told)) != (incident_id, told):
        writer.write(
            EntryType.RUN_INTERFERED, f"interfered/{flow_run}/{told}", incident=earlier[-1].incident,
            body={
                "flow_run": flow_run, "engine_said": "other parameters", "now": incident_id,
                "because": "the parameters of the run were changed while it waited",
            },
        )  # fmt: skip


def start_digest(start: dict[str, Json]) -> str:
    """What a run was started with, as a digest: hostile text stays out of the record."""
    return digest_of(canonical(start))
