"""One small incident and its bundle, made once per process."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.installation import Installation
from tests.contracts.bundle.ground import Files, an_export, an_incident
from tests.contracts.bundle.tsa import an_authority, make_authority
from tests.steps.desk import make_people


@dataclass(frozen=True)
class Case:
    """An installation, its incident, and what was exported of it."""

    place: Installation
    incident: str
    files: Files
    key: str
    keys: dict[str, Path]


@pytest.fixture(scope="session")
def people_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory, people_keys: dict[str, Path]) -> Case:
    home = tmp_path_factory.mktemp("bundle")
    place, incident = an_incident(home / "home", people_keys)
    files, key = an_export(place, incident, home / "bundle")
    return Case(place, incident, files, key, people_keys)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A time-stamp authority that serves: its address, and its CA certificate."""
    folder = tmp_path_factory.mktemp("tsa") / "tsa"
    ca = make_authority(folder)
    with an_authority(folder) as url:
        yield url, ca


@pytest.fixture
def place(tmp_path: Path, people_keys: dict[str, Path]) -> tuple[Installation, str]:
    """A closed incident of its own."""
    return an_incident(tmp_path / "home", people_keys)
