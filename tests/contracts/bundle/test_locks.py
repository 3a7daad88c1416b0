"""What an open incident rests on stays locked: extended before it ends, on record, and no longer than it is open."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runbooks.domain.drafting import timeline
from runbooks.domain.errors import EvidenceError
from runbooks.domain.evidence import Collection
from runbooks.domain.ledger import EntryType
from tasks.anchors import AnchorDuty
from tasks.evidence import seal_now
from tasks.installation import Installation, open_installation
from tasks.ledger import KEEPER, flow_actor
from tasks.locks import AGAIN_SECONDS, LockDuty
from tasks.readiness import Level, check_locks
from tests.contracts.stores.buckets import S3
from tests.steps.desk import Desk, a_desk

WEEK = timedelta(days=7)


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.s3)])
def far(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3:
    server: S3 = request.getfixturevalue(request.param)
    monkeypatch.setenv("PRACTICE", server.secret("env:PRACTICE"))
    return server


@pytest.fixture
def desk(tmp_path: Path, people_keys: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> Any:
    with a_desk(tmp_path / "home", people_keys, capsys) as found:
        yield found


def locked_for(desk: Desk, far: S3, location: str, days: int, lock: str = "compliance") -> Installation:
    """The installation with its vault and its heads there, locked for so many days from now on."""
    table = f"""
        region = "us-east-1"
        endpoint_url = "{far.url}"
        credentials = "env:PRACTICE"
        lock = "{lock}"
        retention_days = {days}
        allow_long_retention = true
    """
    desk.write(
        "defaults.toml",
        f'vault_path = "{location}"\nanchor_directory = "{location}-heads"\n[s3]{table}[anchor_s3]{table}',
    )
    open_installation.cache_clear()
    return desk.installation


def ends(far: S3, location: str) -> dict[str, timedelta]:
    """How long each object is locked from now on, by its key."""
    bucket = location.removeprefix("s3://").partition("/")[0]
    found = {}
    for one in far.client.list_object_versions(Bucket=bucket)["Versions"]:
        said = far.client.head_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])
        found[one["Key"]] = said["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    return found


def test_locks_are_extended_while_it_is_open_and_not_afterwards(desk: Desk, far: S3) -> None:
    location = far.new_bucket()
    place = locked_for(desk, far, location, 1)
    place.activate_if_fresh()
    first = place.active_digest()
    desk.change("policy.toml", "probes_in_a_row = 1", "probes_in_a_row = 2")
    place.activate(place.proposed(), KEEPER, {"proof": "a test"})
    incident = desk.declare()
    seal_now(place, place.pen(flow_actor("test")), incident)
    assert AnchorDuty(place).keep()
    assert max(ends(far, location).values()) < timedelta(days=2)

    passed = [0.0]
    place = locked_for(desk, far, location, 8)
    duty = LockDuty(place, lambda: passed[0])
    assert duty.keep()
    left = ends(far, location)
    collections = [
        Collection.from_bytes(place.vault.get(entry.subject["collection"]))
        for entry in place.store.entries(incident, types=(EntryType.COLLECTION_SEALED,))
    ]
    packs = {pack.name[9:] for one in collections for pack in one.packs} | {one.leaves[9:] for one in collections}
    extended = {key.rpartition("/")[2] for key, time in left.items() if "/objects/" in key and time > WEEK}
    assert len(packs) > 2
    assert packs <= extended
    rights = (first, place.active_digest(), *place.active().runbooks.values())
    assert {digest[9:] for digest in rights} <= extended
    assert [time > WEEK for key, time in left.items() if "-heads/" in key] == [True], "the newest head too"
    (entry,) = place.store.entries(types=(EntryType.LOCKS_EXTENDED,))
    assert (entry.incident, entry.body) == (incident, {"objects": len(extended), "days": 8})

    assert not duty.keep(), "it is not time"
    passed[0] = 25 * 3600
    assert duty.keep()
    assert len(place.store.entries(types=(EntryType.LOCKS_EXTENDED,))) == 1, "more than half of the time is left"
    assert place.store.entries(types=(EntryType.LOCKS_FAILED,)) == []

    place.pen(KEEPER).write(EntryType.INCIDENT_CLOSED, "closed", incident=incident)
    assert LockDuty(locked_for(desk, far, location, 80)).keep()
    assert max(ends(far, location).values()) < timedelta(days=9), "it is closed"


def test_what_cannot_be_extended_is_on_record_once_and_keeps_no_other_from_it(
    desk: Desk, moto: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRACTICE", moto.secret("env:PRACTICE"))
    location = moto.new_bucket()
    place = locked_for(desk, moto, location, 1)
    place.activate_if_fresh()
    incident = desk.declare()
    opened = place.store.entries(incident)[0].subject["report"]
    place = locked_for(desk, moto, location, 8)
    prolong = place.vault.prolong

    broken = [True]

    def refused(digest: str) -> bool:
        if digest == opened and not broken[0]:
            return False  # as if somebody else had extended it
        if digest == opened:
            raise EvidenceError("refused.", now="it is locked until its date.", next_step="look.")
        return prolong(digest)

    monkeypatch.setattr(place.vault, "prolong", refused)
    passed = [0.0]
    duty = LockDuty(place, lambda: passed[0])
    for _ in range(3):
        assert duty.keep()
        passed[0] += AGAIN_SECONDS
    first, *more = place.store.entries(types=(EntryType.LOCKS_FAILED,))
    assert (first.incident, first.body["failures"], len(more)) == (incident, 1, 1)
    assert "refused." in first.body["because"]
    assert place.store.entries(types=(EntryType.LOCKS_EXTENDED,))[0].body["objects"] > 2
    assert any("could not be extended" in line.what for line in timeline(place.store.entries(incident)))

    for broken[0] in (False, False, True, True):
        passed[0] += 25 * 3600
        assert duty.keep()
    assert [e.body["objects"] for e in place.store.entries(types=(EntryType.LOCKS_EXTENDED,))][1:] == [0], (
        "it works again"
    )
    assert len(place.store.entries(types=(EntryType.LOCKS_FAILED,))) == 3, "a second time is on record too"


def test_on_a_disk_nothing_is_locked_and_nothing_asked(desk: Desk) -> None:
    desk.installation.activate_if_fresh()
    desk.declare()
    assert not LockDuty(desk.installation).keep()


@pytest.mark.parametrize(("days", "level"), [(1, Level.ATTENTION), (30, Level.OK)])
def test_check_says_when_locks_end(desk: Desk, far: S3, days: int, level: Level) -> None:
    location = far.new_bucket()
    place = locked_for(desk, far, location, days)
    found = list(check_locks("vault", location, place.settings.limits.s3, place))
    lasting = [one.level for one in found if f"ends {days} day" in one.found]
    keeps = not any(one.level is Level.WRONG for one in found)  # of a bucket that keeps no locks it says nothing
    assert lasting == ([level] if keeps else [])


def test_check_tells_that_our_own_identity_may_bypass_governance(desk: Desk, far: S3) -> None:
    location = far.new_bucket()
    place = locked_for(desk, far, location, 1, lock="governance")
    found = list(check_locks("vault", location, place.settings.limits.s3, place))
    (told,) = (one for one in found if one.found.startswith("keeps its locks from quell's own identity"))
    assert (told.level, "s3:BypassGovernanceRetention" in told.todo) == (Level.ATTENTION, True)
    kept = [one.found for one in found if one.level is Level.OK and "keeps what it locks" in one.found]
    assert all("from everybody who has no right to bypass" in one for one in kept)
