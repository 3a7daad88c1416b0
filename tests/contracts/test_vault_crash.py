"""Whoever dies while sealing leaves nothing that anybody could read, at whichever step; whoever seals is left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.stores import open_vault
from tests.contracts.stores.buckets import S3
from tests.contracts.stores.vaults import seal
from tests.house.tree import ROOT

SEAL_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from tasks.stores import _keys, open_vault
from tasks.stores.disk import DiskShelf
from tests.contracts.stores.vaults import seal
place, moment = Path(sys.argv[1]), sys.argv[2]
keep, sync, kept = DiskShelf.keep, _keys.sync_directory, []
def die(now):
    if now == moment:
        print("here", flush=True)
        time.sleep(60)
def keeping(shelf, draft):
    die(("pack", "leaves")[len(kept)])
    keep(shelf, draft)
    kept.append(draft)
def syncing(directory):
    die("named")
    sync(directory)
DiskShelf.keep, _keys.sync_directory = keeping, syncing
seal(open_vault(str(place / "vault"), place / "keys"), [b"a person's words"])
"""


def _age(folder: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, (time.time() - 100_000,) * 2)


@pytest.mark.parametrize("moment", ["pack", "leaves", "named"])
def test_the_keys_of_a_killed_sealing_are_gone_after_a_day(tmp_path: Path, moment: str) -> None:
    vault, keys = open_vault(str(tmp_path / "vault"), tmp_path / "keys"), tmp_path / "keys"
    kept = seal(vault, [b"sealed before"]).collection
    with subprocess.Popen(
        [sys.executable, "-c", SEAL_UNTIL_KILLED, str(tmp_path), moment], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        _age(keys)
        open_vault(str(tmp_path / "vault"), keys)
        assert len(list(keys.iterdir())) == 2, "whoever seals still holds them"
        process.send_signal(signal.SIGKILL)
    again = open_vault(str(tmp_path / "vault"), keys)
    left = {file.name for file in keys.iterdir()} - {f"{kept.id}.json"}
    if moment == "named":  # everything stood; only the entry was missing
        assert [name.rpartition(".")[2] for name in left] == ["json"]
    else:
        assert left == set()
    assert [item for _, item in again.items(kept)] == [b"sealed before"]


def test_keys_that_are_being_used_or_are_young_are_left_alone(tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        yield b"first"
        _age(tmp_path / "keys")
        open_vault(str(tmp_path / "vault"), tmp_path / "keys")
        yield b"second"

    vault = open_vault(str(tmp_path / "vault"), tmp_path / "keys")
    collection = seal(vault, source()).collection
    assert [item for _, item in vault.items(collection)] == [b"first", b"second"]
    (tmp_path / "keys" / ("COL-" + "0" * 24 + ".sealing")).write_bytes(b"{}")
    open_vault(str(tmp_path / "vault"), tmp_path / "keys")
    assert len(list((tmp_path / "keys").iterdir())) == 2


def test_drafts_of_a_vault_in_a_bucket_are_cleared_too(server: S3, location: str, tmp_path: Path) -> None:
    drafts = tmp_path / "s3" / "drafts"
    drafts.mkdir(parents=True)
    for name in ("old", "young"):
        (drafts / f".draft-{name}").write_bytes(b"half")
    os.utime(drafts / ".draft-old", (time.time() - 100_000,) * 2)
    open_vault(location, tmp_path / "keys", server.settings(), server.secret)
    assert [file.name for file in drafts.iterdir()] == [".draft-young"]
