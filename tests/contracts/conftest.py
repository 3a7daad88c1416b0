"""Backends behind the ports of the stores, one name each. A contract takes `ledger_url` or `new_vault` and runs on all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.stores.postgresql import Cluster, running_cluster


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
