"""What a source admits is in the manifest: items that nobody could understand, and that it had none."""

import pytest

from runbooks.domain.evidence import Captured, EvidenceClass, Manifest
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import EntryType
from tasks.connectors._collected import Collected, Facts
from tasks.connectors.memory import Memory
from tasks.evidence import seal_now
from tasks.ledger import flow_actor
from tests.steps.desk import Desk

WHO = flow_actor("test")


@pytest.mark.parametrize(
    ("items", "unreadable", "captured", "reason"),
    [
        (
            3,
            2,
            Captured.PARTIAL,
            "2 of the items of side:effects could not be understood; they are sealed as they came",
        ),
        (0, 0, Captured.CAPTURED, "0 items; side:effects answered and had none"),
        (3, 0, Captured.CAPTURED, "3 items"),
    ],
)
def test_what_a_source_counted_is_stated(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, items: int, unreadable: int, captured: Captured, reason: str
) -> None:
    def collect(self: Memory, what: str, since: Instant, until: Instant) -> Collected:
        del self, what, since, until
        return Collected(iter([b"{broken"] * items), Facts("application/json", unreadable=unreadable))

    monkeypatch.setattr(Memory, "_collect", collect)
    incident, place = desk.declare(), desk.installation
    manifest = Manifest.from_bytes(place.vault.get(seal_now(place, place.pen(WHO), incident)))
    (standing,) = (one for one in manifest.standings if one.evidence_class is EvidenceClass.G)
    assert (standing.captured, standing.reason) == (captured, reason)
    (collection,) = (one for one in manifest.collections if one.id in standing.collections)
    assert (collection.items, collection.unreadable) == (items, unreadable)
    (sealed,) = place.store.entries(incident, types=(EntryType.EVIDENCE_SEALED,))
    assert any(reason in gap for gap in sealed.body["gaps"]) is (captured is Captured.PARTIAL)
