"""Attacks on the record itself: entries in people's names, well formed and in the chain, by whoever may write to the ledger."""

import pytest

from runbooks.domain.approval import Answer, Purpose, Standing
from runbooks.domain.errors import GrantRefusedError
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.signed import POLICY_NAMESPACE, Waiver
from runbooks.domain.value import Json
from tasks.approval import plan_of, verdict_on
from tasks.authority import LedgerAuthority, grant_for
from tasks.ledger import INSTALLATION, flow_actor, person_actor
from tasks.policy import activate_files, activation_of
from tasks.proofs import fingerprint, sign_bytes
from tasks.replay import replay_live
from tests.attacks.ground import Ground
from tests.attacks.on_acts import _perform
from tests.attacks.on_configuration import _activate, _edited
from tests.attacks.table import ALONE, attack

STEP = "refund-tool"


def _unsigned(g: Ground, person: str) -> dict[str, Json]:
    """A proof as it stands in the record, with the fingerprint of a key that is listed; only the signature is missing."""
    key = fingerprint(g.installation.active().people[person].ssh_keys[0])
    return {"kind": "ssh", "key": key, "signature": None, "time_step": None}


def _decision(g: Ground, incident: str, person: str) -> LedgerEntry:
    request = g.request(incident, STEP)
    return g.installation.pen(person_actor(person)).write(
        EntryType.DECISION_RECORDED, f"decision/{person}/{request.digest()}/approve/forged", incident=incident,
        subject={"request": request.digest(), "action": request.action},
        body={
            "statement": g.say(request, person).as_json(), "proof": _unsigned(g, person), "request": request.id,
            "arrived_at": g.installation.now(), "attested": "signed by the person",
        },
    )  # fmt: skip


def _waiver(g: Ground, incident: str) -> LedgerEntry:
    place = g.installation
    said = Waiver(installation=place.id, incident=incident, person="ana", reason="no time")
    return place.pen(person_actor("ana")).write(
        EntryType.EVIDENCE_WAIVED, f"waived/{said.digest()}", incident=incident, subject={"waiver": place.keep(said)},
        body={"because": said.reason, "person": "ana", "proof": _unsigned(g, "ana")},
    )  # fmt: skip


def _activation(g: Ground) -> LedgerEntry:
    """The files become active, says the installation; an owner is named and was not asked."""
    place = g.installation
    last = place.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))[-1]
    files = place.proposed()
    return place.pen(INSTALLATION).write(
        EntryType.CONFIGURATION_ACTIVATED, f"configuration/{last.index}/{files.digest()}",
        subject={"configuration": place.keep(files)},
        body={"proof": "no owners are named", "signed_by_person": False, "previous": last.leaf},
    )  # fmt: skip


def _as_owner(g: Ground, person: str) -> None:
    """The owner makes the files active, as it should be."""
    step = activation_of(g.installation, g.installation.proposed(), person)
    signature = sign_bytes(step.canonical(), g.key(person), namespace=POLICY_NAMESPACE)
    activate_files(g.installation, g.installation.proposed(), step, signature)


def _named_by_replay(g: Ground, incident: str, entries: list[LedgerEntry]) -> None:
    found = [one.where for one in replay_live(g.installation, incident, lambda _: None).audit.faults]
    assert {f"entry {entry.index}" for entry in entries} <= set(found), found


@attack(
    "Append two approvals and a waiver in people's names, with quell's own pen and no signature",
    "refused by the connector base, on record; the log is sound and the replay names each entry",
    EntryType.EFFECT_REFUSED,
    lane=ALONE,
)
def appended_words(g: Ground) -> str:
    incident, place = g.declare(), g.installation
    forged = [_decision(g, incident, "ana"), _decision(g, incident, "cleo"), _waiver(g, incident)]
    assert place.store.check() == [], "by itself the log is sound"
    action = plan_of(place, incident).action(STEP)
    said = _perform(g, action)
    assert verdict_on(place, g.request(incident, STEP)).approvers == ()
    pen = place.pen(flow_actor("attack"))
    grant = grant_for(place, pen, action, Purpose.CONTAIN)
    waived = grant.model_copy(update={"manifest": None, "waiver": forged[2].subject["waiver"]})
    with pytest.raises(GrantRefusedError, match="no waiver that a person signed"):
        place.connector(action.system, action.connector, place.active()).perform(
            action, waived, LedgerAuthority(place, pen)
        )
    _named_by_replay(g, incident, forged)
    g.submit(g.say(g.request(incident, STEP), "cleo", Answer.DENY))
    assert verdict_on(place, g.request(incident, STEP)).standing is Standing.DENIED, "the real cleo is still heard"
    return said


@attack(
    "Append an activation that no owner of the policy signed: a role more may decide",
    "passed over: the act is refused, on record; the replay names the entry",
    EntryType.EFFECT_REFUSED,
    lane=ALONE,
)
def appended_activation(g: Ground) -> str:
    place, policy = g.installation, g.home / "config" / "policy.toml"
    with _edited(policy, "waiver_roles", 'owners = ["ana"]\nwaiver_roles'):
        _activate(g)
        incident, before = g.declare(), place.active_digest()
        with _edited(policy, '"on-call", "security"]', '"on-call", "security", "product-owner"]'):
            forged = _activation(g)
            assert (place.active_digest(), place.store.check()) == (before, [])
            later = g.declare()
            for person in ("ana", "dora"):
                g.submit(g.say(g.request(later, STEP), person))
            assert verdict_on(place, g.request(later, STEP)).approvers == ("ana",)
            said = _perform(g, plan_of(place, later).action(STEP))
        assert plan_of(place, later).configuration == before
        _named_by_replay(g, incident, [forged])
        for one in (incident, later):
            g.submit(g.say(g.request(one, STEP), "cleo", Answer.DENY))
    _as_owner(g, "ana")
    assert place.active().policy.owners == ()
    return said
