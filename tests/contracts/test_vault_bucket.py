"""What only a bucket can do to a vault: versions, delete markers, lost answers, servers that lie, wrong settings."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from runbooks.domain.errors import ConfigurationError, EvidenceError, LedgerError
from runbooks.domain.value import digest_of
from tasks.settings import load_settings
from tasks.stores import open_anchor_directory, open_vault
from tests.contracts.stores.buckets import S3
from tests.contracts.stores.vaults import Opened, seal

DATA = b"what was said"


@pytest.fixture
def opened(server: S3, location: str, tmp_path: Path) -> Opened:
    return lambda: open_vault(location, tmp_path / "keys", server.settings(), server.secret)


def bucket_of(location: str) -> str:
    return location.removeprefix("s3://").partition("/")[0]


def key_of(digest: str) -> str:
    return f"evidence/objects/{digest[7:9]}/{digest[9:]}"


def versions(server: S3, location: str) -> list[dict[str, Any]]:
    found = server.client.list_object_versions(Bucket=bucket_of(location), Prefix="evidence/objects/").get(
        "Versions", []
    )
    return list(found)


def forget_notes(tmp_path: Path) -> None:
    for note in (tmp_path / "s3" / "versions").rglob("*"):
        if note.is_file():
            note.unlink()


def test_an_object_is_locked_until_the_day_asked_for(server: S3, location: str, tmp_path: Path) -> None:
    settings = server.settings(retention_days=3, allow_long_retention=True, lock="governance")
    digest = open_vault(location, tmp_path / "keys", settings, server.secret).put(DATA)
    said = server.client.head_object(Bucket=bucket_of(location), Key=key_of(digest))
    assert said["ObjectLockMode"] == "GOVERNANCE"
    assert abs(said["ObjectLockRetainUntilDate"] - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=1)
    note = json.loads((tmp_path / "s3" / "versions" / bucket_of(location) / digest[7:]).read_bytes())
    assert (note["version"], note["sha256"], note["size"]) == (said["VersionId"], digest[7:], len(DATA))


def test_what_stands_is_not_stored_again(server: S3, location: str, opened: Opened, tmp_path: Path) -> None:
    opened().put(DATA)
    opened().put(DATA)
    forget_notes(tmp_path)
    opened().put(DATA)
    assert len(versions(server, location)) == 1


def test_a_lock_that_ends_too_early_is_prolonged(server: S3, location: str, opened: Opened, tmp_path: Path) -> None:
    digest = opened().put(DATA)
    settings = server.settings(retention_days=9, allow_long_retention=True)
    open_vault(location, tmp_path / "keys", settings, server.secret).put(DATA)
    until = server.client.head_object(Bucket=bucket_of(location), Key=key_of(digest))["ObjectLockRetainUntilDate"]
    assert until - datetime.now(UTC) > timedelta(days=8)
    assert len(versions(server, location)) == 1


@pytest.mark.parametrize("noted", [True, False])
def test_a_delete_marker_hides_nothing(server: S3, location: str, opened: Opened, tmp_path: Path, noted: bool) -> None:
    digest = opened().put(DATA)
    server.client.delete_object(Bucket=bucket_of(location), Key=key_of(digest))
    if not noted:
        forget_notes(tmp_path)
    assert opened().has(digest)
    assert opened().get(digest) == DATA
    assert opened().put(DATA) == digest


@pytest.mark.parametrize("noted", [True, False])
def test_a_version_put_on_top_is_not_read(
    server: S3, location: str, opened: Opened, tmp_path: Path, noted: bool
) -> None:
    digest = opened().put(DATA)
    server.client.put_object(Bucket=bucket_of(location), Key=key_of(digest), Body=b"something else")
    if not noted:
        forget_notes(tmp_path)
    assert opened().get(digest) == DATA
    assert opened().put(DATA) == digest


def test_a_name_that_somebody_took_before_us_does_not_stop_the_sealing(
    server: S3, location: str, opened: Opened
) -> None:
    digest = digest_of(DATA)
    server.client.put_object(Bucket=bucket_of(location), Key=key_of(digest), Body=b"something else")
    with pytest.raises(EvidenceError, match="damaged"):
        opened().get(digest)
    assert opened().put(DATA) == digest
    assert opened().get(digest) == DATA
    assert len(versions(server, location)) == 2


def test_an_unlocked_copy_is_not_good_enough(server: S3, location: str, opened: Opened) -> None:
    server.client.put_object(Bucket=bucket_of(location), Key=key_of(digest_of(DATA)), Body=DATA)
    digest = opened().put(DATA)
    assert server.client.head_object(Bucket=bucket_of(location), Key=key_of(digest))["ObjectLockMode"] == "COMPLIANCE"


def test_a_lost_answer_makes_no_second_copy(server: S3, location: str, opened: Opened) -> None:
    opened().put(b"first, so that abilities are known")
    server.wire.lose_answers = 1
    digest = opened().put(DATA)
    assert opened().get(digest) == DATA
    assert len([one for one in versions(server, location) if one["Key"] == key_of(digest)]) == 1


def test_a_server_without_conditions_is_looked_at_first(
    server: S3, location: str, opened: Opened, tmp_path: Path
) -> None:
    server.wire.drop = {"HTTP_IF_NONE_MATCH"}
    opened().put(DATA)
    forget_notes(tmp_path)
    opened().put(DATA)
    assert len(versions(server, location)) == 1


def test_other_bytes_than_were_sent_are_found_by_reading_back(server: S3, opened: Opened) -> None:
    server.wire.spoil = True
    with pytest.raises(EvidenceError, match="has other bytes than were sent"):
        opened().put(DATA)


def test_a_lock_that_is_swallowed_is_noticed(server: S3, opened: Opened) -> None:
    server.wire.drop = {"HTTP_X_AMZ_OBJECT_LOCK_MODE", "HTTP_X_AMZ_OBJECT_LOCK_RETAIN_UNTIL_DATE"}
    with pytest.raises(EvidenceError, match="cannot lock objects"):
        opened().put(DATA)


def test_a_failed_sealing_leaves_no_key(server: S3, opened: Opened, tmp_path: Path) -> None:
    vault = opened()
    server.wire.refuse = ("PUT", 507, "InsufficientStorage")
    with pytest.raises(EvidenceError, match="full"):
        seal(vault, [b"item"])
    assert list((tmp_path / "keys").iterdir()) == []
    assert list((tmp_path / "s3" / "drafts").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "AccessDenied", "refused this identity"),
        (403, "RequestTimeTooSkewed", "clock is wrong"),
        (403, "InvalidAccessKeyId", "does not know the credentials"),
        (403, "QuotaExceeded", "is full"),
        (301, "PermanentRedirect", "in another region"),
        (500, "InternalError", "could not answer now"),
    ],
)
def test_a_refusal_is_told_in_words(server: S3, opened: Opened, status: int, code: str, says: str) -> None:
    server.wire.refuse = ("PUT", status, code)
    with pytest.raises(EvidenceError, match=says) as raised:
        opened().put(DATA)
    assert raised.value.next_step


def test_a_bucket_that_is_not_there_or_cannot_lock_is_told(server: S3, tmp_path: Path) -> None:
    def put(location: str, **settings: Any) -> None:
        open_vault(location, tmp_path / "keys", server.settings(**settings), server.secret).put(DATA)

    with pytest.raises(EvidenceError, match="does not exist"):
        put("s3://absent/evidence")
    with pytest.raises(EvidenceError, match="cannot lock objects"):
        put(server.new_bucket(locked=False))
    with pytest.raises(EvidenceError, match="cannot be reached"):
        put("s3://any", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(EvidenceError, match="names no bucket"):
        put("s3://")
    with pytest.raises(EvidenceError, match="nothing says how"):
        open_vault("s3://any/where", tmp_path / "keys")


def test_replaced_credentials_are_read_again(server: S3, location: str, tmp_path: Path) -> None:
    asked: list[str] = []

    def secret(reference: str) -> str:
        asked.append(reference)
        server.wire.refuse = None if len(asked) > 1 else ("PUT", 403, "ExpiredToken")
        return server.secret(reference)

    vault = open_vault(location, tmp_path / "keys", server.settings(), secret)
    assert vault.get(vault.put(DATA)) == DATA
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('vault_path = "s3://b/p"', r"a table \[s3\]"),
        ('[s3]\nregion = "r"\ncredentials = "sdk"\nretention_days = 2', "allow_long_retention = true"),
        ('[s3]\nregion = "r"\ncredentials = "AKIAPLAIN"', "s3.credentials"),
        ('[s3]\nregion = "r"\ncredentials = "sdk"\nlock = "none"', "s3.lock"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "defaults.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=says) as raised:
        load_settings(tmp_path, {})
    assert "AKIAPLAIN" not in str(raised.value)


def test_heads_are_anchored_in_a_bucket(server: S3, location: str) -> None:
    place = open_anchor_directory(location, server.settings(), server.secret)
    place.put("log", 7, b"head\nroot\n\nsigned", b"head\nroot\n")
    place.put("log", 7, b"head\nroot\n\nsigned anew", b"head\nroot\n")
    with pytest.raises(LedgerError, match="two histories"):
        place.put("log", 7, b"head\nother\n\nsigned", b"head\nother\n")
    with pytest.raises(LedgerError, match="names no folder"):
        place.put("../log", 7, b"", b"")
    server.client.delete_object(Bucket=bucket_of(location), Key=f"evidence/log/{7:020d}.note")
    with pytest.raises(LedgerError, match="two histories"):
        place.put("log", 7, b"head\nother\n\nsigned", b"head\nother\n")
    assert location == place.name


@pytest.mark.s3
def test_sealed_evidence_outlives_the_one_who_sealed_it(ceph: S3, tmp_path: Path) -> None:
    location = ceph.new_bucket()
    vault = open_vault(location, tmp_path / "keys", ceph.settings(), ceph.secret)
    collection = seal(vault, [DATA]).collection
    for one in versions(ceph, location):
        with pytest.raises(ClientError, match="AccessDenied"):
            ceph.client.delete_object(
                Bucket=bucket_of(location), Key=one["Key"], VersionId=one["VersionId"], BypassGovernanceRetention=True
            )
        ceph.client.delete_object(Bucket=bucket_of(location), Key=one["Key"])
    forget_notes(tmp_path)
    assert list(vault.items(collection)) == [(0, DATA)]
