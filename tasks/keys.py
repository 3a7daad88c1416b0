"""The log's own Ed25519 key: made at first use, named by a ledger entry, changed only by old and new key together.

The private key is one PEM file, 0600, in `$QUELL_HOME/keys`; which one counts says the newest KEY_ADDED entry. Its
public half (the vkey) is what auditors are given through another channel than the bundles.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from runbooks.domain.checkpoint import FormatError, VerifierKey, key_statement
from runbooks.domain.errors import LedgerError
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.installation import Installation
from tasks.ledger import INSTALLATION


class LogKey:
    """The key that signs heads; never printed."""

    def __init__(self, private: Ed25519PrivateKey, name: str) -> None:
        self._private = private
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.verifier = VerifierKey(name=name, public=public.hex())

    def sign(self, message: bytes) -> bytes:
        """64 bytes over exactly this message."""
        return self._private.sign(message)


def log_key(installation: Installation) -> LogKey:
    """The key that counts now, made when the log has none yet; LedgerError when its file is missing or open to others."""
    entry = _newest(installation)
    if entry is None:
        entry = _add(installation, _make(installation), None)
    key = VerifierKey.read(str(entry.body["vkey"]))
    return _read(_file(installation, key), key)


def rotate(installation: Installation) -> VerifierKey:
    """Change the log's key: both sign the change, it is recorded, and the old file is removed."""
    old = log_key(installation)
    new = _make(installation)
    entry = _add(installation, new, old)
    counts = VerifierKey.read(str(entry.body["vkey"]))
    if counts == new.verifier:
        _file(installation, old.verifier).unlink(missing_ok=True)
    return counts


def log_keys(installation: Installation) -> list[VerifierKey]:
    """Every key the log ever had, oldest first."""
    return [VerifierKey.read(str(e.body["vkey"])) for e in installation.store.entries(types=(EntryType.KEY_ADDED,))]


def holds(key: VerifierKey, signature: bytes, message: bytes) -> bool:
    """Whether this key signed exactly this message."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public)).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def follow_rotations(trusted: VerifierKey, entries: list[LedgerEntry]) -> list[VerifierKey]:
    """The keys that a trusted one leads to: each KEY_ADDED signed by the key before it and by itself, without a gap.

    Stops at the first entry that is not; what follows it is not trusted.
    """
    chain = [trusted]
    for entry in entries:
        if entry.type is not EntryType.KEY_ADDED or entry.body.get("previous") != chain[-1].line():
            continue
        try:
            new = VerifierKey.read(str(entry.body["vkey"]))
            signed = [bytes.fromhex(str(entry.body[who])) for who in ("signed_by_old", "signed_by_new")]
        except (FormatError, KeyError, ValueError):
            break
        statement = key_statement(new.name, chain[-1].line(), new.line())
        if new.name != trusted.name or not (
            holds(chain[-1], signed[0], statement) and holds(new, signed[1], statement)
        ):
            break
        chain.append(new)
    return chain


def _newest(installation: Installation) -> LedgerEntry | None:
    found = installation.store.entries(types=(EntryType.KEY_ADDED,))
    return found[-1] if found else None


def _add(installation: Installation, new: LogKey, old: LogKey | None) -> LedgerEntry:
    """Record the key. Of two processes that try at once one wins; the other's key is thrown away."""
    previous = old.verifier.line() if old else None
    statement = key_statement(new.verifier.name, previous, new.verifier.line())
    entry = installation.pen(INSTALLATION).write(
        EntryType.KEY_ADDED, f"log-key/{old.verifier.key_id if old else 'first'}",
        body={
            "vkey": new.verifier.line(), "previous": previous,
            "signed_by_old": old.sign(statement).hex() if old else None, "signed_by_new": new.sign(statement).hex(),
        },
    )  # fmt: skip
    if entry.body["vkey"] != new.verifier.line():
        _file(installation, new.verifier).unlink(missing_ok=True)
    return entry


def _make(installation: Installation) -> LogKey:
    key = LogKey(Ed25519PrivateKey.generate(), installation.id)
    pem = key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # noqa: SLF001 - our own
    file = _file(installation, key.verifier)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(pem)
        handle.flush()
        os.fsync(handle.fileno())
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return key


def _file(installation: Installation, key: VerifierKey) -> Path:
    return installation.settings.home / "keys" / f"log-{key.key_id}.pem"


def _read(file: Path, key: VerifierKey) -> LogKey:
    try:
        found = file.stat()
        if found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise _unusable(
                f"{file} must belong to this user and be closed to others; it has mode {found.st_mode & 0o777:04o}",
                "find out who could read it; if anybody could, `quell keys rotate` after chmod 0600.",
            )
        private = load_pem_private_key(file.read_bytes(), None)
    except FileNotFoundError as error:
        raise _unusable(
            f"the log's key {key.key_id} is recorded, and its file {file} is missing", "restore it from its backup."
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(
            f"{file} holds no usable key ({type(error).__name__})", "restore it from its backup."
        ) from error
    if not isinstance(private, Ed25519PrivateKey) or LogKey(private, key.name).verifier != key:
        raise _unusable(f"{file} holds another key than the one recorded", "restore the right file from its backup.")
    return LogKey(private, key.name)


def _unusable(problem: str, next_step: str) -> LedgerError:
    return LedgerError(f"{problem}.", now="no checkpoint was signed; the record itself goes on.", next_step=next_step)
