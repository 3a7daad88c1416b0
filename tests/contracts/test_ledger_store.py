"""The contract of the ledger store: order, idempotence, chains, head, claims and leases."""

import pytest

from runbooks.domain.errors import GrantRefusedError, LedgerError
from runbooks.domain.instants import later
from runbooks.domain.ledger import EMPTY_ROOT, EntryType, check_entries, merkle_root
from tasks.stores import open_ledger, sql
from tasks.stores.base import ClaimRow, LedgerStore
from tests.contracts.stores.writer import GRANT, NOW, a_draft, alive


@pytest.fixture
def store(ledger_url: str) -> LedgerStore:
    return open_ledger(ledger_url)


def take(store: LedgerStore, holder: str, *, now: str = NOW, grant: str = GRANT, gone: str = "") -> ClaimRow | None:
    return store.take_claim(
        "effect", incident="INC-0001", grant=grant, holder=holder, now=now, lease_seconds=60, gone=lambda name: name == gone,
        draft=lambda fence, resumed: a_draft(f"claimed/{fence}/{resumed}", kind=EntryType.EFFECT_CLAIMED),
    )  # fmt: skip


def test_a_new_ledger_is_empty_and_sound(store: LedgerStore) -> None:
    assert (store.head(), store.size(), store.entries(), store.incidents()) == ((0, EMPTY_ROOT), 0, [], [])
    assert store.find("none") is None
    assert store.check() == []


def test_the_first_entry_under_a_key_stands(store: LedgerStore) -> None:
    first = store.append(a_draft("key"), NOW)
    again = store.append(a_draft("key", "INC-0002"), later(NOW, 60))
    assert again == first
    assert store.find("key") == first
    assert store.entries() == [first]


def test_the_latest_time_is_not_forgotten_when_a_clock_is_set_back(store: LedgerStore) -> None:
    assert store.latest() is None
    store.append(a_draft("ahead"), later(NOW, 60))
    store.append(a_draft("back"), NOW)
    assert store.latest() == later(NOW, 60)


def test_what_is_read_is_what_was_written(store: LedgerStore) -> None:
    draft = a_draft("key \u00e4\u20ac\U0001f512").model_copy(
        update={"subject": {"seal": GRANT}, "body": {"text": "\x00\u2028\ud7ff'\"", "n": [2**53 - 1, None, True, {}]}}
    )
    written = store.append(draft, NOW)
    assert store.entries() == [written]
    assert written.body == draft.body
    assert written.core() == written.model_copy().core()


def test_several_are_written_in_order_and_once(store: LedgerStore) -> None:
    store.append(a_draft("b"), NOW)
    written = store.append_all([a_draft("a"), a_draft("b"), a_draft("c", None), a_draft("a")], NOW)
    assert [(entry.key, entry.index) for entry in written] == [("a", 1), ("b", 0), ("c", 2), ("a", 1)]
    assert store.append_all([], NOW) == []


def test_several_are_written_or_none(store: LedgerStore) -> None:
    too_large = a_draft("large").model_copy(update={"body": {"text": "x" * 70_000}})
    with pytest.raises(LedgerError, match="vault"):
        store.append_all([a_draft("small"), too_large], NOW)
    assert store.find("small") is None
    assert store.size() == 0


def test_each_incident_has_its_chain_and_all_have_one_tree(store: LedgerStore) -> None:
    incidents = ["INC-0001", None, "INC-0002", "INC-0001", "INC-0002", None, "INC-0001"]
    for number, incident in enumerate(incidents):
        store.append(a_draft(f"k{number}", incident), NOW)
        entries = store.entries()
        assert store.head() == (number + 1, merkle_root([entry.leaf for entry in entries]))
    assert check_entries(store.entries()) == []
    assert [entry.incident_seq for entry in store.entries("INC-0001")] == [0, 1, 2]
    assert store.incidents() == ["INC-0001", "INC-0002"]
    assert store.check() == []


def test_entries_are_chosen_by_incident_type_run_and_place(store: LedgerStore) -> None:
    mine = a_draft("mine").model_copy(update={"flow_run_id": "run-1"})
    drafts = [
        mine,
        a_draft("other", "INC-0002"),
        a_draft("refused", kind=EntryType.EFFECT_REFUSED),
        a_draft("none", None),
    ]
    store.append_all(drafts, NOW)

    def keys(*args: str, **chosen: object) -> list[str]:
        return [entry.key for entry in store.entries(*args, **chosen)]  # type: ignore[arg-type]

    assert keys("INC-0001") == ["mine", "refused"]
    assert keys("INC-0001", since=1) == ["refused"]
    assert keys("INC-0001", types={EntryType.EFFECT_REFUSED}) == ["refused"]
    assert keys(types=[EntryType.EFFECT_APPLIED], since=1) == ["other", "none"]
    assert keys(flow_run_id="run-1") == ["mine"]
    assert keys("INC-0001", flow_run_id="run-1") == ["mine"]
    assert keys("INC-0003") == []


def test_a_log_is_walked_in_pages_from_either_end(store: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_PAGE", 3)
    monkeypatch.setattr(sql, "_LEAVES", 4)
    kinds = (EntryType.EFFECT_APPLIED, EntryType.EFFECT_REFUSED)
    written = store.append_all([a_draft(f"k{n}", f"INC-000{n % 2}", kinds[n % 2]) for n in range(10)], NOW)
    assert list(store.walk()) == written
    assert list(store.walk(since=4, backwards=True)) == written[:3:-1]
    assert list(store.walk(types=[EntryType.EFFECT_REFUSED])) == written[1::2]
    assert list(store.walk(since=99)) == []
    for size in (0, 1, 4, 9, 10):
        assert store.leaves(size).hex() == "".join(one.leaf.removeprefix("sha256:") for one in written[:size])


def test_a_second_opening_goes_on_where_the_first_stopped(ledger_url: str) -> None:
    first = open_ledger(ledger_url).append(a_draft("first"), NOW)
    second = open_ledger(ledger_url).append(a_draft("second"), NOW)
    assert (second.index, second.incident_seq, second.incident_prev) == (1, 1, first.leaf)


def test_a_claim_goes_to_one_and_is_an_entry(store: LedgerStore) -> None:
    first = take(store, "one")
    assert first is not None
    assert (first.fence, first.resumed, first.lease_until) == (1, False, later(NOW, 60))
    assert take(store, "two") is None
    assert store.claim_of("effect") == first
    assert store.claim_of("another") is None
    assert [entry.key for entry in store.entries()] == ["claimed/1/False"]


@pytest.mark.parametrize(
    ("holder", "seconds", "gone"), [("one", 0, ""), ("two", 60, ""), ("two", 0, "one")], ids=["same", "ended", "gone"]
)
def test_a_claim_is_taken_over_with_the_next_fence(store: LedgerStore, holder: str, seconds: int, gone: str) -> None:
    take(store, "one")
    second = take(store, holder, now=later(NOW, seconds), gone=gone)
    assert second is not None
    assert (second.fence, second.resumed, second.holder) == (2, True, holder)
    assert [entry.key for entry in store.entries()] == ["claimed/1/False", "claimed/2/True"]


def test_a_claim_is_held_until_the_very_end_of_its_lease(store: LedgerStore) -> None:
    take(store, "one")
    assert take(store, "two", now=later(NOW, 59)) is None


def test_one_effect_is_claimed_under_one_grant(store: LedgerStore) -> None:
    take(store, "one")
    with pytest.raises(GrantRefusedError):
        take(store, "one", grant="sha256:" + "b" * 64, now=later(NOW, 600))
    assert store.size() == 1


def say(
    store: LedgerStore, kind: EntryType, fence: int | None, effect: str = "effect", incident: str = "INC-0001"
) -> None:
    """Write what became of the claim with this fence."""
    draft = a_draft(f"{kind}/{fence}/{effect}/{incident}/{store.size()}", incident, kind)
    store.append(draft.model_copy(update={"body": {"effect": effect, "fence": fence}}), NOW)


SENDING, FAILED, UNKNOWN = EntryType.EFFECT_SENDING, EntryType.EFFECT_FAILED, EntryType.EFFECT_UNKNOWN
ANOTHER = "sha256:" + "b" * 64


@pytest.mark.parametrize("said", [[(FAILED, 1)], [(SENDING, 1), (SENDING, 1), (FAILED, 1)]], ids=["before", "refused"])
def test_another_grant_takes_over_what_is_on_record_as_failed(
    store: LedgerStore, said: list[tuple[EntryType, int]]
) -> None:
    take(store, "one")
    for kind, fence in said:
        say(store, kind, fence)
    second = take(store, "two", grant=ANOTHER)
    assert second is not None
    assert (second.fence, second.grant, second.resumed) == (2, ANOTHER, False), "nothing is left to read back"
    assert store.entries()[-1].key == "claimed/2/False"
    with pytest.raises(GrantRefusedError):
        take(store, "one", now=later(NOW, 600))
    say(store, FAILED, 2)
    again = take(store, "one")
    assert again is not None
    assert (again.fence, again.grant) == (3, GRANT)


@pytest.mark.parametrize(
    "said",
    [
        [(SENDING, 1)],
        [(SENDING, 1), (UNKNOWN, 1)],
        [(UNKNOWN, 1)],
        [(SENDING, 1), (FAILED, None)],
        [(FAILED, 1), (EntryType.EFFECT_APPLIED, 1)],
        [(FAILED, 1), (EntryType.EFFECT_UNDONE, 1)],
    ],
    ids=["sent", "unknown", "unread", "refused otherwise", "done", "undone"],
)
@pytest.mark.parametrize("gone", ["", "one"])
def test_another_grant_takes_over_nothing_that_may_be_done(
    store: LedgerStore, said: list[tuple[EntryType, int | None]], gone: str
) -> None:
    take(store, "one")
    for kind, fence in said:
        say(store, kind, fence)
    with pytest.raises(GrantRefusedError):
        take(store, "two", grant=ANOTHER, now=later(NOW, 600), gone=gone)
    claim = store.claim_of("effect")
    assert claim is not None
    assert (claim.grant, claim.fence) == (GRANT, 1)


def test_only_the_newest_claim_of_this_effect_of_this_incident_says_that_it_failed(store: LedgerStore) -> None:
    take(store, "one")
    say(store, FAILED, 1, effect="other")
    say(store, FAILED, 1, incident="INC-0002")
    with pytest.raises(GrantRefusedError):
        take(store, "two", grant=ANOTHER)
    say(store, FAILED, 1)
    take(store, "one")
    with pytest.raises(GrantRefusedError):
        take(store, "two", grant=ANOTHER, now=later(NOW, 600))


def test_another_grant_takes_over_from_the_dead_who_sent_nothing(store: LedgerStore) -> None:
    take(store, "one")
    second = take(store, "two", grant=ANOTHER, gone="one")
    assert second is not None
    assert (second.fence, second.resumed) == (2, True)


def test_a_claim_whose_entry_cannot_be_written_is_no_claim(store: LedgerStore) -> None:
    def refuse(fence: int, resumed: bool) -> None:
        raise RuntimeError(f"no entry for {fence}, {resumed}")

    with pytest.raises(RuntimeError):
        store.take_claim(
            "effect", incident="INC-0001", grant=GRANT, holder="one", now=NOW, lease_seconds=60, draft=refuse, gone=alive  # type: ignore[arg-type]
        )  # fmt: skip
    assert store.claim_of("effect") is None
    assert store.size() == 0


def test_a_lease_is_taken_renewed_given_back_and_taken_over(store: LedgerStore) -> None:
    def lease(holder: str, seconds: int = 0, gone: str = "") -> int | None:
        return store.take_lease(
            "duty", holder=holder, now=later(NOW, seconds), seconds=60, gone=lambda name: name == gone
        )

    assert store.lease_of("duty") is None
    assert lease("one") == 1
    assert lease("two") is None
    assert lease("two", gone="one") == 2
    assert not store.renew_lease("duty", "one", 1, now=NOW, seconds=60)
    assert store.renew_lease("duty", "two", 2, now=later(NOW, 50), seconds=60)
    assert lease("one", seconds=61) is None
    store.release_lease("duty", "one", 1)
    assert lease("one", seconds=61) is None
    store.release_lease("duty", "two", 2)
    assert store.lease_of("duty") is None
    assert not store.renew_lease("duty", "two", 2, now=NOW, seconds=60)
    assert lease("one", seconds=61) == 3
    assert lease("two", seconds=121) == 4
    held = store.lease_of("duty")
    assert held is not None
    assert (held.holder, held.fence, held.lease_until) == ("two", 4, later(NOW, 181))
