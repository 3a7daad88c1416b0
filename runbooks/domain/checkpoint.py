"""The head of the log as a C2SP signed note, so that any existing witness or tool can read, check and countersign it.

Formats: https://c2sp.org/tlog-checkpoint (origin, size, base64 root) inside https://c2sp.org/signed-note (text, empty
line, signature lines). Only Ed25519 log signatures (type 0x01) are ours; lines of unknown keys are ignored, as the
specification demands, which leaves room for witnesses. Signing and verifying need a library and live in tasks.
"""

import base64
import binascii
import hashlib
import re
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from runbooks.domain.value import Digest, Value

ED25519 = 0x01
"""Signature type of a log's own Ed25519 key."""

LARGEST_NOTE = 65_536
"""Bytes; a note with more is refused before anything of it is looked at."""

MOST_SIGNATURES = 100
_DASH = "\N{EM DASH} "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")

KeyName = Annotated[str, StringConstraints(pattern=r"^[^\s+]{1,200}$")]
"""Name of a log or witness: no space, no plus."""


class FormatError(ValueError):
    """The text is not what the specification says; says what was expected and found."""


class Checkpoint(Value):
    """What the log says of itself at one moment."""

    origin: KeyName
    size: Annotated[int, Field(ge=0)]
    root: Digest

    def body(self) -> bytes:
        """The three lines that are signed and time-stamped."""
        root = base64.b64encode(bytes.fromhex(self.root.removeprefix("sha256:"))).decode()
        return f"{self.origin}\n{self.size}\n{root}\n".encode()

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The checkpoint of this body; FormatError when it is none. Extension lines are refused: we write none."""
        lines = _text(body).split("\n")
        if len(lines) != 4 or lines[3]:
            raise FormatError(f"expected three lines (origin, size, root), found {len(lines) - 1}")
        if not re.fullmatch(r"[^\s+]{1,200}", lines[0]):
            raise FormatError("the origin is empty or holds a space or a plus")
        if not _SIZE.fullmatch(lines[1]):
            raise FormatError("the size is no plain decimal number")
        root = _unbase64(lines[2], "the root")
        if len(root) != 32:
            raise FormatError(f"expected a root of 32 bytes, found {len(root)}")
        return cls(origin=lines[0], size=int(lines[1]), root="sha256:" + root.hex())


class VerifierKey(Value):
    """A public key of a log: `name+keyid+base64(type, key)`."""

    name: KeyName
    public: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """The 32 bytes of the Ed25519 key, hexadecimal."""

    @property
    def key_id(self) -> str:
        """First four bytes of SHA-256 over name, line feed, type, key; hexadecimal."""
        seed = self.name.encode() + b"\n" + bytes([ED25519]) + bytes.fromhex(self.public)
        return hashlib.sha256(seed).hexdigest()[:8]

    def line(self) -> str:
        """The vkey text that auditors are given, through another channel than the bundle."""
        material = base64.b64encode(bytes([ED25519]) + bytes.fromhex(self.public)).decode()
        return f"{self.name}+{self.key_id}+{material}"

    @classmethod
    def read(cls, text: str) -> Self:
        """From its text. Split on the first two plus signs only: base64 may hold more."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3 or not re.fullmatch(r"[^\s+]{1,200}", parts[0]):
            raise FormatError("expected a log key of the form NAME+ID+BASE64")
        material = _unbase64(parts[2], "the key")
        if len(material) != 33 or material[0] != ED25519:
            raise FormatError("expected an Ed25519 log key (type 1, 32 bytes)")
        found = cls(name=parts[0], public=material[1:].hex())
        if found.key_id != parts[1]:
            raise FormatError(f"the key's id is {found.key_id}, its text says {parts[1][:16]}")
        return found


class SignatureLine(Value):
    """One signature line: whose, key id and signature in hexadecimal."""

    name: KeyName
    key_id: str
    signature: str

    def line(self) -> str:
        """As it stands in a note."""
        blob = base64.b64encode(bytes.fromhex(self.key_id) + bytes.fromhex(self.signature)).decode()
        return f"{_DASH}{self.name} {blob}\n"


class SignedNote(Value):
    """Text and its signature lines, known or not."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def encoded(self) -> bytes:
        """The note as it is stored."""
        return (self.text + "\n" + "".join(line.line() for line in self.signatures)).encode()

    def by(self, key: VerifierKey) -> list[SignatureLine]:
        """The lines that say they are of this key."""
        return [line for line in self.signatures if (line.name, line.key_id) == (key.name, key.key_id)]

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The note of these bytes; FormatError when it is none."""
        if len(data) > LARGEST_NOTE:
            raise FormatError(f"a note of {len(data)} bytes; {LARGEST_NOTE} is the most")
        whole = _text(data)
        text, separator, rest = whole.rpartition("\n\n")
        if not separator or not rest.endswith("\n"):
            raise FormatError("expected text, an empty line, and signature lines")
        lines = rest[:-1].split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise FormatError(f"{len(lines)} signature lines; {MOST_SIGNATURES} is the most")
        return cls(text=text + "\n", signatures=tuple(_signature(line) for line in lines))


def _signature(line: str) -> SignatureLine:
    words = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(words) != 2 or not re.fullmatch(r"[^\s+]{1,200}", words[0]):
        raise FormatError("a signature line is not of the form `\N{EM DASH} NAME BASE64`")
    blob = _unbase64(words[1], "a signature")
    if len(blob) < 5:
        raise FormatError("a signature is shorter than its key id")
    return SignatureLine(name=words[0], key_id=blob[:4].hex(), signature=blob[4:].hex())


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("the text is not UTF-8") from error
    if any(ord(letter) < 0x20 and letter != "\n" for letter in text):
        raise FormatError("the text holds control characters")
    return text


def _unbase64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise FormatError(f"{what} is not written in the one form that base64 has")
    return data


def key_statement(origin: str, previous: str | None, new: str) -> bytes:
    """What old and new key sign when the log's key changes: who, from which vkey (or `none`), to which."""
    return f"quell-log-key/1\n{origin}\n{previous or 'none'}\n{new}\n".encode()
