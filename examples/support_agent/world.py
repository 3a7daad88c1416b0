"""The library's face: start a world, or attach to one that runs, and do to it what customers and operators do."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from examples.support_agent.book import Row
from examples.support_agent.furnish import issue_agent_token
from examples.support_agent.layout import TRIAL_HEADER, Layout, WorldDescription, write_atomically
from examples.support_agent.supervisor import PROJECT, WorldError, is_running

START_SECONDS = 60.0
STOP_SECONDS = 15.0


class World:
    """A running world. As a context manager it stops at the end, if it was started here."""

    def __init__(self, describe: WorldDescription, supervisor: subprocess.Popen[bytes] | None = None) -> None:
        self.describe = describe
        self._supervisor = supervisor
        self._http = httpx.Client(timeout=120.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._supervisor is not None:
            self.stop()
        self._http.close()

    def stop(self) -> None:
        """Stop the supervisor, which stops its children, and ask nothing any more; the directory stays."""
        self._http.close()
        if self._supervisor is None:
            if not is_running(Layout(self.describe.directory)):
                return
            os.kill(self.describe.supervisor.pid, signal.SIGTERM)
            return
        self._supervisor.terminate()
        self._supervisor.wait(STOP_SECONDS)
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            if pipe is not None:
                pipe.close()

    def ticket(self, ticket_id: str, customer: str, text: str, *, trial: str | None = None) -> dict[str, Any]:
        """Send a ticket to the agent and return its answer."""
        body = {"ticket_id": ticket_id, "customer": customer, "text": text}
        return self._ask_agent("/tickets", body, trial)

    def goal(self, goal: str, *, trial: str | None = None) -> dict[str, Any]:
        """Give the agent a goal and return its answer."""
        return self._ask_agent("/goals", {"goal": goal}, trial)

    def canary(self, tool: str, *, trial: str | None = None) -> dict[str, Any]:
        """Have the agent call ``tool`` for the canary: ``{tool, arguments, status, result|error, trace_id}``."""
        return self._ask_agent("/canary", {"tool": tool}, trial)

    def book(self, since: int = 0) -> list[Row]:
        """The rows of the book after number ``since``."""
        answer = self._http.get(f"{self.describe.addresses.tools}/book", params={"since": since})
        answer.raise_for_status()
        return [Row(**row) for row in answer.json()["rows"]]

    def last_seq(self) -> int:
        """The number of the newest row, 0 if there is none."""
        rows = self.book()
        return rows[-1].seq if rows else 0

    def reissue_agent_token(self) -> str:
        """Give the agent a new access token (it needs no restart); returns the new jti."""
        jti = issue_agent_token(Layout(self.describe.directory), self.describe.addresses)
        self.describe = self.describe.model_copy(update={"agent_token_jti": jti})
        layout = Layout(self.describe.directory)
        write_atomically(layout.world_file, self.describe.model_dump_json(indent=2) + "\n")
        return jti

    def _ask_agent(self, path: str, body: dict[str, Any], trial: str | None) -> dict[str, Any]:
        headers = {} if trial is None else {TRIAL_HEADER: trial}
        answer = self._http.post(self.describe.addresses.agent + path, json=body, headers=headers)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


def start(
    directory: Path | str, *, seed: int = 0, prompt_version: int | None = None, prompt_cache_seconds: float = 3.0
) -> World:
    """Start a world in ``directory`` and wait until it is healthy. It ends when this process does, at the latest.

    ``prompt_version`` None means: where the label was when the world last ran, or 2 (careless) for a new world.
    """
    command = [sys.executable, "-m", "examples.support_agent", "up", "--tied", "--dir", str(Path(directory).resolve())]
    command += ["--seed", str(seed), "--prompt-cache-seconds", str(prompt_cache_seconds)]
    if prompt_version is not None:
        command += ["--prompt-version", str(prompt_version)]
    supervisor = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if not _said_ready(supervisor):
        supervisor.kill()
        supervisor.communicate()
        raise WorldError(f"expected a ready world in {directory}, found none; see its logs")
    return World(_read(Path(directory)), supervisor)


def attach(directory: Path | str) -> World:
    """The world that runs in ``directory``."""
    describe = _read(Path(directory))
    if not is_running(Layout(Path(directory))):
        raise WorldError(f"expected a running world in {directory}, found only its world.json; start it again")
    return World(describe)


def _read(directory: Path) -> WorldDescription:
    try:
        return WorldDescription.model_validate_json(Layout(directory).world_file.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise WorldError(f"expected world.json in {directory}, found none; start a world there first") from problem


def _said_ready(supervisor: subprocess.Popen[bytes]) -> bool:
    """Wait for the supervisor's one line; False when it ended or took too long."""
    output = supervisor.stdout
    deadline = time.monotonic() + START_SECONDS
    while output is not None and time.monotonic() < deadline:
        if select.select([output], [], [], 0.5)[0]:
            return bool(output.readline())
    return False
