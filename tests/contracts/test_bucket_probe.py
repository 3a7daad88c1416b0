"""The probe of a bucket, and what `quell check` makes of it."""

from pathlib import Path

import pytest

from tasks.installation import Installation
from tasks.readiness import Level, check_stores
from tasks.settings import load_settings
from tasks.stores import try_bucket
from tests.contracts.stores.buckets import S3


def failed(server: S3, location: str) -> set[str]:
    return {check.name for check in try_bucket(location, server.settings(), server.secret) if not check.passed}


def test_the_probe_finds_what_moto_does_not_keep(server: S3, location: str) -> None:
    """The known gaps of moto, by name: a gap more or less is a change that somebody must look at."""
    assert failed(server, location) == {
        "retention cannot be shortened",
        "nor shortened with the right to bypass",
        "nor made weaker (governance)",
        "refuses other bytes",
    }


@pytest.mark.s3
def test_the_probe_believes_a_server_that_keeps_its_locks(ceph: S3) -> None:
    """The known gaps of Ceph 16: it is too old for conditions and for SHA-256. All its locks hold."""
    found = try_bucket(ceph.new_bucket(), ceph.settings(), ceph.secret)
    assert {check.name for check in found if not check.passed} == {"refuses a second object", "refuses other bytes"}
    assert all(check.passed for check in found if check.needed)


def test_the_probe_calls_no_bucket_locked_that_is_not(server: S3, location: str) -> None:
    assert failed(server, server.new_bucket(locked=False)) == {"takes a lock"}
    assert failed(server, "s3://absent") == {"reachable"}
    server.wire.drop = {"HTTP_X_AMZ_OBJECT_LOCK_MODE", "HTTP_X_AMZ_OBJECT_LOCK_RETAIN_UNTIL_DATE"}
    assert failed(server, location) == {"takes a lock"}


def checked(server: S3, location: str, home: Path) -> dict[str, str]:
    """The worst level by what it is about."""
    (home / "config").mkdir()
    (home / "secret").write_text(server.secret("env:PRACTICE"))
    (home / "config" / "defaults.toml").write_text(
        f"""vault_path = "{location}"
        [s3]
        region = "us-east-1"
        endpoint_url = "{server.url}"
        credentials = "file:secret"
        """
    )
    order = list(Level)
    found: dict[str, Level] = {}
    for one in check_stores(Installation(load_settings(home, {}))):
        found[one.about] = max(found.get(one.about, Level.OK), one.level, key=order.index)
    return dict(found)


def test_check_says_that_a_bucket_does_not_keep_its_locks(server: S3, location: str, tmp_path: Path) -> None:
    assert checked(server, location, tmp_path) == {
        "ledger": "ok",
        "vault's locks": "wrong",
        "vault's bucket": "attention",
    }


def test_check_says_that_a_bucket_cannot_lock(server: S3, tmp_path: Path) -> None:
    assert checked(server, server.new_bucket(locked=False), tmp_path) == {"ledger": "ok", "vault": "wrong"}


@pytest.mark.s3
def test_check_trusts_a_bucket_that_refused_everything(ceph: S3, tmp_path: Path) -> None:
    assert checked(ceph, ceph.new_bucket(), tmp_path) == {
        "ledger": "ok", "vault": "ok", "vault's bucket": "attention", "vault's locks": "attention",
    }  # fmt: skip
