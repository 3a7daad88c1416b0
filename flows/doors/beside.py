"""A duty of the keeper that waits for somebody outside, in a thread of its own: no other duty waits for it."""

import threading
from collections.abc import Callable


class Beside:
    """Runs one duty at a time, and never twice at once.

    The thread ends with the process: whatever the duty does must survive being cut off anywhere, as by a crash.
    """

    def __init__(self, name: str, duty: Callable[[], object]) -> None:
        self._name, self._duty = name, duty
        self._thread: threading.Thread | None = None

    def keep(self) -> bool:
        """Begin the duty unless it is still at it; returns at once, whether it began."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=self._duty, name=self._name, daemon=True)
        self._thread.start()
        return True

    def join(self, seconds: float) -> None:
        """Wait until it is done, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)
