"""How fast evidence is sealed, recorded, exported and verified, beside what this machine could do at most in the same run.

10,000 spans of 10 KB: OTLP JSON with the prompts and answers of an agent, as the collectors hand them over. Times are
medians in seconds; `ratio` is our time over the limit's.
"""

import hashlib
import io
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import zstandard

from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.value import Json
from tasks.stores import open_ledger, open_vault
from tasks.stores._vault import PACK
from tasks.stores.base import SourceFacts, Vault
from tests.bench_memory import OURS, SCRIPT, in_a_process
from tests.bench_spans import spans
from tests.contracts.stores.buckets import S3
from tests.contracts.stores.ceph import running_ceph
from tests.contracts.stores.vaults import NOW, seal
from tests.contracts.stores.writer import a_draft

T = TypeVar("T")
RUNS = 5
ALONE = 400
"""Objects of one span each that are stored to measure that way; the time is scaled to all spans."""
APPENDS = 3_000


def measured(work: Callable[[], object], runs: int = RUNS) -> dict[str, float]:
    """Seconds of the middle run and of the best, and of processor time, after one run that warms up.

    On a machine that others use too, processor time says more than the clock.
    """
    work()
    took, cpu = [], []
    for _ in range(runs):
        began, spent = time.perf_counter(), time.process_time()
        work()
        took.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
    return {
        "s": round(statistics.median(took), 3),
        "best_s": round(min(took), 3),
        "cpu_s": round(statistics.median(cpu), 3),
    }


def once(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of a single run, and what came of it."""
    began = time.perf_counter()
    found = work()
    return round(time.perf_counter() - began, 4), found


def sealing() -> dict[str, Json]:
    """Spans into packs on disk and in a bucket that locks and is read back; one object per span; the limits of both."""
    items = spans()
    whole = b"".join(items)
    with tempfile.TemporaryDirectory(prefix="quell-bench-") as folder, running_ceph() as server:
        place = Path(folder)
        disk = open_vault(str(place / "vault"), place / "keys")
        bucket = open_vault(server.new_bucket(), place / "far" / "keys", server.settings(), server.secret)
        stored = sum(pack.length for pack in seal(disk, items).collection.packs)
        limits = _limits(whole, stored, place, server)
        found: dict[str, Json] = {
            "goal_s": 1.5, "spans": len(items), "bytes": len(whole), "stored_bytes": stored,
            "smaller_by": round(len(whole) / stored, 1), "disk": measured(lambda: seal(disk, items)),
            "bucket": measured(lambda: seal(bucket, items)),
            "disk_one_object_per_span_s": _alone(disk, items, 1),
            "bucket_one_object_per_span_s": _alone(bucket, items, 8),
            "one_object_per_span": f"measured on {ALONE}, scaled",
            "limits": limits,
        }  # fmt: skip
        made = max(limits["sha256"]["s"], limits["zstd3_one_thread"]["s"] / 2)
        found["disk_ratio"] = round(found["disk"]["s"] / (made + limits["write_fsync"]["s"]), 1)
        found["bucket_ratio"] = round(found["bucket"]["s"] / (made + limits["put"]["s"] + limits["get"]["s"]), 1)
        found["ratio"] = (
            "over the larger of SHA-256 and zstd on two threads, and then storing (a bucket: and reading back)"
        )
    return found


def _alone(vault: Vault, items: list[bytes], threads: int) -> float:
    with ThreadPoolExecutor(threads) as pool:
        took, _ = once(lambda: list(pool.map(vault.put, items[:ALONE])))
    return round(took * len(items) / ALONE, 1)


def _limits(whole: bytes, stored: int, place: Path, server: S3) -> dict[str, dict[str, float]]:
    frames = [whole[start : start + (1 << 20)] for start in range(0, len(whole), 1 << 20)]
    packs = [os.urandom(min(PACK, stored - start)) for start in range(0, stored, PACK)]
    bucket = server.new_bucket().removeprefix("s3://").partition("/")[0]

    def write() -> None:
        with (place / "limit").open("wb") as file:
            for pack in packs:
                file.write(pack)
            file.flush()
            os.fsync(file.fileno())

    def put() -> None:
        for number, pack in enumerate(packs):
            server.client.put_object(Bucket=bucket, Key=str(number), Body=io.BytesIO(pack))

    def get() -> None:
        for number in range(len(packs)):
            server.client.get_object(Bucket=bucket, Key=str(number))["Body"].read()

    compressor = zstandard.ZstdCompressor(level=3)
    return {
        "sha256": measured(lambda: hashlib.sha256(whole).digest()),
        "zstd3_one_thread": measured(lambda: [compressor.compress(frame) for frame in frames]),
        "write_fsync": measured(write), "put": measured(put), "get": measured(get),
    }  # fmt: skip


def _append_ours(url: str, me: int, count: int) -> None:
    store = open_ledger(url)
    for number in range(count):
        store.append(a_draft(f"w{me}/{number}", f"INC-000{me}"), NOW)


def _append_bare(url: str, me: int, count: int) -> None:
    line = sqlite3.connect(url, isolation_level=None, timeout=60)
    line.execute("PRAGMA journal_mode=WAL")
    line.execute("PRAGMA synchronous=FULL")
    core = os.urandom(400)
    for number in range(count):
        line.execute("BEGIN IMMEDIATE")
        line.execute("INSERT INTO bare (key, core, leaf) VALUES (?, ?, ?)", (f"w{me}/{number}", core, core[:32]))
        line.execute("COMMIT")
    line.close()


def ledger() -> dict[str, Json]:
    """Appends per second by one and four processes, beside bare one-row commits with WAL and synchronous=FULL."""
    found: dict[str, Json] = {"goal_ratio": 0.5}
    for processes in (1, 4):
        ours, bare = [], []
        for _ in range(RUNS):  # by turns, so that what disturbs one disturbs the other
            with tempfile.TemporaryDirectory(prefix="quell-bench-") as folder:
                url, file = f"sqlite:///{folder}/ledger.db", f"{folder}/bare.db"
                open_ledger(url)
                with sqlite3.connect(file) as line:
                    line.execute(
                        "CREATE TABLE bare (number INTEGER PRIMARY KEY, key TEXT UNIQUE, core BLOB, leaf BLOB)"
                    )
                line.close()
                ours.append(_rate(_append_ours, url, processes))
                bare.append(_rate(_append_bare, file, processes))
        mine, limit = statistics.median(ours), statistics.median(bare)
        found[f"by_{processes}"] = {
            "appends_per_s": round(mine),
            "bare_per_s": round(limit),
            "ratio": round(mine / limit, 2),
        }
    return found


def _rate(append: Callable[[str, int, int], None], url: str, processes: int) -> float:
    context = get_context("spawn")
    line, count = context.Barrier(processes + 1), APPENDS // processes
    children = [context.Process(target=_started, args=(append, url, me, count, line)) for me in range(processes)]
    for child in children:
        child.start()
    line.wait(120)
    took, _ = once(lambda: line.wait(120))
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise RuntimeError("a writing process failed")
    return count * processes / took


def _started(append: Callable[[str, int, int], None], url: str, me: int, count: int, line: Any) -> None:
    append(url, me + 100, 3)  # warms up
    line.wait(120)
    append(url, me, count)
    line.wait(120)


def bundle() -> dict[str, Json]:
    """Export and verification of an incident with those spans."""
    from runbooks.domain.checkpoint import VerifierKey
    from runbooks.domain.incident import Archetype, Report
    from tasks.bag import open_bag
    from tasks.bundle import export
    from tasks.evidence import _store, seal_evidence
    from tasks.incident import open_incident
    from tasks.ledger import INSTALLATION, clock
    from tasks.sealing_turn import Turn
    from tasks.verification import verify_bundle
    from tests.steps.desk import a_desk, make_people

    with tempfile.TemporaryDirectory(prefix="quell-bench-") as folder:
        place = Path(folder)
        (place / "people").mkdir()
        silent: Any = SimpleNamespace(readouterr=lambda: SimpleNamespace(out="", err=""))
        with a_desk(place / "home", make_people(place / "people"), silent) as desk:
            home = desk.installation
            home.activate_if_fresh()
            report = Report(system="helper", what_happened="bench", reporter="bench", lead="ana", noticed_at=clock())
            incident = open_incident(
                home, report, Archetype.PROMPT_INJECTION, drill=True, opener=INSTALLATION, material=b"bench"
            )
            _store(
                Turn(home, home.pen(INSTALLATION), incident.id, final=True),
                incident,
                EvidenceClass.A,
                "spans",
                "application/json",
                spans(),
                SourceFacts(),
            )
            seal_evidence.fn(incident.id)
            numbers = iter(range(100))
            exporting = measured(lambda: export(home, incident.id, place / f"bundle-{next(numbers)}", None), 3)
            done = export(home, incident.id, place / "bundle", None)
            key = VerifierKey.read(done.key)
            verifying = measured(lambda: verify_bundle(open_bag(place / "bundle"), key), 3)
            script, says = once(lambda: in_a_process(SCRIPT, place / "bundle", done.key))
            _, ours = once(lambda: in_a_process(OURS, place / "bundle", done.key))
            audit = verify_bundle(open_bag(place / "bundle"), key).audit()
        return {
            "export": exporting, "export_goal_s": 3, "verify": verifying, "verify_goal_s": 1,
            "verify_py_with_start_s": script, "verify_py": says, "verify_in_a_process": ours,
            "verify_goal_mib": 150, "bytes": done.octets, "files": done.files, "items": done.seal.items,
            "findings": [one.line() for one in audit.findings],
            "sha256_of_the_bundle": measured(lambda: [
                hashlib.sha256(file.read_bytes()).digest() for file in (place / "bundle").rglob("*") if file.is_file()
            ], 3),
        }  # fmt: skip


MEASUREMENTS: dict[str, Callable[[], dict[str, Json]]] = {
    "sealing": sealing, "ledger": ledger, "bundle": bundle,
}  # fmt: skip
