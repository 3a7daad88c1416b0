"""The real ssh-keygen as the oracle, and signatures that it would never make: every part can be chosen."""

import base64
import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runbooks.domain.approval import DECISION_NAMESPACE, Answer, Statement

KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa521": ("-t", "ecdsa", "-b", "521"),
    "rsa2048": ("-t", "rsa", "-b", "2048"),
}


def a_statement(**changes: object) -> Statement:
    base = Statement(
        installation="test", request="sha256:" + "ab" * 32, answer=Answer.APPROVE, person="alice", reason="stop it: ü"
    )
    return base.model_copy(update=changes)


def keygen(folder: Path, name: str, *arguments: str) -> str:
    """A new key pair in the folder; returns the public line."""
    file = folder / name
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "a comment", *arguments, "-f", str(file)], check=True)
    return file.with_suffix(".pub").read_text().strip()


def openssh_accepts(armored: str, message: bytes, allowed: str, folder: Path, *, person: str = "alice") -> bool:
    """The verdict of `ssh-keygen -Y verify` with these allowed signers."""
    (folder / "sig").write_bytes(armored.encode("utf-8", "surrogatepass"))
    (folder / "allowed").write_text(allowed)
    command = ["ssh-keygen", "-Y", "verify", "-n", DECISION_NAMESPACE, "-I", person]
    command += ["-f", str(folder / "allowed"), "-s", str(folder / "sig")]
    return subprocess.run(command, input=message, capture_output=True, check=False).returncode == 0


def openssh_holds(armored: str, message: bytes, folder: Path) -> bool:
    """The verdict of `ssh-keygen -Y check-novalidate`: the signature alone, whoever made it."""
    (folder / "sig").write_text(armored)
    command = ["ssh-keygen", "-Y", "check-novalidate", "-n", DECISION_NAMESPACE, "-s", str(folder / "sig")]
    return subprocess.run(command, input=message, capture_output=True, check=False).returncode == 0


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def mpint(number: int, *, padding: int = 0) -> bytes:
    raw = number.to_bytes(number.bit_length() // 8 + 1 + padding)
    return string(raw if padding or raw[0] or raw[1] > 0x7F else raw[1:])


def armor(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----"]) + "\n"


def dearmor(armored: str) -> bytes:
    return base64.b64decode("".join(armored.split("\n")[1:-2]))


@dataclass(frozen=True)
class Forge:
    """Makes an SSHSIG over a message; `sign` turns the signed bytes into algorithm and signature fields."""

    key: bytes
    sign: Callable[[bytes], bytes]
    magic: bytes = b"SSHSIG"
    version: int = 1
    namespace: bytes = DECISION_NAMESPACE.encode()
    reserved: bytes = b""
    hash_name: bytes = b"sha512"
    tail: bytes = b""
    inner_tail: bytes = b""

    def but(self, **changes: object) -> "Forge":
        return replace(self, **changes)  # type: ignore[arg-type]

    def make(self, message: bytes) -> str:
        name = self.hash_name.decode(errors="replace")
        digest = hashlib.new(name if name in hashlib.algorithms_available else "sha512", message).digest()
        signed = b"SSHSIG" + string(self.namespace) + string(b"") + string(self.hash_name) + string(digest)
        return armor(
            self.magic + self.version.to_bytes(4) + string(self.key) + string(self.namespace) + string(self.reserved)
            + string(self.hash_name) + string(self.sign(signed) + self.inner_tail) + self.tail
        )  # fmt: skip

    @property
    def line(self) -> str:
        kind = self.key[4 : 4 + int.from_bytes(self.key[:4])].decode()
        return f"{kind} {base64.b64encode(self.key).decode()} forged"


def ed25519_forge(private: ed25519.Ed25519PrivateKey) -> Forge:
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    key = string(b"ssh-ed25519") + string(public)
    return Forge(key=key, sign=lambda data: string(b"ssh-ed25519") + string(private.sign(data)))


def device_ed25519(*, flags: int = 1, application: bytes = b"ssh:", counter: int = 7) -> Forge:
    """A security key in software, as PROTOCOL.u2f says: sk-ssh-ed25519@openssh.com."""
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kind = string(b"sk-ssh-ed25519@openssh.com")
    rest = bytes([flags]) + counter.to_bytes(4)

    def sign(data: bytes) -> bytes:
        made = private.sign(hashlib.sha256(application).digest() + rest + hashlib.sha256(data).digest())
        return kind + string(made) + rest

    return Forge(key=kind + string(public) + string(application), sign=sign)


def device_ecdsa(*, flags: int = 1, application: bytes = b"ssh:", counter: int = 7) -> Forge:
    """A security key in software: sk-ecdsa-sha2-nistp256@openssh.com."""
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    kind = string(b"sk-ecdsa-sha2-nistp256@openssh.com")
    rest = bytes([flags]) + counter.to_bytes(4)

    def sign(data: bytes) -> bytes:
        signed = hashlib.sha256(application).digest() + rest + hashlib.sha256(data).digest()
        r, s = decode_dss_signature(private.sign(signed, ec.ECDSA(SHA256())))
        return kind + string(mpint(r) + mpint(s)) + rest

    return Forge(key=kind + string(b"nistp256") + string(point) + string(application), sign=sign)


def ecdsa_forge(*, padding: int = 0) -> Forge:
    """An ordinary P-256 key whose signature numbers may carry needless zeros."""
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    kind = string(b"ecdsa-sha2-nistp256")

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(SHA256())))
        return kind + string(mpint(r, padding=padding) + mpint(s))

    return Forge(key=kind + string(b"nistp256") + string(point), sign=sign)
