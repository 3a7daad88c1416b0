"""Backends behind the ports of the stores. A contract that takes `ledger_url` or `new_vault` runs on all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.stores.buckets import S3, Wire, running_moto
from tests.contracts.stores.ceph import running_ceph
from tests.contracts.stores.postgresql import Cluster, running_cluster
from tests.contracts.stores.vaults import Opened, in_bucket, on_disk


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    running: Cluster = request.getfixturevalue("cluster")
    return running.new_database()


@pytest.fixture(scope="session")
def moto() -> Iterator[S3]:
    with running_moto() as running:
        yield running


@pytest.fixture(scope="session")
def ceph() -> Iterator[S3]:
    with running_ceph() as running:
        yield running


@pytest.fixture(params=["disk", "moto", pytest.param("ceph", marks=pytest.mark.s3)])
def new_vault(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Opens one and the same vault, empty at first, as often as it is called."""
    if request.param == "disk":
        return on_disk(tmp_path)
    return in_bucket(request.getfixturevalue(request.param), tmp_path)


@pytest.fixture
def server(moto: S3) -> Iterator[S3]:
    """Moto behind a wire that lies where the test says so."""
    yield moto
    for name, value in vars(Wire()).items():
        setattr(moto.wire, name, value)


@pytest.fixture
def location(server: S3) -> str:
    return server.new_bucket()
