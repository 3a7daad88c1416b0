"""The socket on which the worker of a home listens, and the words on it. Without Prefect, so that an answer stays quick.

`room?` asks for a place for a run that is about to be created (`handing.py`); `look` says that a run is due now;
`wake` and a run's id: it waits for people, and the record has news for it (`waking.py`).
"""

import contextlib
import socket
from pathlib import Path

ROOM, YES, NO, TAKEN, LOOK = b"room?\n", b"yes\n", b"no\n", b"taken\n", b"look\n"
WAKE = b"wake "
NUDGE_SECONDS = 0.2
WAKE_SECONDS = 3.0
"""The engine is asked twice meanwhile. Without an answer it is rung the ordinary way, which wakes nobody twice."""


def socket_of(home: Path) -> Path:
    """Where the worker of this home listens."""
    return home / "worker.socket"


def nudge(home: Path) -> None:
    """Let the worker of this home, if there is one, look at once. It would hear of it from the engine 0.1 s later."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(NUDGE_SECONDS)
        line.connect(str(socket_of(home)))
        line.sendall(LOOK)


def wake(home: Path, flow_run_id: str) -> bool:
    """Whether the worker of this home woke this run and has it; False also when it did not answer in time."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(WAKE_SECONDS)
        line.connect(str(socket_of(home)))
        line.sendall(WAKE + flow_run_id.encode() + b"\n")
        return line.recv(len(YES)) == YES
    return False
