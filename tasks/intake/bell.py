"""A bell between two processes of one home: whoever stored something rings, whoever waits wakes within a millisecond.

A named pipe. Ringing never waits and never fails: if nobody listens, the listener finds the work when it looks by itself.
"""

import contextlib
import os
import select
import stat
from pathlib import Path


def bell_of(home: Path) -> Path:
    """Where the door rings."""
    return home / "signals.bell"


def ring(path: Path) -> None:
    """Wake the listener, if there is one."""
    with contextlib.suppress(OSError):  # nobody listens, or the pipe is full of earlier rings
        bell = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            if stat.S_ISFIFO(os.fstat(bell).st_mode):
                os.write(bell, b"!")
        finally:
            os.close(bell)


def is_heard(path: Path) -> bool:
    """Whether somebody listens now; nothing is rung."""
    try:
        bell = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.close(bell)
    return True


class Listener:
    """The end that waits. Rings that came while it was away are heard at once; many are heard as one."""

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        self._pipe = os.open(
            path, os.O_RDWR | os.O_NONBLOCK
        )  # it holds a writing end too, so that it never sees an end

    def wait(self, seconds: float) -> bool:
        """Whether somebody rang within so many seconds."""
        heard = bool(select.select([self._pipe], [], [], seconds)[0])
        if heard:
            with contextlib.suppress(BlockingIOError):
                os.read(self._pipe, 65_536)
        return heard

    def close(self) -> None:
        """Listen no more."""
        os.close(self._pipe)
