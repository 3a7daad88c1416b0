"""Fixtures of the commands' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.steps.desk import Desk, a_desk, make_people
from tests.steps.intake_ground import Intake


@pytest.fixture(scope="session")
def people_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_people(tmp_path_factory.mktemp("people"))


@pytest.fixture
def desk(tmp_path: Path, people_keys: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    with a_desk(tmp_path / "home", people_keys, capsys) as found:
        yield found


@pytest.fixture
def intake(desk: Desk) -> Iterator[Intake]:
    desk.installation.activate_if_fresh()
    made = Intake(desk.installation)
    yield made
    made.store.close()
