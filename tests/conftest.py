"""What every test may rely on: its own empty world, no accidental Prefect server, and no way out of this machine.

1. The caller's own settings (Prefect, quell, cloud, proxies) do not reach a test; homes are fresh temporary folders, one per process.
2. A Prefect call that finds no server fails at once instead of starting one; tests marked `engine` start their own.
3. What a test, or a command that it runs in this process, puts into the environment ends with its file.
4. A connection or look-up beyond loopback is refused, and the test that tried fails even if the code swallowed the refusal.
   (Not seen: what a child process does, and what a C library does by itself, as gRPC and uvloop do.)
5. Tests with a Prefect server go in two lanes, each in its own order: an installation that is up waits as much as it works.
6. What attacks were seen to do ends the run as a table, in whichever process they were performed.
"""

import atexit
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.attacks.rows import ROW, table

settings.register_profile("quell", deadline=None)  # a busy machine is no finding: speed goes into the bench
settings.load_profile("quell")

FOREIGN = ("PREFECT_", "QUELL_", "AWS_", "OTEL_", "SCHEMATHESIS_")
KEPT = {"QUELL_SCREENSHOTS"}  # where the browser's tests leave their pictures
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
HOME_NAMES = {"localhost", "localhost.localdomain", "", "0.0.0.0", "::"}  # noqa: S104  compared with, never listened on


def _own_world() -> None:
    for name in [name for name in os.environ if (name.startswith(FOREIGN) and name not in KEPT) or name in PROXIES]:
        del os.environ[name]
    world = Path(tempfile.mkdtemp(prefix="quell-tests-"))
    atexit.register(shutil.rmtree, world, ignore_errors=True)
    os.environ |= {
        "PREFECT_HOME": str(world / "prefect"),
        "PREFECT_PROFILES_PATH": str(world / "prefect" / "profiles.toml"),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
        "QUELL_HOME": str(world / "quell"),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "*",
    }


_own_world()  # before any test module imports Prefect, which reads all this once


class OutsideCallError(ConnectionError):
    """A test tried to leave this machine."""


_outside: list[str] = []


def _at_home(host: object) -> bool:
    if host is None:
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name in HOME_NAMES or name == _HOSTNAME
    return address.is_loopback or address.is_unspecified


def _guard(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host: object = args[0]
    elif event == "socket.gethostbyname":
        host = args[0]
    elif event in {"socket.connect", "socket.sendto"} and isinstance(args[1], tuple):
        host = args[1][0]
    else:  # another event, or a Unix socket
        return
    if not _at_home(host):
        _outside.append(f"{event} {host}")
        raise OutsideCallError(
            f"a test may reach only this machine's loopback; it tried {event} {host!r}. Give it a far side of its own."
        )


_HOSTNAME = socket.gethostname()
sys.addaudithook(_guard)


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # of a library without types
    """Whole responses; everything else that is up."""

    def _split_scope(self, nodeid: str) -> str:
        return "responses" if nodeid.startswith("tests/flows/") else "doors"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """`--dist loadscope` is the lanes; marks for `loadgroup` are lost between pytest 9.2 and pytest-xdist 3.8."""
    return Lanes(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Attack, expected, seen."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.stats.get(kind, [])]
    rows = [str(told) for one in reports for name, told in getattr(one, "user_properties", ()) if name == ROW]
    if rows:
        terminalreporter.section("attacks on a running installation")
        terminalreporter.write_line(table(dict.fromkeys(rows)))


@pytest.fixture(scope="module", autouse=True)
def environment_as_before() -> Iterator[None]:
    """Commands of quell tell this process which Prefect server is theirs; the next file's `up` must not take it for its own."""
    before = dict(os.environ)
    yield
    if os.environ == before:
        return
    os.environ.clear()
    os.environ.update(before)
    if "prefect" in sys.modules:
        import_module("prefect.context").refresh_global_settings_context()


@pytest.fixture(autouse=True)
def outside_calls() -> Iterator[list[str]]:
    """Attempts to leave this machine; a test that means to see one refused clears the list afterwards."""
    _outside.clear()
    yield _outside
    assert not _outside, f"tried to leave this machine: {_outside}"
