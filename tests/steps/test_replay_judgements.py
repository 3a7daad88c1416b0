"""A record whose judgements do not follow from its own inputs: each is found, with what was recorded and recomputed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.incident import Archetype, Cause, Origin, Report
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.replay import Outcome, Replay
from runbooks.domain.severity import Severity, SeverityJudgement
from runbooks.domain.signed import RECLASSIFICATION_NAMESPACE, Reclassification
from runbooks.domain.value import canonical, digest_of
from tasks.incident import open_incident, raise_severity
from tasks.installation import Installation
from tasks.ledger import door_actor, flow_actor
from tasks.proofs import listed_fingerprints, sign_bytes
from tasks.reclassifying import reclassify
from tests.contracts.bundle.ground import an_incident


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, people_keys: dict[str, Path]) -> tuple[Installation, str]:
    """A closed response that was decided rightly; its severity was changed by people and by a signal."""
    installation, incident = an_incident(tmp_path_factory.mktemp("replay") / "home", people_keys, close=False)
    pen = installation.pen(flow_actor("prompt-injection"))
    words: list[tuple[str, dict[str, Any]]] = [
        ("ana", {"severity": Severity.SEV3}), ("ben", {"severity": Severity.SEV2}), ("ana", {"lead": "ben", "facts": (Cause.INJECTION,)}),
    ]  # fmt: skip
    for person, changed in words:
        said = Reclassification(
            installation=installation.id, incident=incident, was=installation.incident(incident).digest(),
            person=person, reason="I looked at it", **changed,
        )  # fmt: skip
        signature = sign_bytes(said.canonical(), people_keys[person], namespace=RECLASSIFICATION_NAMESPACE)
        reclassify(installation, said, signature, door=door_actor("practice"))
    worse = SeverityJudgement(severity=Severity.SEV1, reasons=("more of it",), provisional=False)
    assert raise_severity(installation, pen, incident, worse, "worse", "a further signal")
    pen.write(EntryType.INCIDENT_CLOSED, "closed", incident=incident, body={"ending": "partial"})
    return installation, incident


class _Forger:
    """Entries of the real incident with one thing changed, and objects that fit the change."""

    def __init__(self, installation: Installation, incident: str) -> None:
        self.entries = installation.store.entries(incident)
        self.house = installation.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
        self._vault, self._more = installation.vault, dict[str, bytes]()

    def one(self, kind: EntryType) -> LedgerEntry:
        """The first entry of a type."""
        return next(e for e in self.entries if e.type is kind)

    def body(self, kind: EntryType, **more: Any) -> None:
        """Change the body of the first entry of a type."""
        at = next(n for n, e in enumerate(self.entries) if e.type is kind)
        self.entries[at] = self.entries[at].model_copy(update={"body": {**self.entries[at].body, **more}})

    def thing(self, kind: EntryType, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the object of the first entry of a type, and the digest in the entry."""
        at = next(n for n, e in enumerate(self.entries) if e.type is kind)
        entry = self.entries[at]
        value = json.loads(self._vault.get(entry.subject[name]))
        change(value)
        data = canonical(value)
        self._more[digest_of(data)] = data
        self.entries[at] = entry.model_copy(update={"subject": {**entry.subject, name: digest_of(data)}})

    def again(self, kind: EntryType, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """The first entry of a type once more, at the end, with its object changed."""
        first = next(e for e in self.entries if e.type is kind)
        self.entries.append(first.model_copy(update={"index": self.entries[-1].index + 1}))
        self.entries.reverse()
        self.thing(kind, name, change)
        self.entries.reverse()

    def without(self, kind: EntryType) -> None:
        """Take the entries of a type out."""
        self.entries = [e for e in self.entries if e.type is not kind]

    def differences(self) -> Iterator[tuple[EntryType, str]]:
        def read(digest: str) -> bytes | None:
            return self._more.get(digest) or (self._vault.get(digest) if self._vault.has(digest) else None)

        for step in Replay(self.entries, self.house, read, listed_fingerprints).steps():
            if step.outcome is Outcome.DIFFERS:
                yield step.type, "; ".join(step.differences)


_LATER = "2099-01-01T00:00:00.000000000Z"


def _one_class_fewer(manifest: dict[str, Any]) -> None:
    manifest["required"].pop()
    manifest["standings"].pop()


def _signed(forger: _Forger, **more: Any) -> None:
    """Another statement in the first classification."""
    entry = forger.one(EntryType.INCIDENT_RECLASSIFIED)
    forger.body(EntryType.INCIDENT_RECLASSIFIED, signed={**entry.body["signed"], **more})


WRONG: dict[str, tuple[Callable[[_Forger], None], EntryType, str]] = {
    "a milder severity": (
        lambda f: f.thing(EntryType.INCIDENT_OPENED, "incident", lambda v: v["severity"].update(severity="SEV4")),
        EntryType.INCIDENT_OPENED, "severity",
    ),
    "evidence left out of the manifest": (
        lambda f: f.thing(EntryType.EVIDENCE_SEALED, "manifest", lambda v: v["collections"].pop()),
        EntryType.EVIDENCE_SEALED, "collections that were sealed",
    ),
    "a class that the runbook requires left out": (
        lambda f: f.thing(EntryType.EVIDENCE_SEALED, "manifest", _one_class_fewer),
        EntryType.EVIDENCE_SEALED, "classes that the runbook requires",
    ),
    "a class said to be whole that is not": (
        lambda f: f.body(EntryType.COLLECTION_SEALED, failure="it broke off"),
        EntryType.EVIDENCE_SEALED, "of which something is missing",
    ),
    "given back by those who took it away": (
        lambda f: f.again(EntryType.APPROVAL_REQUESTED, "request", lambda v: v.update(purpose="undo")),
        EntryType.APPROVAL_REQUESTED, "people who took it away: recorded (), recomputed ('ana', ",
    ),
    "more time to answer": (
        lambda f: f.thing(EntryType.APPROVAL_REQUESTED, "request", lambda v: v.update(expires_at=_LATER)),
        EntryType.APPROVAL_REQUESTED, "expiry",
    ),
    "asked later than it was written": (
        lambda f: f.thing(EntryType.APPROVAL_REQUESTED, "request", lambda v: v.update(asked_at=_LATER)),
        EntryType.APPROVAL_REQUESTED, "when it was asked",
    ),
    "a severity that nobody signed": (
        lambda f: f.thing(EntryType.INCIDENT_RECLASSIFIED, "incident", lambda v: v["severity"].update(severity="SEV4")),
        EntryType.INCIDENT_RECLASSIFIED, "severity that stands: recorded SEV4, recomputed SEV3",
    ),
    "another lead under a signed severity": (
        lambda f: f.thing(EntryType.INCIDENT_RECLASSIFIED, "incident", lambda v: v.update(lead="ben")),
        EntryType.INCIDENT_RECLASSIFIED, "all but its severity",
    ),
    "a severity before that it never had": (
        lambda f: f.body(EntryType.INCIDENT_RECLASSIFIED, severity={"was": "SEV2", "is": "SEV3"}),
        EntryType.INCIDENT_RECLASSIFIED, "severity before: recorded SEV2",
    ),
    "lowered by somebody who does not lead": (
        lambda f: _signed(f, person="ben"), EntryType.INCIDENT_RECLASSIFIED, "only the lead lowers a severity",
    ),
    "signed for the incident as it never stood": (
        lambda f: _signed(f, was="sha256:" + "0" * 64), EntryType.INCIDENT_RECLASSIFIED, "as it stood when it was signed",
    ),
    "handed over by somebody who does not lead": (
        lambda f: f.body(EntryType.LEAD_CHANGED, signed={**f.one(EntryType.LEAD_CHANGED).body["signed"], "person": "cleo"}),
        EntryType.LEAD_CHANGED, "only the lead or the system's owner hands the lead over: expected ana",
    ),
    "handed over to somebody who is not listed": (
        lambda f: f.body(EntryType.LEAD_CHANGED, signed={**f.one(EntryType.LEAD_CHANGED).body["signed"], "lead": "mallory"}),
        EntryType.LEAD_CHANGED, "expected a listed person as the lead, found mallory",
    ),
    "a lead whom nobody named": (
        lambda f: f.thing(EntryType.LEAD_CHANGED, "incident", lambda v: v.update(lead="cleo")),
        EntryType.LEAD_CHANGED, "lead: recorded cleo, recomputed ben",
    ),
    "a severity changed with the lead": (
        lambda f: f.thing(EntryType.LEAD_CHANGED, "incident", lambda v: v["severity"].update(severity="SEV4")),
        EntryType.LEAD_CHANGED, "all but its lead",
    ),
    "a cause that nobody established": (
        lambda f: f.thing(EntryType.CAUSE_ESTABLISHED, "incident", lambda v: v["causes"].clear()),
        EntryType.CAUSE_ESTABLISHED, "facts",
    ),
    "a signal that made it milder": (
        lambda f: f.thing(EntryType.SEVERITY_CHANGED, "incident", lambda v: v["severity"].update(severity="SEV4")),
        EntryType.SEVERITY_CHANGED, "the worse of the two",
    ),
    "an act that no rule plans": (
        lambda f: f.thing(EntryType.PLAN_MADE, "plan", lambda v: v["actions"][0].update(target="prompt")),
        EntryType.PLAN_MADE, "acts",
    ),
    "a pre-authorisation that nobody gave": (
        lambda f: f.thing(EntryType.PLAN_MADE, "plan", lambda v: v.update(preauthorised=["refund-tool"])),
        EntryType.PLAN_MADE, "pre-authorised",
    ),
    "an instant before the seal, at which the signal was younger": (
        lambda f: f.body(EntryType.PLAN_MADE, planned_at="2026-11-21T02:00:00.000000000Z"),
        EntryType.PLAN_MADE, "seal or waiver that came after it",
    ),
    "one person fewer asked": (
        lambda f: f.thing(EntryType.APPROVAL_REQUESTED, "request", lambda v: v.update(people=1)),
        EntryType.APPROVAL_REQUESTED, "people: recorded 1, recomputed 2",
    ),
    "an easier role": (
        lambda f: f.thing(EntryType.APPROVAL_REQUESTED, "request", lambda v: v.update(roles=["product-owner"])),
        EntryType.APPROVAL_REQUESTED, "roles",
    ),
    "consent that nobody gave": (
        lambda f: f.without(EntryType.DECISION_RECORDED), EntryType.REQUEST_GRANTED, "recorded granted, recomputed waiting",
    ),
    "somebody who did not answer": (
        lambda f: f.body(EntryType.REQUEST_GRANTED, approvers=["ana", "dora"]), EntryType.REQUEST_GRANTED, "people who counted",
    ),
    "acting before the seal": (
        lambda f: f.without(EntryType.EVIDENCE_SEALED), EntryType.EFFECT_SENDING, "expected the evidence sealed",
    ),
    "acting without consent": (
        lambda f: f.without(EntryType.REQUEST_GRANTED), EntryType.EFFECT_SENDING, "expected consent",
    ),
    "acting after consent had ended": (
        lambda f: f.body(EntryType.DECISION_RECORDED, arrived_at="2999-01-01T00:00:00.000000000Z"),
        EntryType.EFFECT_CLAIMED, "expected a request that stands granted when its act is claimed, found waiting",
    ),
    "somebody left out who may never decide": (
        lambda f: f.thing(EntryType.APPROVAL_REQUESTED, "request", lambda v: v.update(excluded=["ben"])),
        EntryType.APPROVAL_REQUESTED, "who never counts",
    ),
    "a request that says a milder act": (
        lambda f: f.thing(EntryType.APPROVAL_REQUESTED, "request", lambda v: v.update(severity="SEV4")),
        EntryType.APPROVAL_REQUESTED, "verb, system and severity",
    ),
    "acting without a photograph": (
        lambda f: f.without(EntryType.BEFORE_CAPTURED), EntryType.EFFECT_SENDING, "photograph",
    ),
    "effective without a probe": (
        lambda f: f.body(EntryType.PROBES_JUDGED, saw=["refund: through"], status="effective"),
        EntryType.PROBES_JUDGED, "expected every path refused",
    ),
    "effective without an act": (
        lambda f: f.without(EntryType.EFFECT_APPLIED), EntryType.PROBES_JUDGED, "found nothing done",
    ),
    "more contained than was": (
        lambda f: f.without(EntryType.PROBES_JUDGED),
        EntryType.CONTAINMENT_JUDGED, "verdict",
    ),
    "a better ending": (
        lambda f: f.body(EntryType.INCIDENT_CLOSED, ending="recovered"), EntryType.INCIDENT_CLOSED, "recorded recovered",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_record_that_does_not_follow_from_its_inputs_differs(told: tuple[Installation, str], name: str) -> None:
    change, kind, words = WRONG[name]
    forger = _Forger(*told)
    assert not list(forger.differences())
    change(forger)
    found = list(forger.differences())
    assert any(type_ is kind and words in text for type_, text in found), found


def test_a_signal_that_was_judged_worse_than_its_report_is_no_difference(told: tuple[Installation, str]) -> None:
    """Its sender's own word makes it worse; a milder one than the report gives is found all the same."""
    installation, incident = told
    opened = installation.store.entries(incident)[0]
    report = Report.from_bytes(installation.vault.get(opened.subject["report"])).model_copy(update={"floors": ()})
    worst = SeverityJudgement(severity=Severity.SEV1, reasons=("its sender says so",), provisional=False)
    signalled = open_incident(
        installation, report, Archetype.PROMPT_INJECTION, drill=True, opener=door_actor("practice"), material=b"signal",
        judged=worst, origin=Origin(source="practice", fresh=True, delivery="RCP-1"),
    )  # fmt: skip
    assert signalled.severity == worst
    forger = _Forger(installation, signalled.id)
    assert not list(forger.differences())
    forger.thing(EntryType.INCIDENT_OPENED, "incident", lambda v: v["severity"].update(severity="SEV4"))
    assert list(forger.differences())
