"""Standings: every required class appears, and whatever is not whole says why."""

from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.evidence import Captured, Collection, EvidenceClass, Manifest, standings_of
from runbooks.domain.value import canonical, digest_of
from tests.domain.cast import NOW

classes = st.sampled_from(EvidenceClass)


def a_collection(
    evidence_class: EvidenceClass, dropped: int | None = None, items: int = 3, unreadable: int | None = None
) -> Collection:
    return Collection(
        id=f"col-{evidence_class}", incident="INC-0001", evidence_class=evidence_class, source="traces",
        media_type="application/json", items=items, bytes=10, item_root="sha256:" + "0" * 64, leaves="sha256:" + "1" * 64,
        packs=(), started_at=NOW, finished_at=NOW, dropped=dropped,
        unreadable=unreadable,
    )  # fmt: skip


counts = st.none() | st.integers(0, 9)
collections = st.lists(st.builds(a_collection, classes, counts, unreadable=counts), max_size=8).map(tuple)
reasons = st.text("abc", min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(classes, unique=True).map(tuple), collections,
    st.dictionaries(classes, st.lists(reasons, min_size=1, max_size=2).map(tuple)), st.dictionaries(classes, reasons),
)  # fmt: skip
def test_every_required_class_appears_with_its_reason(
    required: tuple[EvidenceClass, ...], collected: tuple[Collection, ...],
    failures: dict[EvidenceClass, tuple[str, ...]], absent: dict[EvidenceClass, str],
) -> None:  # fmt: skip
    standings = standings_of(required, collected, failures, absent)
    assert tuple(s.evidence_class for s in standings) == required
    for standing in standings:
        mine = [c for c in collected if c.evidence_class is standing.evidence_class]
        troubled = (
            standing.evidence_class in failures
            or standing.evidence_class in absent
            or any(c.dropped or c.unreadable for c in mine)
        )
        expected = Captured.UNAVAILABLE if not mine else Captured.PARTIAL if troubled else Captured.CAPTURED
        assert standing.captured is expected
        assert standing.reason
        assert len(standing.collections) == len(mine)
        for reason in failures.get(standing.evidence_class, ()):
            assert reason in standing.reason
    manifest = Manifest(
        incident="INC-0001", drill=False, sealed_at=NOW, required=required, standings=standings, collections=collected
    )
    assert {gap.evidence_class for gap in manifest.gaps} == {
        s.evidence_class for s in standings if s.captured != "captured"
    }
    assert manifest.items == 3 * len(collected)
    assert manifest.bytes == 10 * len(collected)


def test_reasons_in_words() -> None:
    def reason(**changes: object) -> str:
        given_ = {"collections": (), "failures": {}, "absent": {}} | changes
        return standings_of((EvidenceClass.D,), **given_)[0].reason  # type: ignore[arg-type]

    assert reason() == "no source is configured for it"
    assert reason(failures={EvidenceClass.D: ("timed out",)}) == "timed out"
    assert reason(absent={EvidenceClass.D: "it keeps none"}) == "the inventory says: it keeps none"
    assert reason(collections=(a_collection(EvidenceClass.D, dropped=2),)) == "traces says it dropped 2 items"
    assert reason(collections=(a_collection(EvidenceClass.D),)) == "3 items"
    assert reason(collections=(a_collection(EvidenceClass.D, unreadable=2),)) == (
        "2 of the items of traces could not be understood; they are sealed as they came"
    )
    nothing = a_collection(EvidenceClass.D, items=0)
    assert reason(collections=(nothing,)) == "0 items; traces answered and had none"
    assert reason(collections=(nothing,), failures={EvidenceClass.D: ("traces: cut",)}) == "traces: cut"


def test_a_collection_of_before_keeps_its_digest_and_counts_nothing_unreadable() -> None:
    """What was sealed before unreadable items were counted is what its entry says, byte for byte."""
    whole = a_collection(EvidenceClass.D).as_json()
    assert "unreadable" not in whole
    old = Collection.from_bytes(canonical(whole))
    assert (old.unreadable, old.digest()) == (None, digest_of(canonical(whole)))
    counted = a_collection(EvidenceClass.E, unreadable=0)
    assert Collection.from_bytes(counted.canonical()).unreadable == 0
    manifest = Manifest(
        incident="INC-0001", drill=False, sealed_at=NOW, required=(), standings=(), collections=(old, counted)
    )
    held = Manifest.from_bytes(manifest.canonical())
    assert held.digest() == manifest.digest()
    assert [one.digest() for one in held.collections] == [old.digest(), counted.digest()]
