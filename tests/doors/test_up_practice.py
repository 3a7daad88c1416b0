"""The README's lines, as a new person types them: `quell up --practice`, one signed webhook by hand, contained."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.support_agent import attacks
from examples.support_agent.world import attach
from flows.doors.drill import attack_again
from flows.doors.listing import ROOT
from runbooks.domain.ledger import EntryType
from tasks.installation import open_installation
from tests.flows.people import until

pytestmark = [pytest.mark.engine, pytest.mark.far_side, pytest.mark.slow]

UP_SECONDS, CONTAINED_SECONDS = 240, 120


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The home that `quell up --practice` named, once everything is up."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "flows.doors.cli", "up", "--practice"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env=environment | {"QUELL_HOME": str(tmp_path)},
    )  # fmt: skip
    said: list[str] = []
    assert process.stdout is not None
    listening = threading.Thread(target=said.extend, args=(process.stdout,))
    listening.start()
    try:
        until(lambda: any("quell is up" in line for line in said), UP_SECONDS, what="up", tell=lambda: "".join(said))
        yield Path(next(line for line in said if "export QUELL_HOME=" in line).partition("=")[2].strip())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0
        listening.join()
        process.stdout.close()


def test_a_webhook_signed_by_hand_ends_in_containment(home: Path) -> None:
    (lines,) = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    bin_folder = Path(sys.executable).parent
    posted = subprocess.run(
        ["sh", "-eu", "-c", lines.replace("$PWD/.venv/bin", str(bin_folder))], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"QUELL_HOME": str(home)}, check=False,
    )  # fmt: skip
    assert posted.returncode == 0, posted.stderr
    assert '"receipt"' in posted.stdout

    store = open_installation(home).store
    judged = until(
        lambda: len(found := store.entries(types=(EntryType.PROBES_JUDGED,))) >= 2 and found,
        CONTAINED_SECONDS, what="both acts are probed",
    )  # fmt: skip
    assert {str(entry.body["status"]) for entry in judged} == {"effective"}
    (opened,) = store.entries(types=(EntryType.INCIDENT_OPENED,))
    assert opened.body["origin"]["source"] == "practice-monitor"
    with attach(home / "world") as world:
        since = world.last_seq()
        attack_again("agentic_misalignment", world)
        assert attacks.achieved(world, since).refunds == 0
