"""How many signals a second become incidents: deduplicated, joined or opened, with the outbox, durable. No engine."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from runbooks.domain.value import Json
from tasks.installation import Installation
from tasks.intake.correlating import Correlator, Understood
from tasks.settings import load_settings
from tasks.stores import open_signals
from tests.steps.intake_ground import NOW, a_classified, a_signal

SIGNALS, BATCH, SYSTEMS, REPLAY_EVERY = 10_000, 200, 100, 4


def correlation() -> dict[str, Json]:
    """Every fourth signal is one that was delivered before; a hundred systems, so a hundred incidents."""
    with tempfile.TemporaryDirectory(prefix="quell-bench-") as folder:
        home, known = Path(folder), a_classified()
        (home / "config").mkdir()
        for name, text in (("people", ""), ("policy", "rights = []\n"), ("systems", "")):
            (home / "config" / f"{name}.toml").write_text(text)
        place = Installation(load_settings(home))
        place.activate_if_fresh()
        numbers = [n if n % REPLAY_EVERY else n // 2 for n in range(SIGNALS)]
        signals = [a_signal(str(n), 0, system=f"system-{n % SYSTEMS}") for n in numbers]
        with closing(open_signals(home / "signals.db")) as store:
            correlator = Correlator(place, store, place.active())
            began, said = time.perf_counter(), 0
            for start in range(0, SIGNALS, BATCH):
                batch = [Understood(one.delivery, ((one, known),)) for one in signals[start : start + BATCH]]
                said += len(correlator.take_in(batch, NOW))
            took = time.perf_counter() - began
            incidents = len(store.waiting())
    return {
        "signals": SIGNALS, "new": said, "incidents": incidents, "batch": BATCH, "seconds": round(took, 2),
        "signals_per_second": round(SIGNALS / took),
    }  # fmt: skip


MEASUREMENTS: dict[str, Callable[[], dict[str, Json]]] = {"correlation": correlation}
