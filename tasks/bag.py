"""Reading a bundle that may be hostile: nothing is unpacked, nothing climbs, nothing is read that was not measured first.

A bundle is a directory, or a zip file whose members are stored as they are. A compressed member is refused unread: it
may swell to anything. Content that its readers trip over is a finding (`stumbling`), and whoever audits goes on.
"""

import hashlib
import io
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from runbooks.domain.audit import Finding, fault, few
from runbooks.domain.bundle import BAGIT, LARGEST_TEXT, MOST_FILES, MOST_LINES, TAG_FILES, is_safe
from runbooks.domain.errors import EvidenceError, QuellError

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
"""What content may raise that is not of the form that it should have: nested too deeply, a number that is none."""
_PIECE = 1 << 20
_LARGEST_DIRECTORY = 256 * MOST_FILES
"""Bytes that a zip file's list of members may have."""
_MEMBER = b"PK\x01\x02"
"""With this each member begins in that list."""
_NO_ZIP = (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, OverflowError, struct.error)
"""What `zipfile` raises for a file that is damaged, encrypted, or of a later version."""
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_TAGS = "tagmanifest-sha256.txt"
_PAYLOAD = "manifest-sha256.txt"


class Bag(Protocol):
    """Files by name, with `/` between folders."""

    def names(self) -> list[str]:
        """Every file, sorted; EvidenceError when there are too many, or one is no plain file."""

    def size(self, name: str) -> int:
        """Bytes; KeyError when it is not there."""

    def stream(self, name: str) -> Iterator[bytes]:
        """The content in pieces; KeyError when it is not there."""

    def sha256(self, name: str) -> str:
        """Digest of the content, hexadecimal."""


class DirectoryBag:
    """A bundle in a directory."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def names(self) -> list[str]:
        found = []
        for file in self._place.rglob("*"):
            mode = file.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            name = file.relative_to(self._place).as_posix()
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise _hostile(f"{name[:200]!r} is no name of a file: it is not UTF-8")
            if not stat.S_ISREG(mode):
                raise _hostile(f"{name!r} is no plain file (a link or a device)")
            found.append(name)
            if len(found) > MOST_FILES:
                raise _hostile(f"more than {MOST_FILES} files")
        return sorted(found)

    def size(self, name: str) -> int:
        return self._file(name).stat().st_size

    def stream(self, name: str) -> Iterator[bytes]:
        with self._file(name).open("rb") as handle:
            while piece := handle.read(_PIECE):
                yield piece

    def sha256(self, name: str) -> str:
        with self._file(name).open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def _file(self, name: str) -> Path:
        file = self._place / name
        if not is_safe(name) or file.is_symlink() or not file.is_file():
            raise KeyError(name)
        return file


class _Measured(io.FileIO):
    """A zip file whose list of members is measured when it is read, before anything is made of it.

    The number in the zip's end record is only a claim, which `zipfile` does not go by either.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            raise _hostile(f"its list of members has {size} bytes; {_LARGEST_DIRECTORY} is the most")
        data = super().read(size)
        if data.count(_MEMBER) > MOST_FILES:
            raise _hostile(f"more than {MOST_FILES} members")
        return data


class ZipBag:
    """A bundle in a zip file, members stored."""

    def __init__(self, file: Path) -> None:
        with _Measured(file) as measured:
            zipfile.ZipFile(measured)
        self._zip = zipfile.ZipFile(file)
        self._members = {one.filename: one for one in self._zip.infolist() if not one.is_dir()}
        if len(self._members) != sum(not one.is_dir() for one in self._zip.infolist()):
            raise _hostile("two members have one name")
        for name, one in self._members.items():
            if one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size:
                raise _hostile(f"{name[:200]!r} is compressed ({one.compress_size} bytes, swelling to {one.file_size})")
            if not is_safe(name) or stat.S_ISLNK(one.external_attr >> 16) or one.header_offset < 0:
                raise _hostile(f"{name[:200]!r} is no path for a bundle")

    def names(self) -> list[str]:
        return sorted(self._members)

    def size(self, name: str) -> int:
        return self._members[name].file_size

    def stream(self, name: str) -> Iterator[bytes]:
        member = self._members[name]
        try:
            with self._zip.open(member) as handle:
                while piece := handle.read(_PIECE):
                    yield piece
        except _NO_ZIP as error:
            raise _hostile(f"{name[:200]!r} cannot be read ({type(error).__name__})") from error

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        for piece in self.stream(name):
            digest.update(piece)
        return digest.hexdigest()


def open_bag(path: Path) -> Bag:
    """The bundle at this path; EvidenceError when there is none or it is made to do harm."""
    if path.is_dir():
        return DirectoryBag(path)
    try:
        return ZipBag(path)
    except FileNotFoundError as error:
        raise _none(path, "nothing is there") from error
    except (OSError, *_NO_ZIP) as error:
        raise _none(path, f"it is neither a directory nor a readable zip file ({type(error).__name__})") from error


def read(bag: Bag, name: str, most: int = LARGEST_TEXT) -> bytes:
    """A whole file of at most so many bytes; KeyError when missing, ValueError when larger."""
    if bag.size(name) > most:
        raise ValueError(f"{bag.size(name)} bytes; {most} is the most")
    return b"".join(bag.stream(name))


@contextmanager
def stumbling(findings: list[Finding], where: str) -> Iterator[None]:
    """Whatever a check that nobody foresaw this content for raises inside is a fault of the bundle. An OSError is not."""
    try:
        yield
    except OSError:
        raise
    except QuellError as error:
        findings.append(fault(where, error.problem, "it was not checked any further."))
    except Exception as error:  # noqa: BLE001 - its text may be hostile, so only its kind is told
        findings.append(
            fault(where, f"holds something that cannot be read ({type(error).__name__}).",
                  "it was made by hand, perhaps to do harm; it was not checked any further.")
        )  # fmt: skip


def check_bag(bag: Bag) -> tuple[list[Finding], int]:
    """Fixity: every file listed with its digest and there, none besides; how many files."""
    names = set(bag.names())
    findings = few(_impossible(name[:200], "the name of a file") for name in sorted(names) if not is_safe(name))
    tags = _listed(bag, _TAGS, findings)
    payload = _listed(bag, _PAYLOAD, findings)
    findings += [
        fault(name, "is a tag file and not listed in tagmanifest-sha256.txt.", "it could be exchanged unseen.")
        for name in TAG_FILES
        if name not in tags
    ]
    findings += few(
        _impossible(name, "listed in manifest-sha256.txt") for name in payload if not name.startswith("data/")
    )
    findings += few(_impossible(name, f"listed in {_TAGS}") for name in tags if name.startswith("data/"))
    for listing, listed in ((_TAGS, tags), (_PAYLOAD, payload)):
        findings += few(_differing(bag, names, listing, listed))
    strangers = sorted(names - set(tags) - set(payload) - {_TAGS})
    findings += few(fault(name[:200], "is listed nowhere.", "somebody added or renamed it.") for name in strangers)
    if "bagit.txt" in names and read(bag, "bagit.txt", 4096) != BAGIT:
        findings.append(fault("bagit.txt", "is not the declaration of BagIt 1.0.", "this is no bundle of quell."))
    return findings, len(names)


def _differing(bag: Bag, names: set[str], listing: str, listed: dict[str, str]) -> Iterator[Finding]:
    for name, digest in listed.items():
        if name not in names:
            yield fault(name, f"is listed in {listing} and missing.", "it was taken out or renamed.")
        elif is_safe(name) and bag.sha256(name) != digest:
            yield fault(name, f"differs from its digest in {listing}.", "one of the two was changed.")


def _listed(bag: Bag, listing: str, findings: list[Finding]) -> dict[str, str]:
    try:
        listed, wrong = _parsed(listing, read(bag, listing).decode("ascii"))
    except (KeyError, ValueError) as error:
        findings.append(fault(listing, f"cannot be read ({type(error).__name__}).", "no digest can be compared."))
        return {}
    findings += wrong
    return listed


@lru_cache(maxsize=4)
def _parsed(listing: str, text: str) -> tuple[dict[str, str], list[Finding]]:
    """Path to digest, and what is wrong with the lines, as far as that is told."""
    found: dict[str, str] = {}
    wrong: list[Finding] = []
    if not text.endswith("\n"):
        wrong.append(fault(listing, "ends in the middle of a line.", "it was cut."))
    if text.count("\n") > MOST_LINES:
        return found, [*wrong, fault(listing, f"has more than {MOST_LINES} lines.", "it was made by hand, to do harm.")]
    return found, wrong + few(_wrong_lines(listing, text, found))


def _wrong_lines(listing: str, text: str, found: dict[str, str]) -> Iterator[Finding]:
    """The good ones go into `found`."""
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        parts = _LINE.fullmatch(line)
        if parts is None:
            yield fault(listing, f"line {number} is not `DIGEST  PATH`.", "the list was changed.")
        elif not is_safe(parts[2]) or parts[2] in found:
            yield _impossible(listing, f"line {number} names {parts[2][:200]!r}, climbing or twice, which")
        else:
            found[parts[2]] = parts[1]


def _impossible(where: str, what: str) -> Finding:
    return fault(where, f"{what} is not possible in a bundle.", "it was made by hand, perhaps to write elsewhere.")


def _hostile(problem: str) -> EvidenceError:
    return EvidenceError(
        f"this is no bundle of quell: {problem}.", now="nothing was unpacked or read further.",
        next_step="ask for the bundle again, as a directory or as a zip file with stored members.",
    )  # fmt: skip


def _none(path: Path, why: str) -> EvidenceError:
    return EvidenceError(
        f"{path} is no bundle: {why}.", now="nothing was checked.", next_step="name the directory of a bundle."
    )
