"""A whole response on paper, in a folder that is thrown away: what code needs the first time it runs is there afterwards.

Real ledger, vault, guard and probes; the far side is words in memory. Processes that are forked from one that has
rehearsed seal in 100 ms what took 230 (two cores, ten sources).
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from runbooks.domain.approval import Purpose
from runbooks.domain.configuration import (
    Configuration,
    Connection,
    Control,
    EvidenceSource,
    Person,
    Policy,
    ProbeSpec,
    Right,
    System,
)
from runbooks.domain.containment import Reversibility, Verb
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import Archetype, Origin, Report
from runbooks.domain.ledger import Actor, ActorKind
from runbooks.domain.limits import Limits
from runbooks.domain.preauthorisation import Preauthorisation
from runbooks.loader import BOOK, load_book
from tasks.approval import ask, judge_all, plan_of
from tasks.containment import act
from tasks.evidence import seal_now
from tasks.incident import open_incident
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, clock
from tasks.planning import plan_now
from tasks.settings import Settings

NAME = "rehearsal"
_WHO = Actor(kind=ActorKind.FLOW, name=NAME)


def rehearse() -> None:
    """Open, seal, plan, act, probe, ask. Leaves no file, no thread and no connection behind."""
    with TemporaryDirectory(prefix="quell-rehearsal-") as folder:
        place = Installation(Settings(home=Path(folder), config=Path(folder), limits=Limits()))
        try:
            _respond(place)
        finally:
            place.store.close()


def _respond(place: Installation) -> None:
    place.activate(_configuration(), INSTALLATION, {"proof": NAME})
    now = clock()
    report = Report(
        system=NAME, what_happened=NAME, reporter=NAME, reporter_proven=True, lead=NAME, noticed_at=now, source=NAME
    )
    origin = Origin(source=NAME, fresh=True, delivery=NAME, received_at=now)
    incident = open_incident(
        place, report, Archetype.AGENTIC_MISALIGNMENT, drill=True, opener=_WHO, material=b"", origin=origin
    )
    pen = place.pen(_WHO)
    seal_now(place, pen, incident.id)
    plan_now(place, pen, incident.id)
    plan = plan_of(place, incident.id)
    for action in plan.actions:
        if action.id in plan.preauthorised:
            act(place, pen, action)
        else:
            ask(place, pen, incident, plan, action, Purpose.CONTAIN)
    judge_all(place, incident.id)


def _configuration() -> Configuration:
    def control(name: str, verb: Verb) -> Control:
        return Control(
            name=name, verb=verb, connector="memory", target=name, title=name, blast_radius="", undo="",
            tags=("harmful",), probes=("look",), deadline_seconds=1,
        )  # fmt: skip

    system = System(
        title=NAME, owner=NAME, lead=NAME, practice=True,
        connections={"memory": Connection(kind="memory", settings={"targets": {"tool": {"status": "on"}, "token": {}}})},
        controls=(control("tool", Verb.DISABLE_TOOL), control("token", Verb.REVOKE_TOKEN)),
        evidence=tuple(
            EvidenceSource(evidence_class=one, connector="memory", what=what)
            for one, what in ((EvidenceClass.G, "effects"), (EvidenceClass.E, "control:tool"))
        ),
        probes={"look": ProbeSpec(connector="memory", settings={"target": "tool"})},
    )  # fmt: skip
    at_once = Preauthorisation(
        id=NAME, archetypes=(Archetype.AGENTIC_MISALIGNMENT,), systems=(NAME,), verbs=(Verb.DISABLE_TOOL,),
        sources=(NAME,), why=NAME,
    )  # fmt: skip
    right = Right(roles=(NAME,), reversibilities=tuple(Reversibility))
    return Configuration(
        people={NAME: Person(name=NAME, roles=(NAME,))}, systems={NAME: system},
        policy=Policy(rights=(right,), preauthorised=(at_once,)),
        runbooks={archetype: book.digest() for archetype, book in load_book(BOOK).items()},
    )  # fmt: skip
