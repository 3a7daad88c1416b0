"""Starts, watches and stops the processes of one world, and ends none but its own."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

import httpx

from examples.support_agent.book import utc_now
from examples.support_agent.furnish import ensure_agent_token, furnish_directory
from examples.support_agent.layout import (
    AGENT_CLIENT,
    IAM_AGENT_USER,
    IAM_RESPONDER_USER,
    RESPONDER_CLIENT,
    ROLES,
    TOOL_SERVER_CLIENT,
    TOOLS,
    Addresses,
    Layout,
    ProcessInfo,
    ServeSettings,
    WorldDescription,
    flag_key,
    write_atomically,
)

if TYPE_CHECKING:
    from examples.support_agent.registry import Registry

PROJECT = Path(__file__).resolve().parents[2]
HEALTH_PATHS = {"authorization": "/healthz", "tools": "/healthz", "aws": "/moto-api/", "agent": "/healthz"}
STOP_SECONDS = 5.0
SERVE_COMMAND = (sys.executable, "-m", "examples.support_agent", "serve")


class WorldError(Exception):
    """The world cannot start or go on; the text says why."""


class Supervisor:
    """One world, from the first socket to the last child."""

    def __init__(self, directory: Path, seed: int, prompt_version: int | None, prompt_cache_seconds: float) -> None:
        self._layout = Layout(directory)
        self._seed = seed
        self._prompt_version = prompt_version
        self._cache_seconds = prompt_cache_seconds
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._stop = threading.Event()
        self._born = time.time()

    def run(self) -> None:
        """Start everything, say that it is ready, watch until asked to stop."""
        _forget_ambient_aws()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        self._layout.make_directories()
        with self._layout.lock_file.open("w") as lock:
            _lock(lock, self._layout.directory)
            self._layout.world_file.unlink(missing_ok=True)  # what it says of an earlier run is no longer true
            furnish_directory(self._layout)
            try:
                registry = self._start()
                self._watch(registry)
            finally:
                self._stop_children()

    def stop(self) -> None:
        """Ask ``run`` to end."""
        self._stop.set()

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    def _start(self) -> Registry:
        sockets = {role: _listen() for role in ROLES}
        addresses = Addresses(**{role: f"http://127.0.0.1:{sockets[role].getsockname()[1]}" for role in ROLES})
        settings = ServeSettings(
            directory=self._layout.directory,
            addresses=addresses,
            seed=self._seed,
            prompt_cache_seconds=self._cache_seconds,
        )
        for role in ("aws", "authorization", "tools", "agent"):
            self._spawn(role, settings, sockets[role])
        for opened in sockets.values():
            opened.close()  # the children hold them now; callers queue until their server listens to them
        from examples.support_agent.registry import Registry  # noqa: PLC0415 - boto3 is slow; the children boot meanwhile

        jti = ensure_agent_token(self._layout, addresses)
        registry = Registry(self._layout, addresses.aws)
        access_key_id = registry.furnish(self._prompt_version)
        for role in ROLES:
            httpx.get(getattr(addresses, role) + HEALTH_PATHS[role], timeout=30.0, trust_env=False).raise_for_status()
        description = self._describe(addresses, access_key_id, jti)
        write_atomically(self._layout.world_file, description.model_dump_json(indent=2) + "\n")
        print(f"support_agent world ready: agent {addresses.agent}", flush=True)
        return registry

    def _spawn(self, role: str, settings: ServeSettings, listening: socket.socket) -> None:
        descriptor = listening.fileno()
        with (self._layout.logs / f"{role}.log").open("ab") as log:
            self._children[role] = subprocess.Popen(
                [*SERVE_COMMAND, role, str(descriptor), settings.model_dump_json()],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(descriptor,),
                start_new_session=True,
            )
        self._started[role] = time.time()

    def _describe(self, addresses: Addresses, access_key_id: str, jti: str) -> WorldDescription:
        layout = self._layout
        clients = (AGENT_CLIENT, TOOL_SERVER_CLIENT, RESPONDER_CLIENT)
        secret_paths = {f"{client}.client_secret": layout.client_secret(client) for client in clients}
        secret_paths |= {f"{user}.aws_key": layout.aws_key(user) for user in (IAM_AGENT_USER, IAM_RESPONDER_USER)}
        secret_paths[f"{AGENT_CLIENT}.access_token"] = layout.agent_token
        return WorldDescription(
            directory=layout.directory,
            seed=self._seed,
            started_at=utc_now(),
            supervisor=ProcessInfo(pid=os.getpid(), started=self._born),
            processes={
                role: ProcessInfo(pid=child.pid, started=self._started[role]) for role, child in self._children.items()
            },
            addresses=addresses,
            flags_path=layout.flags_file,
            flag_keys={tool: flag_key(tool) for tool in TOOLS},
            documents_path=layout.documents,
            traces_path=layout.traces_file,
            book_path=layout.book_file,
            prompt_cache_seconds=self._cache_seconds,
            iam_access_key_id=access_key_id,
            oauth_clients={"agent": AGENT_CLIENT, "tool_server": TOOL_SERVER_CLIENT, "responder": RESPONDER_CLIENT},
            agent_token_jti=jti,
            secret_paths=secret_paths,
        )

    def _watch(self, registry: Registry) -> None:
        while not self._stop.wait(1.0):
            for role, child in self._children.items():
                if child.poll() is not None:
                    raise WorldError(f"{role} ended with {child.returncode}; see {self._layout.logs / role}.log")
            registry.remember_label()
        registry.remember_label()

    def _stop_children(self) -> None:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdin is not None:
                child.stdin.close()


def _listen() -> socket.socket:
    """A listening socket on a free port of loopback."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.bind(("127.0.0.1", 0))
    opened.listen(128)
    return opened


def _forget_ambient_aws() -> None:
    """Whoever starts a practice world may have real AWS settings; neither we nor our children shall see them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def _lock(file: IO[Any], directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        raise WorldError(f"expected no running world in {directory}, found one; stop it first") from problem


def is_running(layout: Layout) -> bool:
    """Whether a supervisor lives in this directory: it holds the lock as long as it does."""
    with layout.lock_file.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
