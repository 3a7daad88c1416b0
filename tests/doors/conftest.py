"""One toy checkout with everything up, for each file here."""

import os
from collections.abc import Iterator

import pytest

from flows.doors.engine_server import EngineCalls
from flows.doors.up import attach, stop
from tests.doors.toy import Place, checkout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        patch.delenv(name)
    place = checkout(tmp_path_factory.mktemp("up"))
    place.up()
    place.calls = EngineCalls(place.home)
    yield place
    stop(place.home)
    assert attach(place.home) is None
    patch.undo()
