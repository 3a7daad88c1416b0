"""One practice home with everything up, for all whole responses: started once, about half a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbooks.domain.configuration import EvidenceSource
from runbooks.domain.evidence import EvidenceClass
from tests.flows.ground import Ground, fresh_sides, standing
from tests.flows.papers import paper

STORM = tuple(f"storm-{number}" for number in range(6))
PAPER = (
    "quick", "twins", "waiting", "running", "denied", "coded", "passing", "stopped", "opened", "swept", "unnamed",
    "early", "hostile", "stock", *STORM,
)  # fmt: skip


@pytest.fixture(scope="session")
def _ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    home: Path = tmp_path_factory.mktemp("responses") / "home"
    papers = {name: paper(home, name) for name in PAPER}
    papers["lame"] = paper(home, "lame", tools=2, dead=("tool-1",))
    dark = paper(home, "dark")
    silent = EvidenceSource(evidence_class=EvidenceClass.B, connector="nobody", what="calls")
    papers["dark"] = dark.model_copy(update={"evidence": (*dark.evidence, silent)})
    with standing(home, papers) as ground:
        ground.unanswered = ground.open("quick")
        yield ground


@pytest.fixture
def ground(_ground: Ground) -> Ground:
    """Everything up."""
    return _ground


@pytest.fixture
def worlds(_ground: Ground) -> Ground:
    """Everything up, and both practice worlds as before any incident."""
    fresh_sides(_ground)
    return _ground
