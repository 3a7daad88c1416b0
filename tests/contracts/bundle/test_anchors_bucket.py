"""Heads of the log in a bucket that locks, from the keeper's duty to the auditor's copies."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from runbooks.domain.ledger import EntryType
from tasks.anchors import AnchorDuty, places, unanchored
from tasks.installation import Installation
from tasks.keys import log_key
from tasks.ledger import KEEPER
from tasks.readiness import Finding
from tasks.readiness_anchors import check_anchors
from tests.contracts.bundle.ground import an_export, an_incident, judged, rewritten, settings
from tests.contracts.stores.buckets import S3


@pytest.fixture(params=["moto", pytest.param("ceph", marks=pytest.mark.s3)])
def far(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3:
    server: S3 = request.getfixturevalue(request.param)
    monkeypatch.setenv("PRACTICE", server.secret("env:PRACTICE"))
    return server


@pytest.fixture
def place(tmp_path: Path, people_keys: dict[str, Path]) -> tuple[Installation, str]:
    return an_incident(tmp_path / "home", people_keys)


def _failures(installation: Installation) -> list[str]:
    return [str(e.body["because"]) for e in installation.store.entries(types=(EntryType.ANCHOR_FAILED,))]


def _copies(server: S3, location: str, target: Path) -> Path:
    """What an auditor with read rights fetches, as `aws s3 sync` would."""
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    for one in server.client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        file = target / one["Key"].removeprefix(f"{prefix}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(server.client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read())
    return target


def test_heads_go_to_the_bucket_stay_there_and_contradict_a_rewritten_log(
    place: tuple[Installation, str], far: S3, tmp_path: Path
) -> None:
    installation, incident = place
    location = far.new_bucket()
    settings(installation, anchor_directory=location, anchor_s3=far.settings(), anchor_interval_seconds=0)
    assert places(installation) == ["store"]
    assert AnchorDuty(installation).keep()
    first, size = unanchored(installation)
    assert (first, _failures(installation)) == (size, [])

    bucket = location.removeprefix("s3://").partition("/")[0]
    kept = far.client.list_object_versions(Bucket=bucket)["Versions"]
    assert [one["Key"].rpartition(".")[2] for one in kept] == ["note"], "nothing of a probe is left"
    for one in kept:
        with pytest.raises(ClientError, match="AccessDenied"):
            far.client.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])

    files, key = an_export(installation, incident, tmp_path / "b")
    copies = _copies(far, location, tmp_path / "copies")
    audit = judged(files, key, anchors=copies)
    assert audit.sound, audit.faults
    assert audit.checked["copies_that_agree"] == 2

    forged = rewritten(installation, tmp_path / "forged")
    settings(forged, anchor_directory="", anchor_interval_seconds=0)
    files, key = an_export(forged, incident, tmp_path / "forgery")
    assert any("rewritten" in one.means for one in judged(files, key, anchors=copies).faults)


def test_a_second_history_is_refused_by_the_bucket_and_on_record(
    place: tuple[Installation, str], far: S3, tmp_path: Path
) -> None:
    installation, _ = place
    location = far.new_bucket()
    log_key(installation)
    forged = rewritten(installation, tmp_path / "forged")
    for one in (installation, forged):
        settings(one, anchor_directory=location, anchor_s3=far.settings(), anchor_interval_seconds=0)
    assert AnchorDuty(installation).keep()
    assert AnchorDuty(forged).keep()
    assert "two histories" in _failures(forged)[0]


def test_a_bucket_out_of_reach_stops_nothing(
    place: tuple[Installation, str], moto: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, incident = place
    monkeypatch.setenv("PRACTICE", moto.secret("env:PRACTICE"))
    nowhere = moto.settings(endpoint_url="http://127.0.0.1:9")
    settings(installation, anchor_directory="s3://quell-nowhere/heads", anchor_s3=nowhere, anchor_interval_seconds=0)
    duty = AnchorDuty(installation)
    assert duty.keep()
    installation.pen(KEEPER).write(EntryType.RUN_ENDED, "goes on", incident=incident)
    assert duty.keep()
    assert len(_failures(installation)) == 1
    assert unanchored(installation)[0] == 0


def _worst(installation: Installation) -> dict[str, str]:
    found: dict[str, Finding] = {one.about: one for one in check_anchors(installation) if one.level != "ok"}
    return {about: f"{one.level}: {one.found}" for about, one in found.items()}


def test_check_tries_the_anchors_out(
    place: tuple[Installation, str], far: S3, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    installation, _ = place
    assert "could rewrite it unnoticed" in _worst(installation)["anchors"]
    (tmp_path / "near").mkdir()
    settings(installation, anchor_directory=str(tmp_path / "near"), anchor_tsa_url="http://127.0.0.1:9/tsa")
    found = _worst(installation)
    assert "same file system" in found["anchor"]
    assert found["time-stamps"].startswith("wrong")
    assert "not anchored" in found["anchors"]
    settings(installation, anchor_directory=far.new_bucket(), anchor_s3=far.settings(), anchor_tsa_url="")
    expected = "attention: " if "ceph" in request.node.name else "wrong: "  # one keeps them, for a day
    assert _worst(installation)["anchor's locks"].startswith(expected)
    settings(installation, anchor_directory=far.new_bucket(locked=False))
    assert "wrong" in _worst(installation)["anchor's locks"]
