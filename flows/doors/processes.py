"""Child processes that cannot outlive the process that started them, not even when that one is killed with -9.

On Linux the kernel does it (`PR_SET_PDEATHSIG`, set in a small launcher that then becomes the child). Elsewhere the
launcher stays, holds the read end of a pipe whose other end only the starter has, and kills the child when it closes.
This file is also that launcher: it is run by path, so it imports only the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
TERM_GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Child:
    """One process that we started. `started` tells it from a later process that got the same number."""

    name: str
    pid: int
    started: str
    log: Path
    popen: subprocess.Popen[bytes]

    def running(self) -> bool:
        """Whether it still runs (also reaps it)."""
        return self.popen.poll() is None


def start_mark(pid: int) -> str:
    """When the process started, as an opaque mark that no other process with this number ever has; '' if it is gone.

    Linux: boot id and start ticks from /proc. Elsewhere: what `ps` says. A zombie counts as gone.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _start_mark_from_ps(pid)
    except (OSError, ValueError):
        return ""
    fields = text.rpartition(")")[2].split()  # the name before ')' may hold blanks and brackets
    if fields[0] in ("Z", "X"):
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        boot = "-"
    return f"{boot}.{fields[19]}"


def _start_mark_from_ps(pid: int) -> str:
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    status, _, began = answer.stdout.strip().partition(" ")
    return "" if not began or status.startswith("Z") else "-".join(began.split())


def alive(pid: int, started: str) -> bool:
    """Whether exactly this process, not a later one with its number, still runs."""
    return bool(started) and start_mark(pid) == started


def start_child(
    name: str, argv: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path, pass_fds: Sequence[int] = ()
) -> Child:
    """Start `argv` in its own session, output appended to `log`; it dies when this process dies.

    Call it from the main thread: the kernel ties the child to the thread that started it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    linux = sys.platform.startswith("linux")
    watch, _held = (-1, -1) if linux else os.pipe()
    fds = [*pass_fds] if linux else [*pass_fds, watch]
    launcher = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(os.getpid()), str(watch), *argv]
    with log.open("ab", buffering=0) as sink:
        popen = subprocess.Popen(
            launcher, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            start_new_session=True, pass_fds=fds,
        )  # fmt: skip
    if not linux:
        os.close(watch)  # `_held` stays open for as long as we live: its closing is the signal
    return Child(name, popen.pid, start_mark(popen.pid), log, popen)


def stop_children(children: Iterable[Child], *, grace_seconds: float = TERM_GRACE_SECONDS) -> None:
    """Ask all to end (TERM), wait, then kill what is left, with everything in its session's process group."""
    waiting = [child for child in children if child.running()]
    for child in waiting:
        with contextlib.suppress(ProcessLookupError):
            child.popen.terminate()
    deadline = time.monotonic() + grace_seconds
    for child in waiting:
        try:
            child.popen.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.popen.wait()


def stop_process(pid: int, started: str, *, grace_seconds: float = TERM_GRACE_SECONDS) -> None:
    """The same for one process that is not our child, recognised by its start mark; nothing else is ever signalled."""
    for number, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        if not alive(pid, started):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while alive(pid, started) and time.monotonic() < deadline:
            time.sleep(0.05)


def die_with_parent(parent: int) -> None:
    """From now on the kernel kills this process when its parent ends. Only on Linux; elsewhere it does nothing."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it died before we asked


def _launch(parent: int, watch: int, argv: list[str]) -> int:
    if watch < 0:
        die_with_parent(parent)
        os.execvp(argv[0], argv)  # noqa: S606
    child = os.fork()
    if child == 0:
        os.close(watch)
        os.execvp(argv[0], argv)  # noqa: S606
    signal.signal(signal.SIGTERM, lambda number, _frame: os.kill(child, number))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) & 0xFF
        if select.select([watch], [], [], 0.2)[0]:
            os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(_launch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
