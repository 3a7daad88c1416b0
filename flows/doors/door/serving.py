"""`quell door`: one process that listens until SIGTERM, and gives its port away to whoever asks in the home."""

import contextlib
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from flows.doors.door.address import door_url, leave_word
from flows.doors.door.app import make_app
from flows.doors.door.guarding import IDLE_SECONDS, guarded
from flows.doors.door.reception import Reception
from runbooks.domain.errors import UnreachableError
from tasks.collecting import collect_rarely
from tasks.installation import Installation

log = logging.getLogger("quell.door")

LAST_WORDS_SECONDS = 10
"""For requests that are being answered when the door is asked to stop."""

SWITCH_SECONDS = 0.001
"""How long the thread that writes may keep the interpreter while requests wait; Python's own 5 ms would show."""


def listen(installation: Installation) -> socket.socket:
    """A bound socket: on the configured port, or on the one of the last start, or on any that is free."""
    limits, home = installation.settings.limits, installation.settings.home
    last = door_url(home).rpartition(":")[2]  # so that what was written down elsewhere stays good
    wanted = [limits.door_port] if limits.door_port else [int(last) if last.isdigit() else 0, 0]
    for port in wanted:
        family = socket.AF_INET6 if ":" in limits.door_host else socket.AF_INET
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((limits.door_host, port))
        except OSError as error:
            bound.close()
            problem = error.strerror or type(error).__name__
            continue
        return bound
    raise UnreachableError(
        f"the door cannot listen on {limits.door_host} port {wanted[0]}: {problem}.",
        now="nothing is taken in; senders that repeat will come again.",
        next_step="free the port, or set door_host and door_port in config/defaults.toml.",
    )


def _asked(number: int, frame: FrameType | None) -> None:
    """Asked to stop: that is a good end."""
    del number, frame


def run_door(
    installation: Installation, *, ready: Callable[[str], None] = print, committed: Callable[[], None] = lambda: None
) -> int:
    """Listen until SIGTERM or SIGINT. `ready` is told the address; `committed` is called after each commit."""
    limits = installation.settings.limits
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * limits.door_connections + 256), hard))
    bound = listen(installation)
    reception = Reception(installation, committed)
    config = uvicorn.Config(
        make_app(reception),
        http=guarded(limits.door_patience_seconds, limits.door_connections, reception.counts), ws="none", lifespan="on",
        access_log=False,  # it would print tokens that stand in addresses
        log_config=None, server_header=False, proxy_headers=False, backlog=2048,
        timeout_keep_alive=int(IDLE_SECONDS), timeout_graceful_shutdown=LAST_WORDS_SECONDS,
    )  # fmt: skip
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    ready(leave_word(installation.settings.home, *bound.getsockname()[:2]))
    sys.setswitchinterval(SWITCH_SECONDS)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _asked)  # uvicorn's own stands before it, and calls it at the end
    collect_rarely()  # with Python's own pace the slowest delivery in a hundred took 35 ms of 64 connections' load, now 29
    uvicorn.Server(config).run(sockets=[bound])
    return 0
