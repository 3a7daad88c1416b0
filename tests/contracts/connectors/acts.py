"""One incident, one system, one act, and the grants for it."""

from collections.abc import Mapping
from typing import Any

from runbooks.domain.approval import ApprovalRequest, Purpose, RequestVerdict, Standing
from runbooks.domain.configuration import Configuration, Connection, Control, Person, Policy, ProofKind, Right, System
from runbooks.domain.containment import VERB_REVERSIBILITY, ContainmentAction, Reversibility, Verb
from runbooks.domain.grant import Grant
from runbooks.domain.incident import Archetype, Incident, Origin, Requester
from runbooks.domain.instants import instant_from_ns
from runbooks.domain.preauthorisation import Preauthorisation
from runbooks.domain.severity import Factors, judge_severity
from runbooks.domain.value import digest_of
from tests.contracts.connectors.authority import START_NS, Record

SYSTEM = "support-agent"
SEAL = digest_of(b"the seal")
EARLY = "2026-11-20T00:00:00.000000000Z"
LATE = "2027-01-01T00:00:00.000000000Z"


def new_record(name: str, kind: str, settings: Mapping[str, Any], *, practice: bool = True) -> Record:
    """An open incident, sealed, on a system that has one connection."""
    system = System(
        title="Support agent",
        owner="olga",
        lead="olga",
        practice=practice,
        connections={name: Connection(kind=kind, settings=dict(settings))},
    )
    policy = Policy(
        rights=(Right(roles=("lead",)),),
        preauthorised=(
            Preauthorisation(
                id="switch-off",
                archetypes=(Archetype.PROMPT_INJECTION,),
                systems=(SYSTEM,),
                verbs=tuple(verb for verb, least in VERB_REVERSIBILITY.items() if least is Reversibility.R1),
                sources=("monitor",),
                why="minutes count",
            ),
        ),
    )
    people = {"olga": Person(name="Olga", roles=("lead",))}
    incident = Incident(
        id="INC-7K2QF9",
        archetype=Archetype.PROMPT_INJECTION,
        systems=(SYSTEM,),
        lead="olga",
        requester=Requester(name="olga", proven=True),
        severity=judge_severity(Factors(), frozenset()),
        causes=(),
        opened_at=EARLY,
        noticed_at=EARLY,
        began_at=None,
        report=digest_of(b"the report"),
        drill=False,
        near_miss=False,
        origin=Origin(source="monitor", fresh=True, delivery="DLV-" + "0" * 26, received_at=instant_from_ns(START_NS)),
    )
    configuration = Configuration(people=people, policy=policy, systems={SYSTEM: system}, runbooks={})
    return Record(incident, configuration, SEAL)


def new_action(
    connector: str, verb: Verb, target: str, desired: dict[str, str], reversibility: Reversibility | None = None
) -> ContainmentAction:
    return ContainmentAction(
        id="the-act",
        incident="INC-7K2QF9",
        system=SYSTEM,
        verb=verb,
        connector=connector,
        target=target,
        desired=desired,
        reversibility=reversibility or VERB_REVERSIBILITY[verb],
        title="take it away",
        why="it does harm",
        blast_radius="one tool",
        undo="put it back",
    )


def in_the_inventory(record: Record, action: ContainmentAction) -> None:
    """The act is a control of its system, as it is when a plan was made from the inventory."""
    system = record.configuration.systems[SYSTEM]
    name = f"control-{len(system.controls)}"
    control = Control(
        name=name, verb=action.verb, connector=action.connector, target=action.target, desired=action.desired,
        reversibility=action.reversibility, title=action.title, blast_radius=action.blast_radius, undo=action.undo,
    )  # fmt: skip
    wider = system.model_copy(update={"controls": (*system.controls, control)})
    record.configuration = record.configuration.model_copy(update={"systems": {SYSTEM: wider}})


def granted(record: Record, action: ContainmentAction, purpose: Purpose = Purpose.CONTAIN, **changes: Any) -> Grant:
    """A grant for this act, resting on a request that stands granted. `changes` replace fields of both afterwards."""
    in_the_inventory(record, action)
    request = ApprovalRequest(
        id="REQ-7K2QF9",
        installation="test",
        incident=action.incident,
        nonce=f"nonce-{len(record.requests)}",
        purpose=purpose,
        step=action.id,
        action=action.digest(),
        what=action.title,
        target=action.target,
        why=action.why,
        blast_radius=action.blast_radius,
        reversibility=action.reversibility,
        undo=action.undo,
        manifest=changes.get("manifest", SEAL),
        waiver=changes.get("waiver"),
        requester=Requester(name="monitor", proven=False),
        roles=("lead",),
        people=1,
        proofs=(ProofKind.SSH,),
        asked_at=EARLY,
        expires_at=changes.get("expires_at", LATE),
        drill=action.drill,
        configuration=record.configuration.digest(),
        runbook=digest_of(b"the runbook"),
    )
    verdict = RequestVerdict(
        request=request.digest(),
        standing=changes.get("standing", Standing.GRANTED),
        approvers=("olga",),
        because="said so",
    )
    record.requests[request.digest()] = (request, verdict)
    return Grant(
        incident=action.incident,
        purpose=purpose,
        action=action.digest(),
        effect_key=action.effect_key if purpose is Purpose.CONTAIN else action.undo_key,
        manifest=request.manifest,
        waiver=request.waiver,
        request=request.digest(),
        configuration=record.configuration.digest(),
        expires_at=request.expires_at,
    )
