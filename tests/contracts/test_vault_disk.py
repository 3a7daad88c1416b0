"""What the vault on a disk owes beyond the contract: crashes, full disks, flipped bytes, loose keys, bounded memory."""

import os
import resource
import secrets
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runbooks.domain.errors import EvidenceError
from runbooks.domain.evidence import Collection, EvidenceClass
from runbooks.domain.value import digest_of
from tasks.stores import open_vault
from tasks.stores.base import Sealed, SourceFacts, Vault

NOW = "2026-11-21T02:00:00.000000000Z"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def vault(place: Path) -> Vault:
    return open_vault(str(place / "vault"), place / "keys")


def seal(vault: Vault, items: Iterator[bytes] | list[bytes]) -> Sealed:
    return vault.seal(
        incident="INC-0001", evidence_class=EvidenceClass.A, source="traces", media_type="application/json",
        items=items, facts=SourceFacts(), now=lambda: NOW,
    )  # fmt: skip


def objects(place: Path) -> dict[str, Path]:
    return {
        f"sha256:{path.parent.name}{path.name}": path for path in (place / "vault/objects").rglob("*") if path.is_file()
    }


def read(vault: Vault, collection: Collection) -> list[bytes]:
    return [item for _, item in vault.items(collection)]


def test_ten_thousand_items(vault: Vault) -> None:
    items = [f'{{"span":{number},"text":"{number * 7919}"}}'.encode() * 4 for number in range(10_000)]
    collection = seal(vault, iter(items)).collection
    assert collection.items == 10_000
    assert len(collection.packs) == 1
    assert read(vault, collection) == items
    assert vault.get(collection.leaves).__len__() == 320_000


def test_one_item_of_fifty_megabytes(vault: Vault) -> None:
    item = secrets.token_bytes(50 << 20)
    collection = seal(vault, [b"before", item, b"after"]).collection
    assert read(vault, collection) == [b"before", item, b"after"]
    assert len(collection.packs) == 4


def test_everything_is_for_the_owner_only_and_objects_are_read_only(place: Path, vault: Vault) -> None:
    seal(vault, [b"item"])
    for path in [place / "keys", *(place / "keys").iterdir(), *(place / "vault").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert {stat.S_IMODE(path.stat().st_mode) for path in objects(place).values()} == {0o400}


def test_no_content_stands_in_the_vault_in_the_clear(place: Path, vault: Vault) -> None:
    seal(vault, [b"an incompressible secret 8f3b1c77"])
    for path in objects(place).values():
        assert b"8f3b1c77" not in path.read_bytes()
    unsalted = digest_of(b"an incompressible secret 8f3b1c77").removeprefix("sha256:")
    assert not any(bytes.fromhex(unsalted) in path.read_bytes() for path in objects(place).values())


def test_every_flipped_byte_is_found(place: Path, vault: Vault) -> None:
    collection = seal(vault, [b"one", b"two", b"three"]).collection
    manifest = vault.put(collection.canonical())
    for digest, path in objects(place).items():
        path.chmod(0o600)
        sound = path.read_bytes()
        for position in range(len(sound)):
            flipped = bytearray(sound)
            flipped[position] ^= 1 << position % 8
            path.write_bytes(flipped)
            with pytest.raises(EvidenceError, match="damaged"):
                vault.get(digest)
            if digest != manifest:
                with pytest.raises(EvidenceError, match="damaged"):
                    vault.verify(collection)
                with pytest.raises(EvidenceError, match="damaged"):
                    read(vault, collection)
        path.write_bytes(sound)
    assert read(vault, collection) == [b"one", b"two", b"three"]
    assert len(objects(place)) == 3


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_cut_and_longer_objects_are_found(place: Path, vault: Vault, change: Callable[[bytes], bytes]) -> None:
    collection = seal(vault, [b"one", b"two"]).collection
    for path in objects(place).values():
        path.chmod(0o600)
        sound = path.read_bytes()
        path.write_bytes(change(sound))
        with pytest.raises(EvidenceError):
            vault.verify(collection)
        with pytest.raises(EvidenceError):
            read(vault, collection)
        path.write_bytes(sound)


def test_a_missing_object_is_named_as_missing(place: Path, vault: Vault) -> None:
    collection = seal(vault, [b"one"]).collection
    for digest, path in objects(place).items():
        kept = path.rename(path.with_suffix(".away"))
        with pytest.raises(EvidenceError, match=f"{digest} is missing"):
            vault.verify(collection)
        kept.rename(path)


def test_a_damaged_object_is_not_replaced_by_storing_it_again(place: Path, vault: Vault) -> None:
    digest = vault.put(b"the manifest")
    path = objects(place)[digest]
    path.chmod(0o600)
    path.write_bytes(b"another one.")
    with pytest.raises(EvidenceError, match="damaged"):
        vault.put(b"the manifest")
    assert path.read_bytes() == b"another one."


def test_a_full_disk_is_said_and_costs_nothing_sealed(place: Path, vault: Vault) -> None:
    kept = seal(vault, [b"sealed before"]).collection
    before = objects(place)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(EvidenceError, match="could not store"):
            seal(vault, [secrets.token_bytes(4 << 20)])
        with pytest.raises(EvidenceError, match="could not store"):
            vault.put(bytes(2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert objects(place) == before
    assert list((place / "vault/drafts").iterdir()) == []
    assert len(list((place / "keys").iterdir())) == 1
    assert read(vault, kept) == [b"sealed before"]
    assert read(vault, seal(vault, [b"and after"]).collection) == [b"and after"]


SEAL_UNTIL_KILLED = """
import itertools, os, sys
from pathlib import Path
from tests.contracts.test_vault_disk import seal
from tasks.stores import open_vault
place = Path(sys.argv[1])
def items():
    for number in itertools.count():
        if number == int(sys.argv[2]):
            os.write(1, b"here")
        yield os.urandom(100_000)
seal(open_vault(str(place / "vault"), place / "keys"), items())
"""


@pytest.mark.parametrize("count", [1, 400], ids=["first pack", "third pack"])
def test_a_killed_sealing_leaves_nothing_that_counts(place: Path, vault: Vault, count: int) -> None:
    kept = seal(vault, [b"sealed before"]).collection
    with subprocess.Popen(
        [sys.executable, "-c", SEAL_UNTIL_KILLED, str(place), str(count)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"here"
        process.send_signal(signal.SIGKILL)
    for digest, path in objects(place).items():  # orphans, but whole ones
        assert digest_of(path.read_bytes()) == digest
    for draft in (place / "vault/drafts").iterdir():
        os.utime(draft, (time.time() - 100_000,) * 2)
    again = open_vault(str(place / "vault"), place / "keys")
    assert list((place / "vault/drafts").iterdir()) == []
    collection = seal(again, [b"sealed again"]).collection
    assert collection.id != kept.id
    assert (read(again, collection), read(again, kept)) == ([b"sealed again"], [b"sealed before"])


def test_a_draft_that_is_being_written_is_left_alone(place: Path, vault: Vault) -> None:
    def source() -> Iterator[bytes]:
        yield secrets.token_bytes(3 << 20)
        open_vault(str(place / "vault"), place / "keys")
        yield b"more"

    assert seal(vault, source()).failure is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o700])
def test_a_key_that_others_can_read_is_not_used(place: Path, vault: Vault, mode: int) -> None:
    collection = seal(vault, [b"item"]).collection
    (place / "keys" / f"{collection.id}.json").chmod(mode)
    with pytest.raises(EvidenceError, match="closed to others"):
        vault.items(collection)


def test_a_key_directory_that_others_can_enter_is_not_used(place: Path, vault: Vault) -> None:
    collection = seal(vault, [b"item"]).collection
    (place / "keys").chmod(0o750)
    for attempt in (lambda: vault.items(collection), lambda: open_vault(str(place / "vault"), place / "keys")):
        with pytest.raises(EvidenceError, match="closed to others"):
            attempt()


def test_a_missing_damaged_or_swapped_key_is_named(place: Path, vault: Vault) -> None:
    first, second = seal(vault, [b"first"]).collection, seal(vault, [b"second"]).collection
    files = [place / "keys" / f"{collection.id}.json" for collection in (first, second)]
    texts = [file.read_bytes() for file in files]
    for wrong, what in ((texts[1], "another collection's"), (b"{}", "cannot be read"), (b"\xff", "cannot be read")):
        files[0].write_bytes(wrong)
        with pytest.raises(EvidenceError, match=what):
            vault.items(first)
    files[0].unlink()
    with pytest.raises(EvidenceError, match="missing"):
        vault.items(first)
    with pytest.raises(EvidenceError, match="nothing was erased"):
        vault.forget(first.id)
    vault.verify(first)


@pytest.mark.parametrize("name", ["../../etc/passwd", "COL-1", "COL-" + "A" * 24 + "/x", ""])
def test_an_identifier_from_outside_names_no_file(vault: Vault, name: str) -> None:
    for attempt in (lambda: vault.salts(name), lambda: vault.forget(name)):
        with pytest.raises(EvidenceError, match="no identifier"):
            attempt()


def test_an_erased_key_is_overwritten_and_its_absence_explained(place: Path, vault: Vault) -> None:
    collection = seal(vault, [b"a person's words"]).collection
    file = place / "keys" / f"{collection.id}.json"
    witness = place / "same-file"
    os.link(file, witness)  # what somebody reading the disk would find
    vault.forget(collection.id)
    assert set(witness.read_bytes()) == {0}
    assert not file.exists()
    with pytest.raises(EvidenceError, match="erased"):
        vault.salts(collection.id)


def test_keys_inside_the_vault_are_refused(place: Path) -> None:
    with pytest.raises(EvidenceError, match="inside the vault"):
        open_vault(str(place / "vault"), place / "vault" / "keys")


def test_a_place_that_cannot_be_a_vault_is_named(place: Path) -> None:
    (place / "vault").write_text("a file")
    with pytest.raises(EvidenceError, match="cannot be used"):
        open_vault(str(place / "vault"), place / "keys")


MEASURE = """
import os, resource, sys
from pathlib import Path
from tests.contracts.test_vault_disk import seal
from tasks.stores import open_vault
place = Path(sys.argv[1])
vault = open_vault(str(place / "vault"), place / "keys")
seal(vault, [os.urandom(1 << 20)])
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
collection = seal(vault, (os.urandom(1 << 18) for _ in range(640))).collection
count = sum(1 for _ in vault.items(collection))
vault.verify(collection)
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts kibibytes on Linux only")
def test_memory_does_not_grow_with_the_collection(place: Path) -> None:
    said = subprocess.check_output([sys.executable, "-c", MEASURE, str(place)], cwd=ROOT, text=True)
    count, grown = map(int, said.split())
    assert count == 640
    assert grown < 80, f"{grown} MiB more for 160 MiB of evidence"
