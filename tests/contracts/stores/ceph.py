"""A real S3 server that enforces locks: Ceph's object gateway, over one monitor and one store in memory.

All of it in a temporary folder, on loopback, without authentication between its parts; gone afterwards.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contracts.stores.buckets import S3

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
START_SECONDS = 60
_KEYS = ("practice", "practice-secret")


def _settings(place: Path, name: str, monitor: int, memory: int) -> str:
    return f"""[global]
fsid = {name}
mon host = v1:127.0.0.1:{monitor}
public addr = 127.0.0.1
ms bind msgr2 = false
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = {place}
admin socket =
log file =
log to stderr = true
err to stderr = true
log to file = false
crash dir = {place}
mon data = {place}/mon
mon allow pool size one = true
mon warn on pool no redundancy = false
mon cluster log file = /dev/null
mon data avail warn = 1
mon data avail crit = 1
mon osd full ratio = .99
mon max pg per osd = 1000
mgr initial modules =
osd data = {place}/osd
osd objectstore = memstore
memstore device bytes = {memory}
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd max object name len = 256
osd class load list = *
osd class default list = *
rgw enable apis = s3
rgw data log num shards = 1
rgw enable usage log = false
rgw enable ops log = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
rgw cache enabled = true
"""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class _Cluster:
    def __init__(self, place: Path, memory: int) -> None:
        self._place = place
        self._running: list[subprocess.Popen[bytes]] = []
        self._name, self._monitor = str(uuid.uuid4()), _free_port()
        (place / "ceph.conf").write_text(_settings(place, self._name, self._monitor, memory))

    def run(self, *command: str) -> str:
        """A program to its end. One that asks the monitor too early is refused ("wrong fsid"), and asks again."""
        for _ in range(10):
            try:
                done = self._run(*command)
            except subprocess.TimeoutExpired as error:
                raise AssertionError(f"{' '.join(command)} did not end: {self._logs()}") from error
            if done.returncode == 0:
                return done.stdout
            time.sleep(0.2)
        raise AssertionError(f"{' '.join(command)} failed: {done.stdout[-2000:]}")

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command[0], "-c", f"{self._place}/ceph.conf", *command[1:]], check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=START_SECONDS, cwd=self._place,
        )  # fmt: skip

    def _logs(self) -> str:
        ends = [f"{one.args!r}: {one.poll()}" for one in self._running]
        return "\n".join([*ends, *(f"{log.name}: {log.read_text()[-1500:]}" for log in self._place.glob("*.log"))])

    def serve(self, *command: str) -> subprocess.Popen[bytes]:
        """A program that stays; on Linux it ends with this process, however that ends."""
        leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self._place / f"{command[0]}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    [*leash, command[0], "-f", "-c", f"{self._place}/ceph.conf", *command[1:]],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._place,
                )
            )  # fmt: skip
        return self._running[-1]

    def _serve_store(self) -> None:
        """It gives up when it asks the monitor too early ("wrong fsid"), so it is started until it serves."""
        for _ in range(10):
            store = self.serve("ceph-osd", "-i", "0")
            until = time.monotonic() + START_SECONDS
            while store.poll() is None and time.monotonic() < until:
                if "starting boot process" in (self._place / "ceph-osd.log").read_text(errors="replace"):
                    return
                time.sleep(0.05)
            self._running.remove(store)
            store.kill()
            store.wait(20)
        raise AssertionError(f"the store does not start: {self._logs()}")

    def start(self) -> str:
        """The address of a gateway that answers."""
        place = self._place
        (place / "mon").mkdir()
        (place / "osd").mkdir()
        self.run(
            "monmaptool", "--create", "--clobber", "--addv", "a", f"[v1:127.0.0.1:{self._monitor}]", f"{place}/monmap"
        )
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{place}/monmap")
        self.serve("ceph-mon", "-i", "a")
        name = str(uuid.uuid4())
        self.run("ceph", "--connect-timeout", "60", "osd", "new", name)
        self.run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", name)
        self._serve_store()
        port = _free_port()
        self.run(
            "radosgw-admin", "user", "create", "--uid=practice", "--display-name=practice", f"--access-key={_KEYS[0]}",
            f"--secret-key={_KEYS[1]}",
        )  # fmt: skip
        self.serve("radosgw", "-n", "client.rgw", "--rgw-frontends", f"beast endpoint=127.0.0.1:{port}")
        url = f"http://127.0.0.1:{port}"
        self._wait(lambda: _answers(url))
        return url

    def _wait(self, good: Callable[[], bool]) -> None:
        until = time.monotonic() + START_SECONDS
        while not good():
            for one in self._running:
                assert one.poll() is None, self._logs()
            assert time.monotonic() < until, f"no answer: {self._logs()}"
            time.sleep(0.05)

    def stop(self) -> None:
        for one in reversed(self._running):
            one.kill()  # nothing of it is kept
            one.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - an address of our own
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def running_ceph(memory: int = 2 << 30) -> Iterator[S3]:
    """A fresh server that may hold `memory` bytes; about a quarter of a minute to start."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise FileNotFoundError(f"{', '.join(missing)} of Ceph are not installed; `make test` says what it needs")
    place = Path(tempfile.mkdtemp(prefix="quell-ceph-", dir=os.environ.get("TMPDIR", "/tmp")))  # noqa: S108
    cluster = _Cluster(place, memory)
    try:
        server = S3(cluster.start(), *_KEYS)
        try:
            yield server
        finally:
            server.client.close()
    finally:
        cluster.stop()
        shutil.rmtree(place, ignore_errors=True)
