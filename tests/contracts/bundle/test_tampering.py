"""Whatever is changed in a bundle is found, by quell and by the small verifier, and the finding says what it means."""

import json
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runbooks.domain import bundle
from runbooks.domain.errors import EvidenceError
from runbooks.domain.value import canonical, digest_of
from tasks.bag import check_bag, open_bag
from tasks.verifier import verify
from tests.contracts.bundle.conftest import Case
from tests.contracts.bundle.ground import Files, MemoryBag, entry_of, judged, lines, load, store, with_digests

EVERY = int(os.environ.get("FLIP_EVERY", "101"))
"""With digests made again, one byte in so many is flipped and the whole bundle verified; all bytes in the first test."""


def test_an_untouched_bundle_holds(case: Case, tmp_path: Path) -> None:
    audit = judged(case.files, case.key)
    assert audit.sound, audit.faults
    assert audit.checked["signatures"] == 4
    assert verify(store(case.files, tmp_path / "b"), case.key) == []


def test_every_flipped_byte_is_found_and_its_file_is_named(case: Case) -> None:
    whole = MemoryBag(case.files)
    assert check_bag(whole) == ([], len(case.files))
    for name, data in case.files.items():
        for place in range(len(data)):
            changed = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
            found, _ = check_bag(whole.with_one(name, changed))
            assert found, f"byte {place} of {name}"
            if name.startswith("data/"):
                assert any(one.where == name for one in found), f"byte {place} of {name}: {found}"
            assert all(one.means for one in found)


def test_a_flipped_byte_is_found_even_when_all_digests_are_made_again(case: Case) -> None:
    flipped = 0
    for name in sorted(case.files):
        data = case.files[name]
        if not name.startswith("data/") and name not in ("verify.py", "VERIFY.md"):
            continue
        for place in range(flipped % EVERY, len(data), EVERY):
            changed = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
            audit = judged(with_digests({**case.files, name: changed}), case.key)
            assert not audit.sound, f"byte {place} of {name}"
            flipped += 1
    assert flipped > 500


def _entries(files: Files, change: Callable[[list[bytes]], list[bytes]]) -> Files:
    """The same change to entries and to their proofs."""
    made = dict(files)
    for name in (bundle.ENTRIES, bundle.PROOFS):
        made[name] = b"".join(change(lines(files, name)))
    return made


def _edit(files: Files, kind: str, change: Callable[[dict[str, object]], None]) -> Files:
    number, entry = entry_of(files, kind)
    change(entry)
    some = lines(files, bundle.ENTRIES)
    some[number] = canonical(entry) + b"\n"
    return {**files, bundle.ENTRIES: b"".join(some)}


def _renamed(files: Files, old: str, data: bytes, new: str | None = None) -> Files:
    made = {name: content for name, content in files.items() if name != old}
    return {**made, new or old: data}


def _first(files: Files, start: str, end: str = "") -> str:
    return next(name for name in sorted(files) if name.startswith(start) and name.endswith(end))


def _swap_approvals(files: Files) -> Files:
    folders = sorted({name.rsplit("/", 1)[0] for name in files if name.startswith("data/decisions/")})
    one, two = folders[0], folders[1]
    made = dict(files)
    for name in ("statement.json", "statement.json.sig", "person"):
        made[f"{one}/{name}"], made[f"{two}/{name}"] = files[f"{two}/{name}"], files[f"{one}/{name}"]
    return made


def _forged_signature(files: Files) -> Files:
    """The answer stays, the signature is another decision's of the same person."""
    folders = sorted({name.rsplit("/", 1)[0] for name in files if name.startswith("data/decisions/")})
    return {**files, f"{folders[0]}/statement.json.sig": files[f"{folders[2]}/statement.json.sig"]}


def _edited_manifest(files: Files) -> Files:
    old = _first(files, "data/objects/manifest-")
    manifest = json.loads(files[old])
    manifest["standings"][0]["captured"] = "captured"
    data = canonical({**manifest, "drill": False})
    return _renamed(files, old, data, f"data/objects/manifest-{digest_of(data).removeprefix('sha256:')}")


def _item(files: Files, change: Callable[[bytes], bytes]) -> Files:
    name = _first(files, "data/evidence/", "items-000.bin")
    return {**files, name: change(files[name])}


def _collection_count(files: Files) -> Files:
    name = _first(files, "data/evidence/", "collection.json")
    return {**files, name: canonical({**json.loads(files[name]), "items": 2**50})}


def _without(files: Files, start: str) -> Files:
    return {name: data for name, data in files.items() if not name.startswith(start)}


TAMPERED: dict[str, Callable[[Files], Files]] = {
    "entries moved": lambda f: _entries(f, lambda some: [some[1], some[0], *some[2:]]),
    "an entry dropped in the middle": lambda f: _entries(f, lambda some: some[:4] + some[5:]),
    "the last entry dropped": lambda f: _entries(f, lambda some: some[:-1]),
    "the end cut off": lambda f: _entries(f, lambda some: some[:5]),
    "an entry doubled": lambda f: _entries(f, lambda some: [*some[:3], some[2], *some[3:]]),
    "entries cut in the middle of a line": lambda f: {**f, bundle.ENTRIES: f[bundle.ENTRIES][:-9]},
    "no entries at all": lambda f: _entries(f, lambda _: []),
    "a proof dropped": lambda f: {**f, bundle.PROOFS: b"".join(lines(f, bundle.PROOFS)[:-1])},
    "a reason edited": lambda f: _edit(f, "request_granted", lambda e: e["body"].update(because="all agreed")),  # type: ignore[attr-defined]
    "an entry's type edited": lambda f: _edit(f, "request_granted", lambda e: e.update(type="request_denied")),
    "a time edited": lambda f: _edit(f, "evidence_sealed", lambda e: e.update(at="2026-01-01T00:00:00.000000000Z")),
    "the seal's count edited": lambda f: _edit(f, "bundle_exported", lambda e: e["body"]["export"].update(count=3)),  # type: ignore[index]
    "two approvals swapped": _swap_approvals,
    "another signature under an approval": _forged_signature,
    "an approval taken out": lambda f: _without(f, _first(f, "data/decisions/").rsplit("/", 1)[0]),
    "a key added to the allowed ones": lambda f: {
        **f, (n := _first(f, "data/decisions/", "allowed_signers")): f[n] + b'eve namespaces="quell-decision" ssh-ed25519 AAAA\n'
    },
    "the manifest edited, its digest too": _edited_manifest,
    "the plan taken out": lambda f: _without(f, "data/objects/plan-"),
    "an object added": lambda f: {**f, f"data/objects/receipt-{'0' * 64}": b"{}"},
    "an item edited": lambda f: _item(f, lambda d: d[:-1] + b"!"),
    "a salt edited": lambda f: _item(f, lambda d: d[:8] + bytes(16) + d[24:]),
    "an item's length edited": lambda f: _item(f, lambda d: d[:24] + struct.pack(">I", 2**32 - 1) + d[28:]),
    "an item's index edited": lambda f: _item(f, lambda d: struct.pack(">Q", 2**63) + d[8:]),
    "an item twice": lambda f: _item(f, lambda d: d + d),
    "items cut": lambda f: _item(f, lambda d: d[:-3]),
    "leaves edited": lambda f: {**f, (n := next(n for n in sorted(f) if n.endswith("leaves.bin") and f[n])): bytes(len(f[n]))},
    "a huge count": _collection_count,
    "a collection's items taken out": lambda f: _without(f, _first(f, "data/evidence/", "items-000.bin")),
    "items said to be withheld": lambda f: {
        **f, "bag-info.txt": f["bag-info.txt"] + b"Withheld: class A (prompts and responses): 3 items withheld\n"
    },
    "a collection taken out": lambda f: _without(f, _first(f, "data/evidence/").rsplit("/", 1)[0]),
    "the report rewritten": lambda f: {**f, bundle.REPORT: f[bundle.REPORT] + b"<p>Nothing happened.</p>"},
    "the checkpoint's size edited": lambda f: {
        **f, bundle.CHECKPOINT: f[bundle.CHECKPOINT].replace(b"\n", b"\n9", 1)
    },
    "the signature stripped": lambda f: {**f, bundle.CHECKPOINT: f[bundle.CHECKPOINT].partition(b"\n\n")[0] + b"\n\n"},
    "no checkpoint": lambda f: _without(f, bundle.CHECKPOINT),
    "a file added to the evidence": lambda f: {**f, _first(f, "data/evidence/").rsplit("/", 1)[0] + "/note.txt": b"hi"},
}  # fmt: skip
NOT_BY_THE_SMALL_ONE = {"the plan taken out", "a file added to the evidence"}
"""Cases that need the meaning of entries, and so quell itself; the small verifier's head says what it does not do."""


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found_with_all_digests_made_again(case: Case, tmp_path: Path, name: str) -> None:
    files = with_digests(TAMPERED[name](case.files))
    audit = judged(files, case.key)
    assert not audit.sound
    assert all(one.where and one.what and one.means for one in audit.findings)
    if name not in NOT_BY_THE_SMALL_ONE:
        assert verify(store(files, tmp_path / "b"), case.key) != []


def test_files_that_are_listed_missing_renamed_or_added(case: Case, tmp_path: Path) -> None:
    for change in (
        lambda f: {**f, "data/extra": b"x"},
        lambda f: {**f, "extra.sh": b"x"},
        lambda f: _without(f, bundle.REPORT),
        lambda f: {**_without(f, bundle.REPORT), "data/report/other.html": f[bundle.REPORT]},
    ):
        files = change(case.files)
        assert not judged(files, case.key).sound
        assert verify(store(files, tmp_path / "b"), case.key) != []


@pytest.mark.parametrize(
    "path", ["../climbed", "/etc/passwd", "data/../../climbed", "data/a b", "C:\\x", "data/\u202ex"]
)
def test_a_name_that_climbs_is_refused_and_never_opened(case: Case, tmp_path: Path, path: str) -> None:
    (tmp_path / "climbed").write_bytes(b"outside")
    files = dict(case.files)
    files["manifest-sha256.txt"] += f"{'0' * 64}  {path}\n".encode()
    audit = judged(open_bag(store(files, tmp_path / "b")), case.key)
    assert any(one.where == "manifest-sha256.txt" for one in audit.faults)


def test_a_link_out_of_the_bundle_is_refused(case: Case, tmp_path: Path) -> None:
    place = store(case.files, tmp_path / "b")
    (place / bundle.REPORT).unlink()
    (place / bundle.REPORT).symlink_to("/etc/hostname")
    with pytest.raises(EvidenceError, match="no plain file"):
        judged(open_bag(place), case.key)


def _zip(file: Path, members: Files, method: int) -> Path:
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return file


def test_a_zip_with_stored_members_is_a_bundle_too(case: Case, tmp_path: Path) -> None:
    audit = judged(open_bag(_zip(tmp_path / "b.zip", case.files, zipfile.ZIP_STORED)), case.key)
    assert audit.sound, audit.faults


def test_a_zip_that_swells_or_climbs_is_refused_unread(case: Case, tmp_path: Path) -> None:
    bomb = {**case.files, "data/big": bytes(64 << 20)}
    with pytest.raises(EvidenceError, match="compressed"):
        open_bag(_zip(tmp_path / "bomb.zip", bomb, zipfile.ZIP_DEFLATED))
    with pytest.raises(EvidenceError, match="no path"):
        open_bag(_zip(tmp_path / "climb.zip", {"../x": b""}, zipfile.ZIP_STORED))
    with pytest.raises(EvidenceError, match="neither a directory nor"):
        open_bag(_file(tmp_path / "no.zip", b"PK\x03\x04 and nothing more"))
    with pytest.raises(EvidenceError, match="nothing is there"):
        open_bag(tmp_path / "absent")


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_huge_files_and_counts_are_refused_before_they_are_read(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    class Huge(MemoryBag):
        def size(self, name: str) -> int:
            return 1 << 50 if name in (bundle.ENTRIES, bundle.CHECKPOINT_BODY) else super().size(name)

        def stream(self, name: str):  # type: ignore[no-untyped-def]
            assert name not in (bundle.ENTRIES, bundle.CHECKPOINT_BODY), "it was read"
            return super().stream(name)

    assert not judged(Huge(case.files), case.key).sound
    monkeypatch.setattr("tasks.bag.MOST_FILES", 10)
    with pytest.raises(EvidenceError, match="more than 10 files"):
        open_bag(Path(__file__).parents[2]).names()


def test_bombs_and_huge_counts_are_refused_in_little_memory(case: Case, tmp_path: Path) -> None:
    """64 MB that swell, 2**50 items, an item of 4 GB: none of them costs more than the bundle itself."""
    swelling = _zip(tmp_path / "bomb.zip", {**case.files, "data/big": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    lying = [with_digests(TAMPERED[name](case.files)) for name in ("a huge count", "an item's length edited")]
    tracemalloc.start()
    try:
        with pytest.raises(EvidenceError, match="compressed"):
            open_bag(swelling)
        assert not any(judged(files, case.key).sound for files in lying)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_without_a_key_it_is_not_proven(case: Case) -> None:
    audit = judged(case.files, None)
    assert [one.where for one in audit.faults] == [bundle.CHECKPOINT]
    assert "another channel" in audit.faults[0].means


def test_loading_and_storing_change_nothing(case: Case, tmp_path: Path) -> None:
    assert load(store(case.files, tmp_path / "b")) == case.files
