"""JSON that was made to do harm, anywhere in a bundle, is a finding of all three readers and an exception of none."""

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

import tasks.replay
from flows.doors.cli import main
from runbooks.domain import bundle
from runbooks.domain.checkpoint import VerifierKey
from runbooks.domain.errors import EvidenceError
from tasks.bag import open_bag
from tasks.replay import replay_bundle
from tasks.verification import verify_bundle
from tasks.verifier import verify
from tests.contracts.bundle.forger import (
    HOSTILE,
    KEY,
    forged_entries,
    forged_objects,
    ledger_lines,
    replaced_files,
    written_anew,
)
from tests.contracts.bundle.ground import Files, MemoryBag, lines, store, with_digests
from tests.contracts.bundle.keep import KEPT

EVERY = int(os.environ.get("HOSTILE_EVERY", "211"))
"""One in so many of all values in all places of entries and objects; there are 10,000."""
GIVEN = json.loads((KEPT / "bundle-3.json").read_text())


@pytest.fixture(scope="module")
def kept() -> Files:
    """A bundle with everything in it: anchors, time-stamps, a rotated key."""
    with zipfile.ZipFile(KEPT / "bundle-3.zip") as packed:
        return {name: packed.read(name) for name in packed.namelist() if not name.endswith("/")}


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Files, str], tuple[bool, bool, bool]]:
    """What quell verify, quell replay and verify.py make of it: whether it holds."""

    def judged(files: Files, key: str) -> tuple[bool, bool, bool]:
        monkeypatch.setattr(tasks.replay, "open_bag", lambda _: MemoryBag(files))
        replayed = replay_bundle(tmp_path, VerifierKey.read(key)).audit
        verified = verify_bundle(MemoryBag(files), VerifierKey.read(key)).audit()
        assert all(one.means for one in replayed.findings)
        return verified.sound, replayed.sound, not verify(store(files, tmp_path / "b"), key)

    return judged


def _first(name: str, line: bytes) -> Callable[[Files], Files]:
    return lambda files: with_digests({**files, name: line + b"\n" + b"".join(lines(files, name)[1:])})


SEEN = {
    "a deep proof": _first(bundle.PROOFS, b"[" * 60_000),
    "a deep proof of the house": _first(bundle.HOUSE_PROOFS, b"[" * 60_000),
    "a deep entry": _first(bundle.ENTRIES, b"[" * 60_000),
    "a deep path between heads": _first(bundle.CONSISTENCY, b"[" * 60_000),
    "an endless size": _first(bundle.CONSISTENCY, b'{"path":[],"size":1e999}'),
    "a size that is none": _first(bundle.CONSISTENCY, b'{"path":[],"size":NaN}'),
    "an endless index": _first(bundle.PROOFS, b'{"index":1e999,"path":[]}'),
    "a negative index": _first(bundle.PROOFS, b'{"index":-1,"path":[]}'),
    "a long index": _first(bundle.PROOFS, b'{"index":' + b"9" * 5000 + b',"path":[]}'),
    "a path of numbers": _first(bundle.PROOFS, b'{"index":1,"path":[1]}'),
    "a list for a proof": _first(bundle.PROOFS, b"[]"),
    "a list for a path between heads": _first(bundle.CONSISTENCY, b"[1]"),
}
"""What made a reader fall over, or nearly."""


@pytest.mark.parametrize("spoil", SEEN.values(), ids=SEEN)
def test_what_was_seen_to_fell_a_reader(
    kept: Files, judge: Callable[[Files, str], tuple[bool, bool, bool]], spoil: Callable[[Files], Files]
) -> None:
    assert judge(spoil(kept), GIVEN["key"]) == (False, False, False)


@pytest.mark.parametrize("words", HOSTILE)
def test_each_file_of_json_as_something_else(
    kept: Files, judge: Callable[[Files, str], tuple[bool, bool, bool]], words: str
) -> None:
    """A third of the files for each value, so that each file meets a third of the values."""
    some = [(what, files) for what, files in replaced_files(kept) if what.endswith(f": {words}")]
    assert len(some) > 15
    for what, files in islice(some, list(HOSTILE).index(words) % 3, None, 3):
        assert judge(files, GIVEN["key"]) == (False, False, False), what


@pytest.mark.parametrize("forged", [forged_entries, forged_objects])
def test_a_log_that_was_written_around_it_and_signed(
    kept: Files,
    judge: Callable[[Files, str], tuple[bool, bool, bool]],
    forged: Callable[[Files], Iterator[tuple[str, Files]]],
) -> None:
    """The operator is hostile: what no writer of quell's writes is proven by a log, and that log's key is the trusted one."""
    seen = 0
    for what, files in islice(forged(kept), 7, None, EVERY):
        verified, replayed, _ = judge(files, KEY.verifier.line())
        assert not verified, what
        assert not replayed, what
        seen += 1
    assert seen > 10


def test_the_forger_knows_how_to_write_a_log(kept: Files) -> None:
    """Else the test above would see nothing but a log that does not prove its entries."""
    reading = verify_bundle(MemoryBag(written_anew(kept, ledger_lines(kept))), KEY.verifier)
    assert reading.head is not None
    assert len(reading.entries) == len(lines(kept, bundle.ENTRIES))
    assert len(reading.house) == len(lines(kept, bundle.HOUSE_ENTRIES))


@pytest.mark.parametrize("command", ["verify", "replay"])
@pytest.mark.parametrize("what", ["a deep proof", "an endless size"])
def test_the_command_says_that_it_does_not_hold(
    kept: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    what: str,
) -> None:
    monkeypatch.setenv("QUELL_HOME", str(tmp_path / "home"))
    place = store(SEEN[what](kept), tmp_path / "b")
    assert main([command, str(place), "--key", GIVEN["key"], "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert any(
        one["weight"] == "fault" and one["where"].startswith(("data/ledger", "data/anchors"))
        for one in said["findings"]
    )


def test_a_name_that_is_no_text_is_refused(kept: Files, tmp_path: Path) -> None:
    place = store(kept, tmp_path / "b")
    (place / "data" / os.fsdecode(b"\xff")).write_bytes(b"x")
    with pytest.raises(EvidenceError, match="is no name of a file"):
        verify_bundle(open_bag(place), VerifierKey.read(GIVEN["key"]))


def test_a_zip_file_that_is_damaged_inside_is_refused(tmp_path: Path) -> None:
    data = bytearray((KEPT / "bundle-3.zip").read_bytes())
    data[data.index(b"PK\x03\x04") + 30 + 20] ^= 1  # in the first member's content or name
    data[data.rindex(b"PK\x01\x02") + 8] |= 1  # the last member claims to be encrypted
    file = tmp_path / "b.zip"
    file.write_bytes(data)
    with pytest.raises(EvidenceError, match="cannot be read"):
        verify_bundle(open_bag(file), VerifierKey.read(GIVEN["key"]))
