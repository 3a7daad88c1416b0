"""What was delivered after the seal is known by receipt and digest, not by its number alone; bounded, and guessed by nobody."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.domain.correlation import Verdict
from runbooks.domain.incident import Archetype
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.severity import Severity
from runbooks.domain.signal import DeliveredSoFar, TriageOutcome
from runbooks.domain.value import digest_of
from tasks.intake import dispatching
from tasks.intake.dispatching import MOST_NAMED, Dispatcher, dispatcher_on
from tasks.keys import log_key
from tests.steps.desk import Desk
from tests.steps.intake_ground import Intake, a_classified, a_signal, deliver

TRIAGE = {"outcome": TriageOutcome.PERFORMANCE, "archetype": Archetype.UNCLASSIFIED}


@pytest.fixture
def dispatcher(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher]:
    monkeypatch.setattr(dispatching, "NOTE_EVERY_SECONDS", -1)
    made = dispatcher_on(intake.place, lambda _flow, incident, _drill: incident)
    yield made
    made.store.close()


def arrive(intake: Intake, number: int, severity: Severity = Severity.SEV2) -> str:
    """A delivery with these bytes is taken in; returns its receipt."""
    signal = a_signal(str(number), number)
    deliver(intake.place.settings.signals, signal, f"body {number}".encode())
    (said,) = intake.take(signal, classified=a_classified(severity, **TRIAGE))
    assert said.verdict in (Verdict.OPENED, Verdict.JOINED)
    return signal.delivery


def told(intake: Intake, kind: EntryType) -> list[LedgerEntry]:
    return intake.place.store.entries(intake.incidents()[0] if intake.incidents() else None, types=(kind,))


def listed(intake: Intake, entry: LedgerEntry) -> DeliveredSoFar:
    return DeliveredSoFar.from_bytes(intake.place.vault.get(entry.subject["deliveries"]))


def test_each_note_names_what_joined_by_receipt_and_digest(intake: Intake, dispatcher: Dispatcher) -> None:
    receipts = [arrive(intake, 0)]
    dispatcher.open_all()
    receipts += [arrive(intake, 1), arrive(intake, 2)]
    dispatcher.tell()
    entry = told(intake, EntryType.SIGNAL_RECEIVED)[-1]
    found = listed(intake, entry)
    assert (found.count, found.newest, found.worse) == (3, (), None)
    assert [one.receipt for one in found.first] == receipts
    assert [one.body_digest for one in found.first] == [digest_of(f"body {n}".encode()) for n in range(3)]
    assert found.incident == entry.incident
    shown = json.dumps([entry.as_json() for entry in told(intake, EntryType.SIGNAL_RECEIVED)])
    assert digest_of(b"body 1")[7:] not in shown, "a digest of content that could be guessed stays in the vault"


def test_the_delivery_that_made_it_worse_is_named(intake: Intake, dispatcher: Dispatcher) -> None:
    for number in range(MOST_NAMED + 5):
        arrive(intake, number)
        if not number:
            dispatcher.open_all()
    worse = arrive(intake, MOST_NAMED + 5, Severity.SEV1)
    for number in range(MOST_NAMED + 6, 2 * MOST_NAMED + 8):
        arrive(intake, number)
    dispatcher.tell()
    found = listed(intake, told(intake, EntryType.SEVERITY_CHANGED)[0])
    assert found.worse is not None
    assert (found.worse.receipt, found.worse.body_digest) == (worse, digest_of(f"body {MOST_NAMED + 5}".encode()))
    assert worse not in [one.receipt for one in (*found.first, *found.newest)]


def test_the_list_is_bounded_and_says_how_many_there_are(intake: Intake, dispatcher: Dispatcher) -> None:
    receipts = []
    for number in range(3 * MOST_NAMED):
        receipts.append(arrive(intake, number))
        if not number:
            dispatcher.open_all()
    dispatcher.tell()
    found = listed(intake, told(intake, EntryType.SIGNAL_RECEIVED)[-1])
    assert found.count == 3 * MOST_NAMED
    assert [one.receipt for one in found.first] == receipts[:MOST_NAMED]
    assert [one.receipt for one in found.newest] == receipts[-MOST_NAMED:]


def test_a_bundle_hands_it_over_with_the_class_of_what_was_reported_and_verifies_either_way(
    desk: Desk, intake: Intake, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    arrive(intake, 0)
    (incident,) = dispatcher.open_all()
    desk.respond(incident)
    arrive(intake, 1)
    dispatcher.tell()
    digest = told(intake, EntryType.SIGNAL_RECEIVED)[-1].subject["deliveries"].removeprefix("sha256:")
    for name, more, there in (("all", (), True), ("few", ("--only", "E"), False)):
        ran = desk("export", incident, str(tmp_path / name), *more, "--json")
        assert ran.code == 0, ran
        files = [one.name for one in (tmp_path / name).rglob(f"deliveries-{digest}")]
        assert bool(files) is there
        for command in ("verify", "replay"):
            ran = desk(command, str(tmp_path / name), "--key", log_key(intake.place).verifier.line(), "--json")
            assert ran.code == 0, ran.out
