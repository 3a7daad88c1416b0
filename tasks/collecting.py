"""Garbage is looked for rarely, in processes that answer many at once. Without Prefect: the door imports none of it."""

import gc

COLLECT_AFTER = 10_000, 20, 50
"""Python's own 700 objects are little for what serves many at once."""


def collect_rarely() -> None:
    """What stands in this process now stays, and garbage is looked for among the rest, rarely.

    Measured: going through all that is imported stops every thread of the dispatcher for 0.1 to 0.3 s, and did so at
    every tenth incident.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
