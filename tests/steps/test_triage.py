"""What no runbook is for calls a person: on record until it is named; told once, to whom policy says."""

from collections.abc import Iterator

import pytest

from runbooks.domain.ledger import EntryType
from tasks.ledger import KEEPER
from tasks.triage import call
from tests.steps.desk import Desk
from tests.steps.glass import policy_plus
from tests.steps.test_telling import Receiver


@pytest.fixture
def heard(desk: Desk) -> Iterator[list[dict[str, str]]]:
    """What the one channel of the policy was told."""
    receiver = Receiver()
    (desk.home / "secrets" / "chat").write_text(receiver.address)
    policy_plus(desk, '\n[channels]\nchat = "file:secrets/chat"\n[opening_channels]\nSEV2 = ["chat"]\n')
    yield receiver.heard
    receiver.close()


def test_somebody_is_called_once_and_the_call_stays_until_it_is_named(desk: Desk, heard: list[dict[str, str]]) -> None:
    incident = desk.declare(archetype="unclassified")
    place = desk.installation
    for _ in range(2):
        call(place, place.pen(KEEPER), incident)
    assert len(heard) == 1
    assert "SEV2 unclassified on helper" in heard[0]["title"]
    assert f"quell show {incident}" in heard[0]["message"]
    assert "a ticket made it refund" not in str(heard)
    assert len(place.store.entries(incident, types=(EntryType.PERSON_NEEDED,))) == 1

    def needed() -> str:
        rows = desk("incidents", "--json").json["incidents"]
        return str(next(row["needed"] for row in rows if row["incident"] == incident))

    assert f"quell reclassify {incident}" in needed()
    place.pen(KEEPER).write(EntryType.INCIDENT_CLOSED, "closed", incident=incident, body={"ending": "evidence_only"})
    assert f"quell reclassify {incident}" in needed()
    named = ("reclassify", incident, "--as", "ana", "--key", str(desk.keys["ana"]), "--reason", "x", "--json")
    assert desk(*named, "--archetype", "prompt-injection").code == 0
    assert needed() == "nothing"


def test_what_can_wait_for_the_day_is_on_record_and_told_to_nobody(desk: Desk, heard: list[dict[str, str]]) -> None:
    incident = desk.declare(archetype="unclassified")
    lower = (
        "reclassify",
        incident,
        "--as",
        "ana",
        "--key",
        str(desk.keys["ana"]),
        "--reason",
        "x",
        "--severity",
        "SEV3",
    )
    assert desk(*lower).code == 0
    call(desk.installation, desk.installation.pen(KEEPER), incident)
    assert heard == []
    assert len(desk.installation.store.entries(incident, types=(EntryType.PERSON_NEEDED,))) == 1


def test_a_near_miss_calls_nobody(desk: Desk, heard: list[dict[str, str]]) -> None:
    incident = desk.declare("--near-miss", archetype="unclassified")
    call(desk.installation, desk.installation.pen(KEEPER), incident)
    assert heard == []
    assert not desk.installation.store.entries(incident, types=(EntryType.PERSON_NEEDED,))


def test_without_a_channel_the_record_calls(desk: Desk) -> None:
    incident = desk.declare(archetype="unclassified")
    call(desk.installation, desk.installation.pen(KEEPER), incident)
    assert len(desk.installation.store.entries(incident, types=(EntryType.PERSON_NEEDED,))) == 1
