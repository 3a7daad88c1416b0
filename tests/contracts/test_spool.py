"""The spool: what is appended stands, in order, for every process that opens the file."""

import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from runbooks.domain.errors import LedgerError
from runbooks.domain.signal import Strength
from runbooks.domain.value import digest_of
from tasks.intake.committing import MOST_IN_ONE_COMMIT, Committer
from tasks.intake.receipts import receipt
from tasks.stores import open_spool
from tasks.stores.base import Arrival

NOON = 1_795_000_000_000_000_000


def arrival(number: int, source: str = "github", body: bytes = b"{}") -> Arrival:
    return Arrival(
        receipt(NOON + number, number.to_bytes(10)), source, NOON + number, "application/json", (("x-kind", "é"),),
        Strength.SIGNED, NOON - 1, "one", False, bytes.fromhex(digest_of(body).removeprefix("sha256:")), body,
    )  # fmt: skip


def test_what_was_appended_stands_in_order_for_whoever_opens_it(tmp_path: Path) -> None:
    bodies = [b"", b"\x00\xff not text", b"x" * 2_000_000]
    open_spool(tmp_path / "new" / "signals.db").append([arrival(n, body=body) for n, body in enumerate(bodies)])
    found = open_spool(tmp_path / "new" / "signals.db").unread(10)
    assert [body for _, body in found] == bodies
    delivery = found[1][0]
    assert delivery.body_digest == digest_of(bodies[1])
    assert (delivery.source, delivery.strength, delivery.headers) == ("github", "signed", (("x-kind", "é"),))
    assert delivery.received_at.endswith(".000000001Z")
    assert delivery.signed_at is not None
    assert delivery.signed_at.endswith(":39.999999999Z")
    assert stat.S_IMODE((tmp_path / "new" / "signals.db").stat().st_mode) == 0o600


def test_unread_is_what_nobody_marked_done(tmp_path: Path) -> None:
    path = tmp_path / "signals.db"
    spool = open_spool(path)
    arrivals = [arrival(n, source=("a", "b")[n % 2]) for n in range(6)]
    spool.append(arrivals)
    assert spool.waiting() == (6, NOON)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE delivery SET done = 1 WHERE seq <= 2")
    other.close()
    assert [delivery.id for delivery, _ in spool.unread(3)] == [one.id for one in arrivals[2:5]]
    assert spool.waiting() == (4, NOON + 2)
    assert (spool.last_from("a"), spool.last_from("b"), spool.last_from("c")) == (NOON + 4, NOON + 5, None)
    found = spool.read(arrivals[0].id)
    assert found is not None
    assert found[0].id == arrivals[0].id
    assert spool.read(receipt(NOON)) is None
    assert [delivery.id for delivery, _ in spool.after("", 10)] == [one.id for one in arrivals]
    assert [delivery.id for delivery, _ in spool.after(arrivals[3].id, 1)] == [arrivals[4].id]


def test_all_of_a_batch_or_nothing(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "signals.db")
    spool.append([arrival(1)])
    with pytest.raises(LedgerError, match="could not be written"):
        spool.append([arrival(2), arrival(1)])
    assert spool.waiting()[0] == 1
    spool.append([arrival(2)])
    assert spool.waiting()[0] == 2


def test_it_waits_while_somebody_else_writes(tmp_path: Path) -> None:
    spool, path, done = open_spool(tmp_path / "signals.db"), tmp_path / "signals.db", threading.Event()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def store() -> None:
            spool.append([arrival(1)])
            done.set()

        waits = threading.Thread(target=store)
        waits.start()
        assert not done.wait(0.3)
        assert open_reading(path) == 0, "readers are not hindered"
        other.execute("COMMIT")
        assert done.wait(10)
        waits.join()
    assert spool.waiting()[0] == 1


def open_reading(path: Path) -> int:
    with closing(sqlite3.connect(path)) as base:
        return int(base.execute("SELECT count(*) FROM delivery").fetchone()[0])


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="could not be opened"):
        open_spool(tmp_path / "file" / "signals.db")


def test_every_ticket_comes_back_once_and_commits_are_shared(tmp_path: Path) -> None:
    spool, batches, gate = open_spool(tmp_path / "signals.db"), [], threading.Event()

    def settled(tickets: list[int], error: LedgerError | None) -> None:
        batches.append((tickets, error))
        gate.wait(10)

    committer = Committer(spool, settled)
    count = MOST_IN_ONE_COMMIT + 7
    for number in range(count):
        committer.hand_in(arrival(number), number)
    gate.set()
    committer.end()
    assert not committer.alive()
    assert committer.queue == (0, 0)
    assert [ticket for tickets, _ in batches for ticket in tickets] == list(range(count))
    assert all(error is None for _, error in batches)
    assert len(batches) <= 4
    assert max(len(tickets) for tickets, _ in batches) <= MOST_IN_ONE_COMMIT
    assert spool.waiting()[0] == count


def test_a_commit_that_fails_is_told_to_each_and_the_next_one_works(tmp_path: Path) -> None:
    told: list[tuple[list[str], bool]] = []
    committer = Committer[str](
        open_spool(tmp_path / "signals.db"), lambda tickets, error: told.append((tickets, error is None))
    )
    for name, number in (("first", 1), ("the same again", 1), ("another", 2)):
        before = len(told)
        committer.hand_in(arrival(number), name)
        while len(told) == before and committer.alive():
            pass
    committer.end()
    assert told == [(["first"], True), (["the same again"], False), (["another"], True)]


def test_receipts_are_distinct_and_sort_by_time() -> None:
    made = [receipt(NOON + n * 1_000_000) for n in range(500)]
    assert made == sorted(made)
    assert len({receipt(NOON) for _ in range(500)}) == 500
    assert receipt((1 << 48) * 1_000_000 - 1, b"\xff" * 10) == "DLV-7" + "Z" * 25
