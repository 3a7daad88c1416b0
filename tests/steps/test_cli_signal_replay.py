"""A wrong mapping loses nothing: the defects stay, and after a correction the same bytes become the right signals."""

import json
import time
from contextlib import closing

import pytest

from runbooks.domain.signal import Strength
from runbooks.domain.value import digest_of
from tasks.intake.receipts import receipt
from tasks.intake.understanding import Intake
from tasks.stores import open_signals, open_spool
from tasks.stores.base import Arrival
from tests.steps.desk import Desk

SOURCES = """
[sources.watch]
unproven = true
[[sources.watch.mappings]]
name = "alert"
when = "body.kind"
kind = "body.kind"
event_key = ["body.id"]
system = "body.app"
"""
CORRECTED = SOURCES.replace("body.kind", "body.type")
SECOND = 1_000_000_000


def arrive(desk: Desk, *bodies: object, at_ns: int = 0, source: str = "watch") -> list[str]:
    """These bodies stand in the spool; returns their receipts."""
    made = []
    for body in bodies:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        at = at_ns or time.time_ns()
        made.append(
            Arrival(
                receipt(at), source, at, "application/json", (), Strength.UNPROVEN, None, None, False,
                bytes.fromhex(digest_of(raw).removeprefix("sha256:")), raw,
            )
        )  # fmt: skip
    with closing(open_spool(desk.installation.settings.signals)) as spool:
        spool.append(made)
    return [one.id for one in made]


def take_in(desk: Desk) -> int:
    """All that is unread is read; how many."""
    intake = Intake(desk.installation)
    try:
        count = 0
        while read := intake.take_in()[0]:
            count += read
        return count
    finally:
        intake.close()


def systems(desk: Desk, incident: str) -> set[str | None]:
    with closing(open_signals(desk.installation.settings.signals)) as store:
        return {one.signal.system for one in store.signals_of(incident, 10)}


@pytest.fixture
def wrong(desk: Desk) -> Desk:
    """Two deliveries that the mapping does not know, and one that is no JSON."""
    desk.write("sources.toml", SOURCES)
    desk.installation.activate_if_fresh()
    arrive(desk, {"type": "a", "id": 1, "app": "helper"}, {"type": "a", "id": 2, "app": "helper"}, b"{")
    assert take_in(desk) == 3
    return desk


def test_what_could_not_be_read_is_read_after_the_correction(wrong: Desk) -> None:
    before = wrong("signal", "replay", "--dry-run", "--json")
    assert (before.code, before.json["deliveries"], before.json["readable"]) == (1, 3, 0)
    wrong.write("sources.toml", CORRECTED)
    assert wrong("policy", "activate", "--as", "ana", "--key", str(wrong.keys["ana"])).code == 0
    looked = wrong("signal", "replay", "--dry-run", "--json")
    assert (looked.json["readable"], looked.json["signals"], looked.json["read_again"]) == (2, 2, False)
    assert take_in(wrong) == 0
    done = wrong("signal", "replay", "--json")
    assert (done.code, done.json["readable"], list(done.json["defects"].values())) == (1, 2, [1])
    assert take_in(wrong) == 3
    with closing(open_signals(wrong.installation.settings.signals)) as store:
        (row,) = store.unopened()
        assert store.counts(row.incident)[0] == 2
    assert systems(wrong, row.incident) == {"helper"}
    assert wrong("signal", "replay", "--dry-run", "--json").json["deliveries"] == 1


def test_reading_again_what_was_read_changes_nothing(desk: Desk) -> None:
    desk.write("sources.toml", SOURCES)
    desk.installation.activate_if_fresh()
    arrive(desk, {"kind": "a", "id": 1, "app": "helper"})
    take_in(desk)
    assert desk("signal", "replay", "--json").json["deliveries"] == 0
    assert desk("signal", "replay", "--all", "--json").json["signals"] == 1
    assert take_in(desk) == 1
    with closing(open_signals(desk.installation.settings.signals)) as store:
        (row,) = store.unopened()
        assert store.counts(row.incident)[0] == 1


def test_only_of_this_source_and_since_then(wrong: Desk) -> None:
    old = 1_700_000_000 * SECOND
    arrive(wrong, b"[", at_ns=old)
    arrive(wrong, b"[", source="elsewhere")
    take_in(wrong)
    asked = [("--source", "watch"), ("--source", "elsewhere"), ("--since", "2024-01-01T00:00:00Z"), ()]
    counts = [wrong("signal", "replay", *words, "--dry-run", "--json").json["deliveries"] for words in asked]
    assert counts == [4, 1, 4, 5]
    assert wrong("signal", "replay", "--since", "yesterday").code == 2


def test_where_nothing_ever_came(desk: Desk) -> None:
    ran = desk("signal", "replay", "--json")
    assert (ran.code, ran.json["deliveries"]) == (0, 0)
