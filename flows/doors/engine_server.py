"""The Prefect server that belongs to one `$QUELL_HOME`, and the environment in which our processes talk to Prefect.

When PREFECT_API_URL is set, somebody else runs the server and we only use it. Otherwise: loopback only, SQLite in the
home, a generated credential, CSRF protection on, CORS closed to its own page, no analytics.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from flows.doors.processes import Child, start_child

START_TIMEOUT_SECONDS = 180.0  # a first start migrates the database: 17 s measured on two idle cores
CALL_TIMEOUT_SECONDS = 15.0
ROOT = str(Path(__file__).resolve().parents[2])
"""This checkout, whose server process it is to be."""
BUSY_RETRIES = 5  # SQLite answers 503 "database is locked" even to few clients


class EngineUnreachable(RuntimeError):  # noqa: N818  reads as what it says
    """The Prefect API did not do what was asked; the message says what was expected, found, and what to do next."""


def own_server(environ: Mapping[str, str] | None = None) -> bool:
    """Whether this installation runs its own Prefect server (PREFECT_API_URL is not set)."""
    return not (os.environ if environ is None else environ).get("PREFECT_API_URL")


def engine_credential(home: Path) -> str:
    """The `user:password` of this home's server; generated once, readable by the owner only."""
    path = home / "secrets" / "prefect-auth"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    if not path.exists():
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"quell:{secrets.token_urlsafe(32)}")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # two first starts at once: one credential wins, and both read it
        draft.unlink()
    return path.read_text().strip()


def engine_url(home: Path) -> str:
    """The API address: PREFECT_API_URL, or where this home's server was last started."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url.rstrip("/")
    try:
        return f"http://127.0.0.1:{server_port(home)}/api"
    except (OSError, ValueError):
        raise EngineUnreachable(
            f"Expected a Prefect server for {home}; none was ever started there. Run `quell up`."
        ) from None


def server_port(home: Path) -> int:
    """The port on which this home's server was last started."""
    return int((home / "prefect" / "port").read_text())


def engine_environment(home: Path) -> dict[str, str]:
    """The environment for every process that uses Prefect: ours, the worker, the keeper, each flow run."""
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_PROFILE"}
    environment |= {
        "QUELL_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": engine_url(home),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",  # a lost server must be an error, not a second, empty one
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # never pickles: whoever writes there would run code here
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.25",  # seconds; what is lost at kill -9
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "WARNING",  # the run's page tells what people need
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    if own_server():
        environment["PREFECT_API_AUTH_STRING"] = engine_credential(home)
        environment["PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED"] = "false"  # it is the same installation
        environment.setdefault("PREFECT_API_SSL_CERT_FILE", str(_one_certificate(home)))
    return environment


def _one_certificate(home: Path) -> Path:
    """A certificate file that is quickly read, for a connection without TLS: Prefect reads it for each of its clients.

    All public ones, its default, take 60 ms of processor each time, five times in each run.
    """
    path = home / "prefect" / "one-certificate.pem"
    if not path.exists() or not path.stat().st_size:  # empty: the machine died before it was on the disk
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        first, end, _ = import_module("certifi").contents().partition("-----END CERTIFICATE-----\n")
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        draft.write_text(first + end)
        draft.replace(path)
    return path


def _free_port(home: Path) -> int:
    wanted = [0]  # the port of the last start comes first, so that links in old messages stay good
    with contextlib.suppress(OSError, ValueError):
        wanted.insert(0, server_port(home))
    for port in wanted:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise EngineUnreachable("Expected one free TCP port on 127.0.0.1, found none.")


def start_server(home: Path, *, port: int | None = None) -> Child:
    """Start this home's server (on `port` again after a crash). Returns at once; `wait_healthy` waits."""
    (home / "prefect").mkdir(parents=True, exist_ok=True, mode=0o700)
    port = port or _free_port(home)
    draft = home / "prefect" / ".port"
    draft.write_text(str(port))
    draft.replace(home / "prefect" / "port")
    environment = engine_environment(home) | {
        "PYTHONPATH": os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH")))),
        "PREFECT_SERVER_API_AUTH_STRING": engine_credential(home),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",  # seconds; what a killed server forgets
        "PREFECT_CLI_PROMPT": "false",
    }
    words = ("server", "start", "--host", "127.0.0.1", "--port", str(port))
    argv = [sys.executable, "-m", "flows.doors.engine_process", *words]
    return start_child("server", argv, env=environment, log=home / "logs" / "server.log", cwd=home)


def wait_healthy(
    home: Path,
    server: Child | None = None,
    *,
    timeout_seconds: float = START_TIMEOUT_SECONDS,
    give_up: Callable[[], bool] = lambda: False,
) -> None:
    """Until the API answers, or `give_up` says yes. A server of ours that ends meanwhile is an error at once."""
    url, deadline, found = engine_url(home), time.monotonic() + timeout_seconds, ""
    while time.monotonic() < deadline:
        if give_up():
            return
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except (OSError, ValueError) as error:
            found = str(error)
        if server is not None and not server.running():
            last = server.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise EngineUnreachable(f"The Prefect server ended while starting ({''.join(last)}); see {server.log}.")
        time.sleep(0.1)
    whose = (
        "" if own_server() else " PREFECT_API_URL names it, so quell starts none of its own: start it, or unset that."
    )
    raise EngineUnreachable(f"Expected {url}/health to answer within {timeout_seconds:.0f} s, found: {found}.{whose}")


class EngineCalls:
    """The few REST calls that need no Prefect import (2 s and 80 MB): used by `up` and by quick commands."""

    def __init__(self, home: Path, *, busy_retries: int = BUSY_RETRIES) -> None:
        self._retries = busy_retries
        environment = engine_environment(home)
        self.url = environment["PREFECT_API_URL"]
        self._headers = {"Content-Type": "application/json"}
        if key := environment.get("PREFECT_API_KEY"):
            self._headers["Authorization"] = f"Bearer {key}"
        elif auth := environment.get("PREFECT_API_AUTH_STRING"):
            self._headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
        client = str(uuid4())
        with contextlib.suppress(EngineUnreachable):  # 404 or 422: this server has no CSRF protection
            token = self.call("GET", f"/csrf-token?client={client}")["token"]
            self._headers |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}

    def call(self, method: str, path: str, body: Any = None, *, missing: Any = ...) -> Any:
        """One call; the answer's JSON. `missing` is returned for 404 when given. Busy answers (503) are retried."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=self._headers, method=method)  # noqa: S310
        for attempt in range(self._retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_SECONDS) as answer:  # noqa: S310
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                with error:  # it holds a connection
                    detail = error.read()[:300].decode(errors="replace")
                if error.code == 404 and missing is not ...:
                    return missing
                if error.code != 503 or attempt == self._retries:
                    raise EngineUnreachable(f"{method} {path}: Prefect answered {error.code}: {detail}") from None
            except OSError as error:  # a change whose answer was lost may have happened: it is not sent twice
                unsent = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
                if attempt == self._retries or not (unsent or method == "GET"):
                    raise EngineUnreachable(f"{method} {self.url}{path}: no answer ({error}).") from None
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable")
