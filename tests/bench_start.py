"""How soon after a signal or a decision the harmful ability is gone, through the real thing: door, Prefect, worker, connector.

Every measured start is an incident of its own, on a system of its own; all systems are one practice agent, put back to how
it was before each. Beside it, in the same run, the same deployments on Prefect's stock process worker.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flows.doors import practice
from flows.doors.door.address import door_url
from flows.doors.drill import opened_by
from flows.doors.sender import send
from flows.doors.up import start_in_background, stop
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation, open_installation
from tasks.ledger import INSTALLATION
from tasks.settings import load_configuration, load_settings
from tests.flows.far_sides import FarSide
from tests.flows.ground import COMMANDS
from tests.flows.people import until


@contextmanager
def standing(home: Path, count: int) -> Iterator[tuple[Installation, FarSide]]:
    with ExitStack() as stack:
        world = stack.enter_context(practice.prepare(home, 7, prompt_cache_seconds=1.0))
        os.environ["QUELL_HOME"] = str(home)
        side = FarSide(world)
        stack.callback(side.close)
        installation = open_installation(home)
        base = load_configuration(load_settings(home))
        filled = base.systems["support-agent"]
        names = [f"agent-{n}" for n in range(count)]
        rule = base.policy.preauthorised[0].model_copy(update={"systems": tuple(names), "incidents_per_hour": 1000})
        installation.activate(
            base.model_copy(update={"systems": {n: filled for n in names}, "policy": base.policy.model_copy(update={"preauthorised": (rule,)})}),
            INSTALLATION, {"proof": "bench"},
        )
        stack.callback(stop, home)
        start_in_background(home, 240, commands=COMMANDS)
        yield installation, side


def main() -> None:
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder) / "home", count) as (place, side):
        secret = practice.monitor_secret(place.settings.home)
        url = f"{door_url(place.settings.home)}/signals/{practice.MONITOR}"
        time.sleep(3)
        for n in range(count):
            side.reset()
            time.sleep(1.5)
            began = time.time_ns()
            receipt = json.loads(send(url, secret, "tool_use.mass", {"system": f"agent-{n}", "labels": ["mass-tool-use"], "text": "x"}))["receipt"]
            acked = time.time_ns()
            incident = opened_by(place, receipt)
            until(lambda: place.store.entries(incident, types=(EntryType.PROBES_JUDGED,)), 60)
            until(lambda: place.store.entries(incident, types=(EntryType.RUN_SUSPENDED,)), 60)
            print("== began", began); print("== ack", (acked - began) / 1e6)
            from runbooks.domain.instants import milliseconds_between, instant_from_ns
            b = instant_from_ns(began)
            for e in place.store.entries(incident):
                print("  ", milliseconds_between(b, e.at), e.type, e.body.get("action", e.body.get("source", "")), e.body.get("effective_at") and milliseconds_between(b, e.body["effective_at"]), e.body.get("probes"))


main()
