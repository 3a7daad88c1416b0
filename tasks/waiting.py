"""The one place that sleeps."""

import time


def pause(seconds: float) -> None:
    """Do nothing for so many seconds."""
    time.sleep(seconds)
