"""OpenSSH signatures (SSHSIG) read and verified without OpenSSH, and the public key lines that may make them.

Source: PROTOCOL.sshsig, PROTOCOL.u2f and PROTOCOL.certkeys of OpenSSH; RFC 4253 §6.6, RFC 5656, RFC 8332, RFC 8709.
Built on `cryptography`, because the one library for SSHSIG on PyPI (sshsig 0.3.1) knows only ed25519 and RSA: no ECDSA
and no hardware keys. What is accepted here `ssh-keygen -Y verify` accepts too; where we refuse more is in STRICTER.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

MAX_ARMOR = 16 * 1024
"""Bytes. The largest honest signature (RSA, 16384 bits) has about 7 KiB."""
LEAST_RSA_BITS = 2048
"""NIST SP 800-131A; OpenSSH alone still takes 1024."""
STRICTER = (
    "RSA keys below 2048 bits",
    "security-key signatures without the user-presence flag",
    "security-key signatures made by a web browser (webauthn-…)",
    "certificates and DSA keys",
    "a signature whose version is not 1, or whose reserved field is not empty",
    "numbers of an ECDSA signature with needless leading zeros, or S of an Ed25519 signature not below the group order",
    "text after the armor's last line, and white space inside it other than line ends",
)
"""Where we refuse what OpenSSH accepts. There is nothing that we accept and OpenSSH refuses."""

_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_ARMOR_COLUMNS = 70
_USER_PRESENT = 0x01
_SK_ED25519, _SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
_ECDSA: dict[str, HashAlgorithm] = {
    "ecdsa-sha2-nistp256": SHA256(),
    "ecdsa-sha2-nistp384": SHA384(),
    "ecdsa-sha2-nistp521": SHA512(),
    _SK_ECDSA: SHA256(),
}
_RSA: dict[str, HashAlgorithm] = {"rsa-sha2-512": SHA512(), "rsa-sha2-256": SHA256()}
_MESSAGE_HASHES = ("sha512", "sha256")
KEY_TYPES = ("ssh-ed25519", _SK_ED25519, *_ECDSA, "ssh-rsa")


class SshFormatError(ValueError):
    """A key line or a signature is not what it should be; the text says what was expected and found."""


class BadSignatureError(SshFormatError):
    """Well formed, and not a signature over these bytes by this key."""


def _quoted(raw: bytes) -> str:
    """Hostile text made harmless: printable ASCII, at most 40 characters."""
    return repr(raw[:40])[1:]


class _Reader:
    """Takes SSH wire types (RFC 4251 §5) from bytes; nothing may be missing, and `end` refuses anything left over."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.at, self.what = data, 0, what

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise SshFormatError(f"{self.what} is cut short")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, length: int = 4) -> int:
        return int.from_bytes(self.take(length))

    def string(self) -> bytes:
        return self.take(self.number())

    def positive(self) -> int:
        """An mpint above zero in its one shortest form."""
        raw = self.string()
        if not raw or raw[0] > 0x7F or (raw[0] == 0 and (len(raw) == 1 or raw[1] < 0x80)):
            raise SshFormatError(f"{self.what} holds a number that is not positive or not in its shortest form")
        return int.from_bytes(raw)

    def end(self) -> None:
        if self.at != len(self.data):
            raise SshFormatError(f"{self.what} has {len(self.data) - self.at} bytes too many")


@dataclass(frozen=True)
class PublicKey:
    """A listed public key: its type and its wire form (RFC 4253 §6.6), without the comment."""

    kind: str
    blob: bytes
    handle: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    application: bytes = b""
    """Security keys only: the FIDO application, usually `ssh:`."""

    @property
    def line(self) -> str:
        """Type and base64, as in an `.pub` file, without comment."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: `SHA256:` and 43 letters."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise SshFormatError(f"{what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise SshFormatError(f"{what} is not base64 in its one canonical form")
    return data


def read_key(line: str) -> PublicKey:
    """The key of one `TYPE BASE64 [comment]` line; options, certificates, DSA and short RSA keys are refused."""
    kind, _, rest = line.strip().partition(" ")
    if kind not in KEY_TYPES:
        raise SshFormatError(f"expected a public key line that starts with {', '.join(KEY_TYPES)}, found {kind[:40]!r}")
    if "\n" in line.strip() or "\r" in line.strip():
        raise SshFormatError("expected one public key line, found several")
    blob = _base64(rest.split(maxsplit=1)[0] if rest.strip() else "", "the key")
    reader = _Reader(blob, "the key")
    if reader.string() != kind.encode():
        raise SshFormatError(f"the line says {kind}, the key itself says something else")
    try:
        handle = load_ssh_public_key(f"{kind} {base64.b64encode(blob).decode()}".encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SshFormatError(f"the {kind} key cannot be read: {error}") from error
    if not isinstance(handle, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise SshFormatError(f"the {kind} key is of a kind that may not sign")
    if isinstance(handle, rsa.RSAPublicKey) and handle.key_size < LEAST_RSA_BITS:
        raise SshFormatError(f"expected an RSA key of {LEAST_RSA_BITS} bits or more, found {handle.key_size}")
    application = b""
    if kind in {_SK_ED25519, _SK_ECDSA}:
        for _ in range(1 if kind == _SK_ED25519 else 2):
            reader.string()
        application = reader.string()
    return PublicKey(kind=kind, blob=blob, handle=handle, application=application)


@dataclass(frozen=True)
class Signature:
    """The parts of an SSHSIG blob; nothing in it is believed before `verify`."""

    key: bytes
    namespace: bytes
    message_hash: str
    algorithm: str
    blob: bytes
    """What the algorithm made, as it stands after its name."""
    whole: bytes

    @property
    def armored(self) -> str:
        """The one armored form, as `ssh-keygen -Y sign` writes it."""
        text = base64.b64encode(self.whole).decode()
        lines = [text[at : at + _ARMOR_COLUMNS] for at in range(0, len(text), _ARMOR_COLUMNS)]
        return "\n".join((_BEGIN, *lines, _END)) + "\n"

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the key that claims to have signed."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.key).digest()).decode().rstrip("=")


def read_signature(armored: str) -> Signature:
    """The parts of an armored signature; every length is bounded, nothing may be left over."""
    if len(armored) > MAX_ARMOR:
        raise SshFormatError(f"expected at most {MAX_ARMOR} bytes of signature, found {len(armored)}")
    lines = armored.replace("\r\n", "\n").strip(" \n").split("\n")
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise SshFormatError(f"expected text from {_BEGIN} to {_END}")
    whole = _base64("".join(lines[1:-1]), "the text between the armor lines")
    reader = _Reader(whole, "the signature")
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise SshFormatError("expected SSHSIG at the start of the signature")
    version = reader.number()
    if version != 1:
        raise SshFormatError(f"expected signature version 1, found {version}")
    key, namespace, reserved, message_hash, inner = (reader.string() for _ in range(5))
    reader.end()
    if reserved:
        raise SshFormatError("the signature has a reserved field that is not empty")
    if message_hash.decode("latin-1") not in _MESSAGE_HASHES:
        raise SshFormatError(f"expected the hash sha512 or sha256, found {_quoted(message_hash)}")
    parts = _Reader(inner, "the signature")
    algorithm = parts.string()
    return Signature(
        key=key, namespace=namespace, message_hash=message_hash.decode(), algorithm=algorithm.decode("latin-1"),
        blob=parts.take(len(inner) - parts.at), whole=whole,
    )  # fmt: skip


def verify(signature: Signature, key: PublicKey, message: bytes) -> None:
    """Return if `key` made `signature` over `message` in the signature's own namespace; BadSignatureError if not.

    The caller compares the namespace: one made for git or a file must not count as a decision.
    """
    if signature.key != key.blob:
        raise BadSignatureError("the signature names another key")
    digest = hashlib.new(signature.message_hash, message).digest()
    parts = (signature.namespace, b"", signature.message_hash.encode(), digest)
    signed = _MAGIC + b"".join(len(part).to_bytes(4) + part for part in parts)
    reader = _Reader(signature.blob, "the signature")
    expected = tuple(_RSA) if key.kind == "ssh-rsa" else (key.kind,)
    if signature.algorithm not in expected:
        found = _quoted(signature.algorithm.encode("latin-1"))
        raise SshFormatError(f"expected the algorithm {' or '.join(expected)} of a {key.kind} key, found {found}")
    made = reader.string()
    if key.kind in {_SK_ED25519, _SK_ECDSA}:
        signed = _as_security_key_signs(reader, key.application, signed)
    reader.end()
    try:
        _check(signature, key, made, signed)
    except InvalidSignature:
        _refuse()


def _as_security_key_signs(reader: _Reader, application: bytes, signed: bytes) -> bytes:
    """What the device really signed (PROTOCOL.u2f): the application's hash, flags, its counter, the message's hash."""
    flags, counter = reader.take(1), reader.take(4)
    if not flags[0] & _USER_PRESENT:
        raise BadSignatureError("the security key signed without anybody touching it")
    return hashlib.sha256(application).digest() + flags + counter + hashlib.sha256(signed).digest()


def _check(signature: Signature, key: PublicKey, made: bytes, signed: bytes) -> None:
    if isinstance(key.handle, ed25519.Ed25519PublicKey):
        key.handle.verify(made, signed)
    elif isinstance(key.handle, ec.EllipticCurvePublicKey):
        numbers = _Reader(made, "the signature")
        r, s = numbers.positive(), numbers.positive()
        numbers.end()
        key.handle.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_ECDSA[key.kind]))
    else:
        size = (key.handle.key_size + 7) // 8
        if len(made) > size:
            _refuse()
        # Some agents drop leading zero bytes; OpenSSH puts them back before it verifies, and so do we.
        key.handle.verify(made.rjust(size, b"\0"), signed, padding.PKCS1v15(), _RSA[signature.algorithm])


def _refuse() -> NoReturn:
    raise BadSignatureError("the signature is not over exactly this statement, or was damaged on the way")
