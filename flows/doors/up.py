"""`quell up`: everything on this machine, watched by one process: Prefect server, deployments, worker, keeper, door."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flows.doors.deploying import DeployError, begin_deploying, end_deploying, ensure_pool
from flows.doors.door.address import door_url, wait_for_door
from flows.doors.engine_server import (
    EngineCalls,
    EngineUnreachable,
    engine_environment,
    engine_url,
    own_server,
    server_port,
    start_server,
    wait_healthy,
)
from flows.doors.listing import ROOT, ListingError, import_path, queue_priorities, read_listing
from flows.doors.processes import Child, alive, start_child, start_mark, stop_children, stop_process

STOP_GRACE_SECONDS = 45.0  # more than the worker needs to drain (10 s) and to end its children (15 s + 10 s)
SERVER_GRACE_SECONDS = 10.0
FIRST_RESTART_SECONDS, LAST_RESTART_SECONDS = 1.0, 60.0
STEADY_SECONDS = 60.0  # a child that lived this long starts again with the first, short pause
TICK_SECONDS = 0.2


@dataclass(frozen=True)
class UpStatus:
    """What `up.json` says. `children`: name to pid and start mark. Never a secret."""

    pid: int
    started: str
    ready: bool
    api_url: str
    ui_url: str
    logs: str
    children: dict[str, dict[str, int | str]] = field(default_factory=dict)
    door_url: str = ""
    """Where signals and decisions come in; empty while there is no door."""


class UpError(RuntimeError):
    """`up` could not do its work; the message says what was found and where to look."""


def attach(home: Path) -> UpStatus | None:
    """The `up` that lives in this home now, or None. A left-over up.json of a killed one counts as none."""
    try:
        status = UpStatus(**json.loads((home / "up.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return status if alive(status.pid, status.started) else None


@contextlib.contextmanager
def _sole(home: Path) -> Iterator[bool]:
    """Whether we are the only `up` here. The kernel drops the lock when we die, however we die."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / "up.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


@dataclass
class _Watched:
    start: Callable[[], Child]
    child: Child
    born: float
    pause: float = FIRST_RESTART_SECONDS
    restart_at: float | None = None


class _Up:
    """The running set, and what `up.json` says about it."""

    def __init__(self, home: Path, out: Callable[[str], None]) -> None:
        self.home = home
        self.out = out
        self.watched: dict[str, _Watched] = {}
        self.ready = False

    def start(self, name: str, start: Callable[[], Child]) -> Child:
        child = start()
        self.watched[name] = _Watched(start, child, time.monotonic())
        self.write()
        return child

    def write(self) -> None:
        url = engine_url(self.home)
        children: dict[str, dict[str, int | str]] = {
            name: {"pid": one.child.pid, "started": one.child.started} for name, one in self.watched.items()
        }
        status = UpStatus(
            os.getpid(),
            start_mark(os.getpid()),
            self.ready,
            url,
            url.removesuffix("/api"),
            str(self.home / "logs"),
            children,
            door_url(self.home) if "door" in self.watched else "",
        )
        draft = self.home / f".up.json.{os.getpid()}"
        draft.write_text(json.dumps(asdict(status), indent=1))
        draft.replace(self.home / "up.json")

    def tend(self) -> None:
        """Restart what died, each after its own growing pause."""
        now = time.monotonic()
        for name, one in self.watched.items():
            if one.restart_at is not None:
                if now >= one.restart_at:
                    one.child, one.born, one.restart_at = one.start(), now, None
                    self.write()
            elif not one.child.running():
                one.pause = FIRST_RESTART_SECONDS if now - one.born > STEADY_SECONDS else one.pause
                self.out(
                    f"{name} ended with {one.child.popen.returncode}; again in {one.pause:.0f} s (see {one.child.log})"
                )
                one.restart_at, one.pause = now + one.pause, min(one.pause * 2, LAST_RESTART_SECONDS)

    def stop(self) -> None:
        """The commands first, then the server that they still need for their last words."""
        stop_children(
            [one.child for name, one in self.watched.items() if name != "server"], grace_seconds=STOP_GRACE_SECONDS
        )
        if "server" in self.watched:
            stop_children([self.watched["server"].child], grace_seconds=SERVER_GRACE_SECONDS)
        with contextlib.suppress(FileNotFoundError):
            (self.home / "up.json").unlink()


def run_up(
    home: Path,
    *,
    commands: Mapping[str, Sequence[str]],
    prefect_file: Path | None = None,
    out: Callable[[str], None] = print,
) -> int:
    """Bring everything up and watch it until SIGTERM or SIGINT. `commands`: name to argv, e.g. worker, keeper, door.

    0 after an orderly stop; 1 when another `up` lives in this home; 3 when it could not come up.
    """
    home = home.resolve()
    prefect_file = (prefect_file or ROOT / "prefect.yaml").resolve()
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stop.append(number))
    with _sole(home) as sole:
        if not sole:
            other = attach(home)
            where = f" (pid {other.pid}, {other.ui_url})" if other else ""
            out(f"quell is already up in {home}{where}. Stop that one first, or use another QUELL_HOME.")
            return 1
        up = _Up(home, out)
        try:
            _come_up(up, commands, prefect_file, stop)
            while not stop:
                time.sleep(TICK_SECONDS)
                up.tend()
        except (DeployError, EngineUnreachable, ListingError) as error:
            out(f"quell could not come up: {error}")
            return 3
        finally:
            out("Stopping.")
            up.stop()
    return 0


def _come_up(up: _Up, commands: Mapping[str, Sequence[str]], prefect_file: Path, stop: list[int]) -> None:
    home, began = up.home, time.monotonic()
    listed = read_listing(prefect_file)
    if own_server():
        first = not (home / "prefect" / "prefect.db").exists()
        up.out("Starting the Prefect server" + (" (the first start also makes its database)." if first else "."))
        server = up.start("server", lambda: start_server(home))
        port = server_port(home)
        up.watched["server"].start = lambda: start_server(home, port=port)
        wait_healthy(home, server, give_up=lambda: bool(stop))
    else:
        wait_healthy(home, give_up=lambda: bool(stop))
    if stop:
        return
    environment = engine_environment(home) | {"PYTHONPATH": import_path(prefect_file)}
    ensure_pool(EngineCalls(home), queue_priorities(listed))
    deploying = begin_deploying(prefect_file, home, environment) if listed else None
    for name, argv in commands.items():
        up.start(name, lambda name=name, argv=argv: _start_command(name, argv, home, environment, prefect_file.parent))  # type: ignore[misc]
    if deploying is not None:
        end_deploying(deploying, stop)
    listens = "door" in commands and wait_for_door(home, up.watched["door"].child.running, stop)
    up.ready = True
    up.write()
    up.out(f"quell is up after {time.monotonic() - began:.1f} s, with {len(listed)} deployments.")
    up.out(f"  Prefect    {engine_url(home).removesuffix('/api')}")
    if "door" in commands:
        up.out(f"  door       {door_url(home) if listens else 'does not answer yet; see its log'}")
    if own_server():
        up.out(f"  sign in    with the text in {home / 'secrets' / 'prefect-auth'}")
    up.out(f"  processes  {', '.join(up.watched)}")
    up.out(f"  logs       {home / 'logs'}")


def _start_command(name: str, argv: Sequence[str], home: Path, environment: Mapping[str, str], cwd: Path) -> Child:
    return start_child(name, argv, env=environment, log=home / "logs" / f"{name}.log", cwd=cwd)


def start_in_background(
    home: Path,
    timeout_seconds: float,
    *,
    commands: Mapping[str, Sequence[str]],
    prefect_file: Path | None = None,
) -> UpStatus:
    """Start `up` in a process of its own, which stays after us, and wait until everything is ready."""
    home = home.resolve()
    if (there := attach(home)) is not None and there.ready:
        return there
    log = home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "flows.doors.up", str(home), str(prefect_file or ROOT / "prefect.yaml")]
    with log.open("ab", buffering=0) as sink:
        process = subprocess.Popen(
            [*argv, json.dumps({name: list(words) for name, words in commands.items()})],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        status = attach(home)
        if status is not None and status.ready:
            process.returncode = 0  # it is not ours to wait for any more: no warning when this object goes
            return status
        if process.poll() is not None and status is None:
            break
        time.sleep(0.1)
    if process.poll() is None:
        process.terminate()
        process.wait(STOP_GRACE_SECONDS + SERVER_GRACE_SECONDS)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    raise UpError(f"Expected quell to be up in {home} within {timeout_seconds:.0f} s; the last lines of {log}:\n{last}")


def stop(home: Path) -> bool:
    """Stop the `up` of this home in an orderly way; whether there was one."""
    status = attach(home)
    if status is None:
        return False
    stop_process(status.pid, status.started, grace_seconds=STOP_GRACE_SECONDS + SERVER_GRACE_SECONDS)
    return True


if __name__ == "__main__":
    _home, _prefect_file, _commands = sys.argv[1:4]
    raise SystemExit(run_up(Path(_home), commands=json.loads(_commands), prefect_file=Path(_prefect_file)))
