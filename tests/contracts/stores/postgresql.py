"""A PostgreSQL server of the tests' own: in a temporary folder, on a Unix socket, gone afterwards.

PostgreSQL refuses to run as root; then it runs as the distribution's `postgres`, or as `nobody`.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text


def _program(name: str) -> str:
    asked = shutil.which("pg_config")
    places = [subprocess.check_output([asked, "--bindir"], text=True).strip()] if asked else []
    newest_first = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True
    )
    for place in [*places, *map(str, newest_first), *os.environ["PATH"].split(os.pathsep)]:
        if os.access(Path(place) / name, os.X_OK):
            return str(Path(place) / name)
    raise FileNotFoundError(f"{name} of PostgreSQL is not installed; `make test` says what it needs")


def _servant() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _run(*command: str) -> None:
    servant = _servant()
    account = None if servant is None else pwd.getpwnam(servant)
    done = subprocess.run(
        command, check=False, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=180, user=servant, group=account and account.pw_gid, extra_groups=[] if account else None,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout}"


class Cluster:
    """The server; every test gets a database of its own."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._count = 0

    def start(self) -> None:
        _run(
            _program("pg_ctl"), "start", "--wait", "--timeout=120", "--silent", f"--pgdata={self._place}/data", f"--log={self._place}/log",
            f"--options=-c listen_addresses='' -k {self._place} -c max_connections=60",
        )  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        _run(_program("pg_ctl"), "stop", "--wait", "--silent", f"--mode={mode}", f"--pgdata={self._place}/data")

    def url(self, database: str) -> str:
        return f"postgresql://quell@/{database}?host={self._place}"

    def new_database(self) -> str:
        """URL of an empty database."""
        self._count += 1
        self.execute(f"CREATE DATABASE t{self._count}")
        return self.url(f"t{self._count}")

    def execute(self, statement: str) -> None:
        """As the server's administrator."""
        engine = create_engine(
            self.url("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
        )
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A fresh server; stopped and removed at the end."""
    place = Path(tempfile.mkdtemp(prefix="quell-pg-", dir="/tmp"))
    try:
        servant = _servant()
        if servant is not None:
            shutil.chown(place, servant)
        _run(
            _program("initdb"),
            "--auth=trust",
            "--username=quell",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            f"{place}/data",
        )
        cluster = Cluster(place)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop("immediate")
    finally:
        shutil.rmtree(place, ignore_errors=True)
