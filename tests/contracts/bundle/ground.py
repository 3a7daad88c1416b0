"""A small real incident without an engine, its bundle in memory, and the tools of somebody who wants to change it unseen."""

import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from runbooks.domain import bundle
from runbooks.domain.audit import Audit
from runbooks.domain.checkpoint import VerifierKey
from runbooks.domain.instants import later
from runbooks.domain.ledger import Draft, EntryType, LedgerEntry
from runbooks.domain.signed import POLICY_NAMESPACE
from runbooks.domain.value import Json
from tasks.bag import Bag
from tasks.bundle import export
from tasks.containment import judge
from tasks.installation import Installation, open_installation
from tasks.policy import activate_files, activation_of
from tasks.proofs import sign_bytes
from tasks.recovery import validate_recovery
from tasks.review import close_incident
from tasks.settings import load_configuration
from tasks.stores import open_ledger
from tasks.verification import verify_bundle
from tests.steps.desk import Desk, a_desk

Files = dict[str, bytes]


class _Quiet:
    """Stands in for pytest's capture where a fixture outlives one test."""

    def __init__(self) -> None:
        self._kept = (sys.stdout, sys.stderr)
        self._begin()

    def readouterr(self) -> Any:
        out, err = self._texts
        said = SimpleNamespace(out=out.getvalue(), err=err.getvalue())
        self._begin()
        return said

    def _begin(self) -> None:
        self._texts = (io.StringIO(), io.StringIO())
        sys.stdout, sys.stderr = self._texts

    def end(self) -> None:
        sys.stdout, sys.stderr = self._kept


def an_incident(home: Path, keys: dict[str, Path], *, close: bool = True, what: str = "") -> tuple[Installation, str]:
    """Sealed, asked, approved with real SSH keys, contained, judged, closed: everything but the engine."""
    quiet = _Quiet()
    try:
        with a_desk(home, keys, quiet) as desk:  # type: ignore[arg-type]
            return open_installation(home), _respond(desk, close=close, what=what)
    finally:
        quiet.end()


def _respond(desk: Desk, *, close: bool, what: str) -> str:
    incident = desk.declare(*(["--what", what] if what else []))
    desk.respond(incident)
    desk.contain(incident)
    judge.fn(incident)
    if close:
        validate_recovery.fn(incident)
        close_incident.fn(incident, "partial")
    return incident


def settings(place: Installation, **more: Any) -> None:
    """Other limits for this installation."""
    limits = place.settings.limits.model_copy(update=more)
    place.settings = place.settings.model_copy(update={"limits": limits})


def activate_signed(place: Installation, key: Path, old: str, new: str) -> None:
    """Another policy, signed by ana and made the active one."""
    file = place.settings.config / "policy.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    files = load_configuration(place.settings)
    step = activation_of(place, files, "ana")
    activate_files(place, files, step, sign_bytes(step.canonical(), key, namespace=POLICY_NAMESPACE))


def rewritten(installation: Installation, home: Path, *, shifted: int = 0) -> Installation:
    """The operator's forgery: the same log with one reason changed, without its anchors, the log's own key.

    `shifted`: by so many seconds every entry claims to be younger than it is.
    """

    def body_of(entry: LedgerEntry) -> dict[str, Json] | None:
        if entry.type is EntryType.CHECKPOINT_ANCHORED:
            return None
        fine = {"because": "everything was fine from the start"}
        return entry.body | (fine if entry.type is EntryType.CONTAINMENT_JUDGED else {})

    return forged(installation, home, body_of, shifted)


def with_body(installation: Installation, home: Path, index: int, body: dict[str, Json]) -> Installation:
    """The same log with another body in one entry."""
    return forged(installation, home, lambda entry: body if entry.index == index else entry.body)


def forged(
    installation: Installation, home: Path, body_of: Callable[[LedgerEntry], dict[str, Json] | None], shifted: int = 0
) -> Installation:
    """A copy of the installation with its log written anew, all hashes new; an entry without a body is left out."""
    shutil.copytree(installation.settings.home, home)
    for old in home.glob("ledger.db*"):
        old.unlink()
    log = open_ledger(f"sqlite:///{home / 'ledger.db'}")
    for entry in installation.store.entries():
        if (body := body_of(entry)) is not None:
            fields = {name: getattr(entry, name) for name in Draft.model_fields}
            log.append(Draft(**{**fields, "body": body}), later(entry.at, shifted))
    open_installation.cache_clear()
    return open_installation(home)


class MemoryBag:
    """A bundle whose files stand in memory; digests are computed once per content."""

    _known: dict[int, str] = {}

    def __init__(self, files: Files) -> None:
        self._files = files
        self._digests: dict[str, str] = {}

    def names(self) -> list[str]:
        return sorted(self._files)

    def size(self, name: str) -> int:
        return len(self._files[name])

    def stream(self, name: str) -> Iterator[bytes]:
        yield self._files[name]

    def sha256(self, name: str) -> str:
        if name not in self._digests:
            self._digests[name] = hashlib.sha256(self._files[name]).hexdigest()
        return self._digests[name]

    def with_one(self, name: str, data: bytes) -> "MemoryBag":
        """The same with one file changed; the others' digests are not computed again."""
        other = MemoryBag({**self._files, name: data})
        other._digests = {key: value for key, value in self._digests.items() if key != name}
        return other


def load(place: Path) -> Files:
    """All files of a bundle."""
    return {file.relative_to(place).as_posix(): file.read_bytes() for file in place.rglob("*") if file.is_file()}


def store(files: Files, place: Path) -> Path:
    """The bundle as a directory again."""
    shutil.rmtree(place, ignore_errors=True)
    for name, data in files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return place


def with_digests(files: Files) -> Files:
    """What somebody does who knows BagIt: every list of digests made again. Payload-Oxum too."""
    payload = {name: data for name, data in files.items() if name.startswith("data/")}
    made = dict(files)
    oxum = f"Payload-Oxum: {sum(map(len, payload.values()))}.{len(payload)}".encode()
    made["bag-info.txt"] = b"\n".join(
        oxum if line.startswith(b"Payload-Oxum") else line for line in files["bag-info.txt"].split(b"\n")
    )
    made["manifest-sha256.txt"] = _list(payload)
    made["tagmanifest-sha256.txt"] = _list({name: made[name] for name in bundle.TAG_FILES if name in made})
    return made


def _list(files: Files) -> bytes:
    return b"".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode() for name, data in sorted(files.items()))


def judged(files: Files | Bag, key: str | None, **more: Any) -> Audit:
    """What quell says."""
    bag = MemoryBag(files) if isinstance(files, dict) else files
    return verify_bundle(bag, VerifierKey.read(key) if key else None, **more).audit()


def lines(files: Files, name: str) -> list[bytes]:
    """Lines of a ledger file, with their ends."""
    return files[name].splitlines(keepends=True)


def entry_of(files: Files, kind: str) -> tuple[int, dict[str, Any]]:
    """Line number and content of the first entry of a type."""
    for number, line in enumerate(lines(files, bundle.ENTRIES)):
        entry: dict[str, Any] = json.loads(line)
        if entry["type"] == kind:
            return number, entry
    raise LookupError(kind)


def an_export(place: Installation, incident: str, target: Path) -> tuple[Files, str]:
    """The bundle and the log's key."""
    done = export(place, incident, target, None)
    return load(target), done.key
