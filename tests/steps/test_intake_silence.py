"""A source that goes quiet is told of once, and again when it was heard and falls silent anew."""

from contextlib import closing

import pytest

from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from runbooks.domain.signal import Strength
from runbooks.domain.value import digest_of
from tasks.intake.committing import Arrival, spool_of
from tasks.intake.receipts import receipt
from tasks.intake.silence import GRACE_MINUTES, quiet_for, watch_sources, watched_since
from tasks.ledger import INSTALLATION, KEEPER, clock
from tasks.settings import load_configuration
from tests.steps.desk import Desk
from tests.steps.doorstep import keep_secret
from tests.steps.test_telling import Receiver, receiver

__all__ = ["receiver"]

SOURCES = """
[sources.code]
sender = "github"
quiet_after_minutes = 60
secrets = [{id = "one", secret = "file:secrets/code"}]
[sources.rare]
unproven = true
"""


def arrive(desk: Desk, source: str, at_ns: int) -> None:
    digest = bytes.fromhex(digest_of(b"{}").removeprefix("sha256:"))
    with closing(spool_of(desk.installation)) as spool:
        spool.append(
            [Arrival(receipt(at_ns), source, at_ns, "", (), Strength.UNPROVEN, None, None, False, digest, b"{}")]
        )


def ns(instant: Instant) -> int:
    from runbooks.domain.instants import moment

    return int(moment(instant).timestamp()) * 1_000_000_000


def test_time_counts_from_what_came_or_from_when_we_began_to_listen() -> None:
    noon = "2026-11-21T12:00:00.000000000Z"
    assert quiet_for(None, noon, later(noon, 3599)) == 59
    assert quiet_for(later(noon, -86_400), noon, later(noon, 3600)) == 60
    assert quiet_for(later(noon, 3000), noon, later(noon, 3600)) == 10
    assert quiet_for(later(noon, 9000), noon, later(noon, 3600)) < 0


@pytest.fixture
def listening(desk: Desk, receiver: Receiver) -> Receiver:
    keep_secret(desk.home, "code", "w0rd")
    desk.write("sources.toml", SOURCES)
    desk.declare()
    return receiver


def test_silence_is_told_once_and_its_end_is_on_record(desk: Desk, listening: Receiver) -> None:
    place, began = desk.installation, clock()

    def look(minutes: int) -> list[str]:
        return watch_sources(place, place.pen(KEEPER), began, later(began, 60 * minutes))

    assert look(59) == []
    assert [look(60), look(61), look(300)] == [["code"]] * 3
    (message,) = listening.heard
    assert message["title"] == "quell: the source code is quiet"
    assert "Nothing came from the source code ever; expected something every 60 minutes" in message["message"]
    (alarm,) = place.store.entries(types=(EntryType.SOURCE_QUIET,))
    assert alarm.body == {"source": "code", "last_heard": None, "after_minutes": 60}
    heard = later(clock(), 5)
    arrive(desk, "code", ns(heard))
    assert look(0) == []
    (entry,) = place.store.entries(types=(EntryType.SOURCE_HEARD,))
    assert entry.body["source"] == "code"
    assert look(1) == []
    assert look(70) == ["code"]
    assert [one.body["last_heard"] for one in place.store.entries(types=(EntryType.SOURCE_QUIET,))] == [
        None,
        heard[:20] + "000000000Z",
    ]
    assert len(listening.heard) == 2
    assert place.store.check() == []


def test_a_keeper_that_starts_every_hour_hears_the_silence_all_the_same(desk: Desk, listening: Receiver) -> None:
    place, began = desk.installation, clock()

    def look(started: int, now: int) -> list[str]:
        return watch_sources(place, place.pen(KEEPER), later(began, 60 * started), later(began, 60 * now))

    assert [look(hour * 50, hour * 50 + 49) for hour in (0, 1)] == [[], ["code"]]
    (alarm,) = place.store.entries(types=(EntryType.SOURCE_QUIET,))
    assert alarm.body["last_heard"] is None
    assert len(listening.heard) == 1


def test_after_a_start_senders_have_a_while_to_come_again(desk: Desk, listening: Receiver) -> None:
    place, began = desk.installation, clock()

    def look(started: int, now: int) -> list[str]:
        return watch_sources(place, place.pen(KEEPER), later(began, 60 * started), later(began, 60 * now))

    assert [look(300, 300 + minutes) for minutes in (0, GRACE_MINUTES - 1)] == [[], []]
    assert listening.heard == []
    assert look(300, 300 + GRACE_MINUTES) == ["code"]


def test_silence_from_before_it_was_watched_does_not_count(desk: Desk, listening: Receiver) -> None:
    place = desk.installation
    arrive(desk, "code", ns(later(clock(), -86_400)))
    first = place.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))[-1].at
    assert watched_since(place, "code") == first
    activations = [first]
    for text in (
        SOURCES + "# the same\n[sources.more]\nunproven = true\n",
        SOURCES.replace("quiet_after_minutes = 60\n", ""),
        SOURCES,
    ):
        desk.write("sources.toml", text)
        place.activate(load_configuration(place.settings), INSTALLATION, {"proof": "test"})
        activations.append(place.store.entries(types=(EntryType.CONFIGURATION_ACTIVATED,))[-1].at)
        if len(activations) == 2:
            assert watched_since(place, "code") == first, "it goes on being watched"
    assert len(set(activations)) == 4
    since = activations[-1]
    assert watched_since(place, "code") == since, "for a while it was not"
    long_ago = later(clock(), -7 * 86_400)
    assert watch_sources(place, place.pen(KEEPER), long_ago, later(since, 3599)) == []
    assert watch_sources(place, place.pen(KEEPER), long_ago, later(since, 3601)) == ["code"]
    assert len(listening.heard) == 1


def test_a_channel_that_fails_is_tried_again(desk: Desk, listening: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    place, began = desk.installation, clock()
    listening.answer = 500
    monkeypatch.setattr("tasks.telling.BETWEEN_TRIES_SECONDS", 0)
    for _ in range(2):
        watch_sources(place, place.pen(KEEPER), began, later(began, 3600))
    listening.answer = 200
    watch_sources(place, place.pen(KEEPER), began, later(began, 3600))
    watch_sources(place, place.pen(KEEPER), began, later(began, 3600))
    assert len(place.store.entries(types=(EntryType.TELLING_FAILED,))) == 2
    assert len(place.store.entries(types=(EntryType.PEOPLE_TOLD,))) == 1
