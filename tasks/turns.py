"""First acts a few at a time: on two cores, thirty responses that all seal and act at once are all late.

1. A response takes a turn before its first acts. There is one more than processors; one that is free is taken at once.
2. Without one it waits, and never for longer than `PATIENCE_SECONDS`: a turn is a courtesy, and no right to act.
3. It gives the turn back when its first acts are done, and at the latest after `LONGEST_SECONDS`: a far side that answers
   slowly needs no processor. What dies gives it back by dying.
4. Whether somebody waits can be seen by those whose pages for people can wait, and whether somebody acts by those who only
   look after others.

The turns are locks on files of the home; the operating system ends a dead process's lock.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from threading import Lock, Timer
from time import monotonic

from tasks.waiting import pause

TURNS = 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Measured on two cores with thirty incidents of systems that answer at once: all proven after 10 to 15 s with three turns,
15 with four, 20 to 23 without any."""
LONGEST_SECONDS, PATIENCE_SECONDS = 3.0, 6.0
"""Where every far side takes seconds, the last of many begins so much later than it could."""
GLANCE_SECONDS = 0.05
QUEUE = "waiting"


class Turn:
    """Of one process, in one home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "turns"
        self._held: int | None = None
        self._lock = Lock()

    def take(self) -> None:
        """One turn, or, after a while, none. Whatever fails ends the waiting."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not self._took():
                self._wait()
        except (OSError, RuntimeError):  # no lock, no file, no thread more
            self.give_back()

    def _wait(self) -> None:
        began, queue, seen = monotonic(), _opened(self._folder / QUEUE), False
        try:
            while not self._took() and (waited := monotonic() - began) < PATIENCE_SECONDS:
                seen = seen or _locked(queue, fcntl.LOCK_EX)  # 4: one of those who wait; not while somebody looks
                pause(GLANCE_SECONDS / (1 + waited))  # who waits longer looks more often
        finally:
            os.close(queue)

    def give_back(self) -> None:
        """The next one's turn. Harmless without one."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def somebody_waits(self) -> bool:
        """Whether another process waits for its turn now."""
        return self._is_held(QUEUE)

    def somebody_acts(self) -> bool:
        """Whether anybody has a turn now."""
        return any(self._is_held(str(number)) for number in range(TURNS))

    def _is_held(self, name: str) -> bool:
        with suppress(OSError):
            file = _opened(self._folder / name)
            try:  # those who look share it
                return not _locked(file, fcntl.LOCK_SH)
            finally:
                os.close(file)
        return False

    def _took(self) -> bool:
        for number in range(TURNS):
            file = _opened(self._folder / str(number))
            try:
                took = _locked(file, fcntl.LOCK_EX)
            except OSError:
                os.close(file)
                raise
            if took:
                self._held = file
                late = Timer(LONGEST_SECONDS, self.give_back)
                late.daemon = True
                late.start()
                return True
            os.close(file)
        return False


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
