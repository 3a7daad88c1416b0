"""`quell reclassify`: a proven person, both values on record, and what is taken away needs consent of its own."""

from typing import Any

import pytest

from runbooks.domain.errors import ApprovalError
from runbooks.domain.ledger import EntryType
from runbooks.domain.severity import Severity
from runbooks.domain.signed import RECLASSIFICATION_NAMESPACE, Reclassification
from tasks.ledger import door_actor, flow_actor
from tasks.proofs import sign_bytes
from tasks.reclassifying import reclassify as hand_in
from tasks.review import write_review
from tasks.triage import call
from tests.steps.desk import Desk, Ran


def reclassify(desk: Desk, incident: str, person: str, *words: str) -> Ran:
    return desk(
        "reclassify", incident, "--as", person, "--key", str(desk.keys[person]), "--reason", "it reads like one",
        "--json", *words,
    )  # fmt: skip


def entries(desk: Desk, incident: str) -> list[dict[str, Any]]:
    found = desk.installation.store.entries(incident, types=(EntryType.INCIDENT_RECLASSIFIED,))
    return [entry.body for entry in found]


def test_anybody_who_is_listed_raises_and_only_the_lead_lowers(desk: Desk) -> None:
    incident = desk.declare("--how-bad", "customers", archetype="unclassified")
    before = desk.installation.incident(incident)
    assert (before.lead, before.severity.severity) == ("ana", Severity.SEV2)
    raised = reclassify(desk, incident, "ben", "--severity", "SEV1")
    assert (raised.code, raised.json["incident"], raised.json["continues"]) == (0, incident, None)
    assert raised.json["severity"] == {"was": "SEV2", "is": "SEV1"}
    refused = reclassify(desk, incident, "ben", "--severity", "SEV3")
    assert (refused.code, "only the lead" in refused.json["error"]["problem"]) == (1, True)
    lowered = reclassify(desk, incident, "ana", "--severity", "SEV3")
    assert lowered.code == 0
    now = desk.installation.incident(incident)
    assert (now.severity.severity, now.severity.provisional) == (Severity.SEV3, False)
    assert [body["severity"] for body in entries(desk, incident)] == [
        {"was": "SEV2", "is": "SEV1"}, {"was": "SEV1", "is": "SEV3"},
    ]  # fmt: skip
    assert all(body["because"] == "it reads like one" for body in entries(desk, incident))
    assert desk("show", incident, "--json").json["severity"] == "SEV3"
    assert len(desk.installation.store.entries(incident, types=(EntryType.DECISION_REFUSED,))) == 1


def test_another_archetype_opens_an_incident_that_continues_it(desk: Desk) -> None:
    incident = desk.declare(archetype="unclassified")
    ran = reclassify(desk, incident, "ben", "--archetype", "prompt-injection")
    assert (ran.code, ran.json["continues"], ran.json["started"]) == (0, incident, False)
    new = desk.installation.incident(ran.json["incident"])
    assert new.id != incident
    assert (new.archetype, new.continues, new.drill, new.lead) == ("prompt_injection", incident, True, "ana")
    assert (new.requester.name, new.requester.proven) == ("ben", True)
    assert desk.installation.incident(incident).archetype == "unclassified"
    assert entries(desk, incident)[0]["continued_as"] == new.id
    assert entries(desk, new.id)[0]["continues"] == incident
    assert entries(desk, new.id)[0]["archetype"] == {"was": "unclassified", "is": "prompt_injection"}
    assert incident in desk("show", new.id).out
    assert "a ticket made it refund" in desk("show", new.id).out


def test_whoever_reclassified_has_asked_for_it_and_cannot_approve(desk: Desk) -> None:
    incident = desk.declare(archetype="unclassified")
    new = reclassify(desk, incident, "ben", "--archetype", "prompt-injection").json["incident"]
    desk.respond(new)
    waits = desk("inbox", "--json").json["requests"]
    assert waits
    ran = desk.approve(waits[0]["request"], "ben")
    assert (ran.code, ran.json["counts"]) == (1, False)
    assert desk.approve(waits[0]["request"], "ana").json["standing"] == "granted"


def test_what_still_waits_under_the_old_one_is_said(desk: Desk) -> None:
    incident = desk.declare()
    desk.respond(incident)
    open_before = [one["request"] for one in desk("inbox", "--json").json["requests"]]
    ran = reclassify(desk, incident, "ana", "--archetype", "agentic-misalignment")
    assert ran.json["still_waiting"] == open_before


def test_a_severity_never_falls_by_another_archetype(desk: Desk) -> None:
    incident = desk.declare("--how-bad", "ongoing")
    ran = reclassify(desk, incident, "ben", "--archetype", "unclassified")
    assert ran.json["severity"] == {"was": "SEV1", "is": "SEV1"}


def test_a_near_miss_that_was_none(desk: Desk) -> None:
    incident = desk.declare("--near-miss")
    assert desk.installation.incident(incident).near_miss
    new = reclassify(desk, incident, "ben", "--harm-happened").json["incident"]
    assert not desk.installation.incident(new).near_miss
    assert desk.installation.incident(new).continues == incident


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "expected --archetype"),
        (("--archetype", "prompt-injection"), 1, "that already"),
        (("--archetype", "toxicity-abuse"), 1, "no runbook"),
        (("--archetype", "nonsense"), 2, "invalid choice"),
        (("--harm-happened",), 1, "that already"),
    ],
)
def test_what_changes_nothing_is_said(desk: Desk, words: tuple[str, ...], code: int, told: str) -> None:
    incident = desk.declare()
    ran = reclassify(desk, incident, "ana", *words)
    assert (ran.code, told in ran.json["error"]["problem"]) == (code, True), ran
    assert not entries(desk, incident)


def test_without_a_signature_or_with_another_persons_nothing_changes(desk: Desk) -> None:
    incident = desk.declare()
    words = ["reclassify", incident, "--severity", "SEV2", "--reason", "x", "--json"]
    assert "needs an SSH signature" in desk(*words, "--as", "ana").json["error"]["problem"]
    assert desk(*words, "--as", "ana", "--key", str(desk.keys["ben"])).code == 1
    assert desk(*words, "--as", "eve", "--key", str(desk.keys["ben"])).code == 1
    assert not entries(desk, incident)


def test_a_signature_for_the_incident_as_it_was_is_refused(desk: Desk) -> None:
    incident = desk.declare("--how-bad", "customers", archetype="unclassified")
    place = desk.installation
    said = Reclassification(
        installation=place.id, incident=incident, was=place.incident(incident).digest(), severity=Severity.SEV3,
        person="ana", reason="less bad",
    )  # fmt: skip
    signature = sign_bytes(said.canonical(), desk.keys["ana"], namespace=RECLASSIFICATION_NAMESPACE)
    assert reclassify(desk, incident, "ben", "--severity", "SEV1").code == 0
    with pytest.raises(ApprovalError, match="as it stands now"):
        hand_in(place, said, signature, door=door_actor("test"))


def test_the_lead_or_the_owner_hands_the_lead_over_and_nobody_takes_it(desk: Desk) -> None:
    incident = desk.declare("--how-bad", "customers", archetype="unclassified")
    call(desk.installation, desk.installation.pen(flow_actor("test")), incident)
    taken = reclassify(desk, incident, "ben", "--lead", "ben")
    assert (taken.code, "only the lead or the system's owner" in taken.json["error"]["problem"]) == (1, True)
    nobody = reclassify(desk, incident, "ana", "--lead", "eve")
    assert (nobody.code, "not listed" in nobody.json["error"]["problem"]) == (1, True)
    assert desk.installation.incident(incident).lead == "ana"
    assert reclassify(desk, incident, "ana", "--lead", "ben").json["lead"] == {"was": "ana", "is": "ben"}
    assert reclassify(desk, incident, "dora", "--lead", "cleo").code == 0, "dora owns the system"
    found = desk.installation.store.entries(incident, types=(EntryType.LEAD_CHANGED,))
    assert [(e.actor.name, e.body["lead"]["is"], e.body["because"]) for e in found] == [
        ("ana", "ben", "it reads like one"), ("dora", "cleo", "it reads like one"),
    ]  # fmt: skip
    (listed,) = desk("incidents", "--json").json["incidents"]
    assert (listed["lead"], "say what it is" in listed["needed"]) == ("cleo", True), "who leads does not say what it is"
    assert reclassify(desk, incident, "ana", "--severity", "SEV3").code == 1, "no longer the lead"
    assert reclassify(desk, incident, "cleo", "--severity", "SEV3").code == 0
    assert "the lead was handed over by dora: cleo" in desk("show", incident).out


def test_when_nobody_listed_leads_anybody_who_is_takes_it(desk: Desk) -> None:
    ran = desk("declare", "--system", "unheard-of", "--what", "odd", "--as", "eve", "--drill", "--json")
    incident = ran.json["incident"]
    assert any(f"quell reclassify {incident} --lead NAME" in notice for notice in ran.json["notices"])
    assert reclassify(desk, incident, "ben", "--lead", "ben").json["lead"]["is"] == "ben"
    assert reclassify(desk, incident, "cleo", "--lead", "cleo").code == 1, "now somebody leads"


def test_a_cause_becomes_a_fact_whether_it_was_suspected_or_not(desk: Desk) -> None:
    incident = desk.declare("--cause", "injection:a ticket said so", "--cause", "drift:perhaps")
    ran = reclassify(desk, incident, "ben", "--cause-is-fact", "injection", "--cause-is-fact", "unsafe-retrieval")
    assert (ran.code, ran.json["facts"]) == (0, ["injection", "unsafe_retrieval"])
    causes = {
        one["cause"]: (one["standing"], one["because"]) for one in desk("show", incident, "--json").json["causes"]
    }
    assert causes == {
        "drift": ("hypothesis", "perhaps"), "injection": ("fact", "it reads like one"),
        "unsafe_retrieval": ("fact", "it reads like one"),
    }  # fmt: skip
    assert "a cause was established by ben: injection, unsafe retrieval" in desk("show", incident).out
    again = reclassify(desk, incident, "ana", "--cause-is-fact", "injection")
    assert (again.code, "that already" in again.json["error"]["problem"]) == (1, True)
    (entry,) = desk.installation.store.entries(incident, types=(EntryType.CAUSE_ESTABLISHED,))
    assert (entry.actor.name, entry.body["because"]) == ("ben", "it reads like one")
    desk.respond(incident)
    review = write_review.fn(incident)
    assert "cause, established: injection (it reads like one)" in review.impact
    assert [q for q in review.questions if "was a cause" in q] == ["Is it true that drift was a cause (perhaps)?"]
    new = reclassify(desk, incident, "ana", "--archetype", "agentic-misalignment").json["incident"]
    assert desk.installation.incident(new).causes == desk.installation.incident(incident).causes


def test_replay_and_bundle_find_nothing_wrong(desk: Desk, tmp_path: Any) -> None:
    incident = desk.declare(archetype="unclassified")
    new = reclassify(desk, incident, "ben", "--archetype", "prompt-injection").json["incident"]
    reclassify(desk, new, "ana", "--severity", "SEV2", "--lead", "ben", "--cause-is-fact", "injection")
    kinds = (EntryType.INCIDENT_RECLASSIFIED, EntryType.LEAD_CHANGED, EntryType.CAUSE_ESTABLISHED)
    assert [e.type for e in desk.installation.store.entries(new, types=kinds)][-3:] == list(kinds)
    for one in (incident, new):
        key = desk("export", one, str(tmp_path / one), "--json").json["key"]
        assert desk("verify", str(tmp_path / one), "--key", key, "--json").code == 0
        signed = [file.read_text().strip() for file in sorted((tmp_path / one).glob("data/decisions/*/namespace"))]
        changes = len(desk.installation.store.entries(one, types=kinds))
        assert signed.count(RECLASSIFICATION_NAMESPACE) == changes > 0, "each with the signature that proves it"
        faults = [
            f
            for f in desk("replay", str(tmp_path / one), "--key", key, "--json").json["findings"]
            if f["weight"] == "fault"
        ]
        assert not faults
