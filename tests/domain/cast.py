"""The people, systems and incidents of the domain's tests. Everything valid; a test changes the one thing it is about."""

from runbooks.domain.approval import Answer, ApprovalRequest, Decision, Proof, Purpose, Statement
from runbooks.domain.configuration import (
    Configuration,
    Connection,
    Control,
    Person,
    Policy,
    ProofKind,
    Right,
    System,
)  # fmt: skip
from runbooks.domain.containment import VERB_REVERSIBILITY, ContainmentAction, Reversibility, Verb
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import Archetype, Incident, Origin, Requester
from runbooks.domain.instants import Instant, later
from runbooks.domain.planning import action_for
from runbooks.domain.preauthorisation import Preauthorisation
from runbooks.domain.runbook import ContainmentStep, ReviewGuide, Runbook, Scenario, Selects, When
from runbooks.domain.severity import Severity, SeverityJudgement
from runbooks.domain.signal import Basis, Classified, Signal, Strength, TriageOutcome

NOW: Instant = "2026-11-21T02:00:00.000000000Z"
SEAL = "sha256:" + "5" * 64
PEOPLE = ("alice", "bob", "carol", "dora")
KEYS = {f"SHA256:{name}": f"ssh-ed25519 AAAA{name} {name}@laptop" for name in PEOPLE}


def a_person(name: str, **changes: object) -> Person:
    return Person(
        name=name.title(), roles=("security",), ssh_keys=(f"ssh-ed25519 AAAA{name} {name}@laptop",),
        code_secret=f"file:codes/{name}",
    ).model_copy(update=changes)  # fmt: skip


def a_control(verb: Verb, **changes: object) -> Control:
    name = verb.replace("_", "-")
    return Control(
        name=name, verb=verb, connector="far", target=f"the-{name}", title=verb.shown, blast_radius="some", undo="back",
        tags=("harmful",), reversibility=VERB_REVERSIBILITY.get(verb, Reversibility.R1),
    ).model_copy(update=changes)  # fmt: skip


def a_system(*controls: Control, practice: bool = False) -> System:
    return System(
        title="Agent", owner="alice", lead="alice", practice=practice, connections={"far": Connection(kind="http_agent")},
        controls=controls or tuple(a_control(verb) for verb in Verb),
    )  # fmt: skip


def a_configuration(**changes: object) -> Configuration:
    base = {
        "people": {name: a_person(name) for name in PEOPLE},
        "policy": Policy(rights=(Right(roles=("security",)),), preauthorised=(PREAUTHORISED,)),
        "systems": {"agent": a_system(), "practice": a_system(practice=True)},
        "runbooks": {},
    }
    return Configuration.model_validate(base | changes)


PREAUTHORISED = Preauthorisation(
    id="at-once", archetypes=(Archetype.AGENTIC_MISALIGNMENT,), systems=("agent",),
    verbs=(Verb.DISABLE_TOOL, Verb.BLOCK_CLIENT, Verb.CALL_HTTP), severities=(Severity.SEV1,), sources=("monitor",),
    why="it runs",
)  # fmt: skip


def an_incident(**changes: object) -> Incident:
    return Incident(
        id="INC-0001", archetype=Archetype.AGENTIC_MISALIGNMENT, systems=("agent",), lead="alice",
        requester=Requester(name="erin", proven=True),
        severity=SeverityJudgement(severity=Severity.SEV1, reasons=("grave",), provisional=False), causes=(),
        opened_at=NOW, noticed_at=NOW, began_at=None, report="sha256:" + "4" * 64, drill=False, near_miss=False,
        origin=Origin(source="monitor", fresh=True, delivery="DLV-" + "0" * 26, received_at=NOW),
    ).model_copy(update=changes)  # fmt: skip


def an_action(verb: Verb = Verb.DISABLE_TOOL, **changes: object) -> ContainmentAction:
    return action_for(an_incident(), a_control(verb), "it did harm").model_copy(update=changes)


def a_step(verb: Verb, *tags: str, when: When = When.AFTER_APPROVAL) -> ContainmentStep:
    return ContainmentStep(verb=verb, tags=tags, when=when, why="it did harm")


def a_runbook(*steps: ContainmentStep, **changes: object) -> Runbook:
    return Runbook(
        archetype=Archetype.AGENTIC_MISALIGNMENT, title="T", summary="S", references=("LLM06",), signals=("rogue",),
        near_misses=("stopped",), evidence=(EvidenceClass.A,), containment=steps, review=ReviewGuide(questions=()),
        scenarios=(Scenario(name="s", selects=Selects.THIS, labels=("rogue",), severity=Severity.SEV1),),
    ).model_copy(update=changes)  # fmt: skip


def a_request(configuration: Configuration, **changes: object) -> ApprovalRequest:
    action = an_action()
    return ApprovalRequest(
        id="REQ-0001", installation="here", incident="INC-0001", nonce="n", purpose=Purpose.CONTAIN, step=action.id,
        action=action.digest(), what="w", target="t", why="y", blast_radius="b", reversibility=action.reversibility,
        undo="u", manifest=SEAL, requester=Requester(name="erin", proven=True), roles=("security",), people=2,
        proofs=(ProofKind.SSH, ProofKind.CODE), asked_at=NOW, expires_at=later(NOW, 3600), drill=False,
        configuration=configuration.digest(), runbook="sha256:" + "6" * 64,
    ).model_copy(update=changes)  # fmt: skip


def a_decision(
    request: ApprovalRequest, person: str, entry: int, answer: Answer = Answer.APPROVE, **changes: object
) -> Decision:
    statement = Statement(
        installation=request.installation, request=request.digest(), answer=answer, person=person, reason="because"
    )
    proof = Proof(kind=ProofKind.SSH, key=f"SHA256:{person}", signature="s")
    return Decision(statement=statement, proof=proof, at=later(NOW, entry), entry=entry).model_copy(update=changes)


def a_signal(**changes: object) -> Signal:
    return Signal(
        delivery="DLV-" + "0" * 26, ordinal=0, source="monitor", mapping="sha256:" + "7" * 64, kind="alert",
        event_key="sha256:" + "8" * 64, system="agent", environment="production", occurred_at=None, received_at=NOW,
        strength=Strength.SIGNED, text="{{ 7 * 7 }} it refunds everybody",
    ).model_copy(update=changes)  # fmt: skip


def a_classified(**changes: object) -> Classified:
    return Classified(
        outcome=TriageOutcome.AGENTIC_MISALIGNMENT, archetype=Archetype.AGENTIC_MISALIGNMENT, basis=Basis.LABEL,
        severity=SeverityJudgement(severity=Severity.SEV2, reasons=("exposure",), provisional=False), rule="label",
        rules_version="sha256:" + "3" * 64, reasons=("its label",),
    ).model_copy(update=changes)  # fmt: skip
