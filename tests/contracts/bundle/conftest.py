"""One small incident and its bundle, made once per process."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.installation import Installation
from tests.contracts.bundle.ground import Files, an_export, an_incident
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
