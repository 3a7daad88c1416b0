"""kill -9 of the dispatcher, again and again, wherever it is: no acknowledged delivery is lost, no incident is doubled."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter

from flows.doors.listing import ROOT
from runbooks.domain.ledger import EntryType
from tasks.intake.bell import bell_of, is_heard, ring
from tests.steps.desk import Desk
from tests.steps.test_dispatching import alarm, configured, deliver, until

SYSTEMS, ROUNDS, KILLS = 12, 5, 5
CHILD = """
import sys
from pathlib import Path
from flows.doors.dispatcher import run_dispatcher
home = Path(sys.argv[1])
def start(flow, incident, drill):
    with (home / "starts").open("a") as file:
        file.write(incident + "\\n")
    return "run-of-" + incident
raise SystemExit(run_dispatcher(home, start))
"""


def test_killed_anywhere_it_loses_and_doubles_nothing(desk: Desk) -> None:
    place = configured(desk)
    chance, sent = random.Random(11), 0  # noqa: S311 - the same every time
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for kill in range(KILLS + 1):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(desk.home)],
            env=environment,
            stderr=subprocess.PIPE,
        )
        until(lambda: is_heard(bell_of(desk.home)))
        for _ in range(ROUNDS):
            for system in range(SYSTEMS):
                deliver(place, sent, alarm(system=f"system-{system}"))
                sent += 1
            ring(bell_of(desk.home))
            time.sleep(chance.uniform(0.0, 0.05))  # where in its work it is killed is left to chance
        if kill < KILLS:
            child.send_signal(signal.SIGKILL)
        else:
            until(lambda: _nothing_waits(desk))
            child.terminate()
        _, said = child.communicate(timeout=30)
        assert b"Traceback" not in said, said.decode()
    with sqlite3.connect(place.settings.signals) as base:
        assert base.execute("SELECT count(*) FROM delivery WHERE done = 0").fetchone() == (0,)
        assert base.execute("SELECT count(*), count(DISTINCT event_key) FROM signal").fetchone() == (sent, sent)
        assert base.execute("SELECT count(*), sum(signals) FROM incident").fetchone() == (SYSTEMS, sent)
    base.close()
    opened = Counter(entry.incident for entry in place.store.entries(types=(EntryType.INCIDENT_OPENED,)))
    assert (len(opened), set(opened.values())) == (SYSTEMS, {1})
    assert set((desk.home / "starts").read_text().split()) == set(opened), (
        "each was asked for, some again under its key"
    )
    assert place.store.check() == []


def _nothing_waits(desk: Desk) -> bool:
    with sqlite3.connect(desk.installation.settings.signals) as base:
        left = base.execute(
            "SELECT (SELECT count(*) FROM delivery WHERE done = 0) + (SELECT count(*) FROM outbox WHERE started_at IS NULL)"
        ).fetchone()[0]
    base.close()
    return bool(left == 0)
