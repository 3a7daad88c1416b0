"""A bundle made to fill memory: what is wrong with it is told a hundred times, and no list is built from its claims."""

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runbooks.domain import bundle
from runbooks.domain.audit import MOST_OF_A_KIND, fault, few
from runbooks.domain.errors import EvidenceError
from tasks import bag
from tasks.bag import open_bag
from tests.contracts.bundle.conftest import Case
from tests.contracts.bundle.ground import Files, judged

LINES = 300_000
CEILING = 48 << 20


def _peak(work: Callable[[], None]) -> int:
    """Bytes of Python's that it took at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _both(files: Files, line: bytes, count: int) -> Files:
    return {**files, bundle.ENTRIES: line * count, bundle.PROOFS: line * count}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda files: {**files, "manifest-sha256.txt": b"x\n" * LINES},
        lambda files: {**files, "tagmanifest-sha256.txt": b"x\n" * LINES},
        lambda files: {**files, "manifest-sha256.txt": b"0" * 64 + b"  data/x\n" + b"\n" * (bundle.MOST_LINES * 16)},
        lambda files: _both(files, b"{}\n", LINES),
        lambda files: _both(files, b"\n", bundle.MOST_LINES * 16),
    ],
    ids=["payload lines", "tag lines", "empty lines", "entries", "empty entries"],
)  # fmt: skip
def test_bad_lines_without_number_are_told_a_hundred_times(case: Case, spoil: Callable[[Files], Files]) -> None:
    files = spoil(case.files)

    def judge() -> None:
        audit = judged(files, case.key)
        assert not audit.sound
        assert len(audit.findings) < 6 * MOST_OF_A_KIND

    assert _peak(judge) < CEILING + 2 * max(map(len, files.values()))


def test_the_hundred_and_first_finding_says_so_and_no_more_are_made() -> None:
    made = []

    def findings(count: int):  # type: ignore[no-untyped-def]
        for number in range(count):
            made.append(number)
            yield fault("a file", f"line {number}", "it was changed.")

    assert [one.what for one in few(findings(100))] == [f"line {number}" for number in range(100)]
    made.clear()
    told = few(findings(10**9))
    assert (len(told), len(made)) == (101, 101)
    assert "and so on" in told[-1].what


def _many_members(file: Path, count: int) -> Path:
    """One member, listed so many times; the end record claims one."""
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a", b"")
    data = file.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    directory = data[start:end] * count
    tail = data[end : end + 12] + struct.pack("<L", len(directory)) + data[end + 16 :]
    file.write_bytes(data[:start] + directory + tail)
    return file


def test_members_without_number_are_refused_before_anything_is_made_of_them(tmp_path: Path) -> None:
    many = _many_members(tmp_path / "many.zip", 2 * bundle.MOST_FILES)

    def refuse() -> None:
        with pytest.raises(EvidenceError, match=f"more than {bundle.MOST_FILES} members"):
            open_bag(many)

    assert _peak(refuse) < 2 * many.stat().st_size + (4 << 20)


def test_a_list_of_members_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _many_members(tmp_path / "long.zip", 3000)
    with pytest.raises(EvidenceError, match="two members have one name"):
        open_bag(file)
    monkeypatch.setattr(bag, "_LARGEST_DIRECTORY", 100_000)
    with pytest.raises(EvidenceError, match="its list of members has"):
        open_bag(file)
