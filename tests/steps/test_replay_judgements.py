"""A record whose judgements do not follow from its own inputs: each is found, with what was recorded and recomputed."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.ledger import EntryType
from runbooks.domain.replay import Outcome, Replay
from runbooks.domain.value import canonical, digest_of
from tasks.installation import Installation
from tasks.ledger import flow_actor
from tasks.proofs import listed_fingerprints
from tests.contracts.bundle.ground import an_incident


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, people_keys: dict[str, Path]) -> tuple[Installation, str]:
    """A closed response that was decided rightly."""
    installation, incident = an_incident(tmp_path_factory.mktemp("replay") / "home", people_keys, close=False)
    pen = installation.pen(flow_actor("prompt-injection"))
    pen.write(EntryType.INCIDENT_CLOSED, "closed", incident=incident, body={"ending": "partial"})
    return installation, incident


class _Forger:
    """Entries of the real incident with one thing changed, and objects that fit the change."""

    def __init__(self, installation: Installation, incident: str) -> None:
        self.entries = installation.store.entries(incident)
        self.house = installation.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))
        self._vault, self._more = installation.vault, dict[str, bytes]()

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

    def without(self, kind: EntryType) -> None:
        """Take the entries of a type out."""
        self.entries = [e for e in self.entries if e.type is not kind]

    def differences(self) -> Iterator[tuple[EntryType, str]]:
        def read(digest: str) -> bytes | None:
            return self._more.get(digest) or (self._vault.get(digest) if self._vault.has(digest) else None)

        for step in Replay(self.entries, self.house, read, listed_fingerprints).steps():
            if step.outcome is Outcome.DIFFERS:
                yield step.type, "; ".join(step.differences)


WRONG: dict[str, tuple[Callable[[_Forger], None], EntryType, str]] = {
    "a milder severity": (
        lambda f: f.thing(EntryType.INCIDENT_OPENED, "incident", lambda v: v["severity"].update(severity="SEV4")),
        EntryType.INCIDENT_OPENED, "severity",
    ),
    "evidence left out of the manifest": (
        lambda f: f.thing(EntryType.EVIDENCE_SEALED, "manifest", lambda v: v["collections"].pop()),
        EntryType.EVIDENCE_SEALED, "collections that were sealed",
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
