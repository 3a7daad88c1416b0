# fmt: off
"""Check an exported incident bundle with Python, `cryptography`, and nothing of the program that wrote it.

    python verify.py BUNDLE LOG-KEY [TSA-CA.pem]        exit 0: everything holds

LOG-KEY (name+id+base64) must reach you through another channel than the bundle. The list in `verify` is the order of
the checks. Not checked here: whether people decided rightly (`quell replay`), or your own copies of anchored heads.
"""

import base64
import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Entries = dict[int, dict[str, Any]]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digest(data: bytes) -> str:
    return "sha256:" + sha256(data).hex()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def signed_by(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def walk(index: int, last: int, old: bytes, new: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """RFC 9162 2.1.3.2 and 2.1.4.2: the roots to which a proof leads, of the tree up to `index` and of the whole one."""
    for step in path:
        if index & 1 or index == last:
            old, new = node(step, old), node(step, new)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            new = node(new, step)
        index, last = index >> 1, last >> 1
    return (old, new) if last == 0 else (b"", b"")


def root_over(leaves: list[bytes]) -> bytes:
    """RFC 6962 2.1: an odd node is promoted."""
    while len(leaves) > 1:
        leaves = [node(*leaves[i : i + 2]) if i + 1 < len(leaves) else leaves[i] for i in range(0, len(leaves), 2)]
    return leaves[0] if leaves else sha256(b"")


def lines_of(place: Path, name: str) -> list[bytes]:
    return (place / "data" / name).read_bytes().splitlines()


def bag(place: Path) -> Iterator[str]:
    """Every file is listed with its digest, every listed file is there, and there is no other."""
    listed = {"tagmanifest-sha256.txt"}
    for name in ("tagmanifest-sha256.txt", "manifest-sha256.txt"):
        for line in (place / name).read_text().splitlines():
            wanted, path = line.split("  ", 1)
            file = place / path
            if path.startswith("/") or ".." in path.split("/") or path in listed or file.is_symlink():
                yield f"{name}: lists the impossible path {path!r}"
            elif not file.is_file() or sha256(file.read_bytes()).hex() != wanted:
                yield f"{path}: is missing, or differs from its digest in {name}"
            listed.add(path)
    yield from (f"{file}: is listed nowhere" for file in place.rglob("*")
                if not file.is_dir() and file.relative_to(place).as_posix() not in listed)


def head_of(note: bytes, vkeys: list[str]) -> tuple[int, bytes, bytes]:
    """Size, root and signed text of a C2SP checkpoint, if one of these keys signed it."""
    text, _, signatures = note.decode().rpartition("\n\n")
    body, (origin, size, root) = (text + "\n").encode(), text.split("\n")
    for name, key_id, material in (vkey.split("+", 2) for vkey in vkeys):
        lines = [line.split(" ")[2] for line in signatures.splitlines() if line.startswith(f"\u2014 {name} ")]
        for blob in map(base64.b64decode, lines):
            if origin == name and blob[:4].hex() == key_id and signed_by(base64.b64decode(material)[1:], blob[4:], body):
                return int(size), base64.b64decode(root), body
    raise ValueError("a checkpoint is not signed by the log key that you gave")


def entries(place: Path, stem: str, proofs: str, size: int, root: bytes) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Every entry is in the signed log at its index."""
    for line, proof in zip(lines_of(place, f"ledger/{stem}.jsonl"), lines_of(place, f"ledger/{proofs}.jsonl"), strict=True):
        index, path = json.loads(proof)["index"], [bytes.fromhex(step) for step in json.loads(proof)["path"]]
        leaf = sha256(b"\x00" + line)
        if not 0 <= index < size or walk(index, size - 1, leaf, leaf, path)[1] != root:
            raise ValueError(f"data/ledger/{stem}.jsonl: entry {index} is not in the signed log")
        yield index, json.loads(line), "sha256:" + leaf.hex()


def chain(mine: list[tuple[int, dict[str, Any], str]], size: int, place: Path) -> Iterator[str]:
    """The incident's entries follow one another without a gap, and the last one seals this export and this report."""
    before = None
    for position, (index, entry, leaf) in enumerate(mine):
        if (entry["incident_seq"], entry["incident_prev"]) != (position, before):
            yield f"entry {index}: an entry of this incident before it was taken out"
        before = leaf
    index, last, _ = mine[-1]
    if last["type"] != "bundle_exported" or index != size - 1 or last["body"]["export"]["count"] != len(mine):
        yield f"entry {index}: is not the seal of this export: something was cut off at the end"
    elif last["subject"]["report"] != digest((place / "data/report/report.html").read_bytes()):
        yield "data/report/report.html: is not the report that was sealed"


def objects(place: Path, known: set[str]) -> Iterator[str]:
    """Every object has the digest in its name, and an entry refers to it."""
    for file in (place / "data/objects").iterdir():
        if digest(file.read_bytes()) not in known or not file.name.endswith(sha256(file.read_bytes()).hex()):
            yield f"data/objects/{file.name}: differs from its digest, or no entry refers to it"


def evidence(place: Path, sealed: set[str]) -> Iterator[str]:
    """Each collection is as sealed and none is missing; its leaves give its root; each disclosed item is its leaf."""
    for folder in (place / "data/evidence").iterdir():
        told, raw = (folder / "collection.json").read_bytes(), (folder / "leaves.bin").read_bytes()
        leaves, collection = [raw[i : i + 32] for i in range(0, len(raw), 32)], json.loads(told)
        if digest(told) not in sealed or len(leaves) != collection["items"] or "sha256:" + root_over(leaves).hex() != collection["item_root"]:
            yield f"data/evidence/{folder.name}: is not a collection that was sealed"
        sealed = sealed - {digest(told)}
        for file in sorted(folder.glob("items-*.bin")):
            data, at = file.read_bytes(), 0
            while at < len(data):
                index, salt, length = struct.unpack_from(">Q16sI", data, at)
                item, at = data[at + 28 : at + 28 + length], at + 28 + length
                if len(item) != length or sha256(b"\x00" + sha256(salt + item)) != leaves[index]:
                    yield f"data/evidence/{folder.name}/{file.name}: item {index} is not the one that was sealed"
    yield from (f"data/evidence: the collection {one} is missing" for one in sealed)


def ssh_parts(blob: bytes) -> list[bytes]:
    parts: list[bytes] = []
    while blob:
        length = struct.unpack_from(">I", blob)[0]
        parts, blob = [*parts, blob[4 : 4 + length]], blob[4 + length :]
    return parts


def decisions(place: Path, log: Entries) -> Iterator[str]:
    """What people signed is what the log holds, by a key that was listed for them (not Ed25519: ssh-keygen checks)."""
    for folder in sorted((place / "data/decisions").glob("*")):
        text, armor = (folder / "statement.json").read_bytes(), (folder / "statement.json.sig").read_text()
        person, namespace = ((folder / name).read_text().strip() for name in ("person", "namespace"))
        entry = log[int(folder.name)]
        said = entry["body"].get("statement") or entry["body"].get("signed")
        same = said == json.loads(text) if said else digest(text) in entry["subject"].values()
        public, space, reserved, algorithm, signature = ssh_parts(base64.b64decode("".join(armor.split("-----")[2].split()))[10:])
        listed = [line.split(" ") for line in (folder / "allowed_signers").read_text().splitlines()]
        parts = (space, reserved, algorithm, hashlib.new(algorithm.decode(), text).digest())
        message = b"SSHSIG" + b"".join(struct.pack(">I", len(part)) + part for part in parts)
        if not same or armor != entry["body"]["proof"]["signature"] or json.loads(text)["person"] != person:
            yield f"data/decisions/{folder.name}: is not what the log holds"
        elif [person, public, namespace] not in [[one[0], base64.b64decode(one[-1]), space.decode()] for one in listed]:
            yield f"data/decisions/{folder.name}: the key is not listed for {person}, or signed something else"
        elif ssh_parts(public)[0] == b"ssh-ed25519":
            if not signed_by(ssh_parts(public)[1], ssh_parts(signature)[1], message):
                yield f"data/decisions/{folder.name}: the signature does not hold"
        elif subprocess.run(["ssh-keygen", "-Y", "verify", "-f", folder / "allowed_signers", "-I", person, "-n", namespace,
                             "-s", folder / "statement.json.sig"], input=text, check=False, capture_output=True).returncode:
            yield f"data/decisions/{folder.name}: the signature does not hold"


def anchors(place: Path, vkeys: list[str], size: int, root: bytes, authority: str | None) -> Iterator[str]:
    """Every earlier head leads to this one; every time-stamp is over its head (checked when you name its authority)."""
    paths = {proof["size"]: proof["path"] for proof in map(json.loads, lines_of(place, "anchors/consistency.jsonl"))}
    for file in sorted((place / "data/anchors").glob("*.note")):
        old, old_root, body = head_of(file.read_bytes(), vkeys)
        path, index, last = [bytes.fromhex(step) for step in paths[old]], old - 1, size - 1
        while index & 1:
            index, last = index >> 1, last >> 1
        start, *rest = path if old & (old - 1) and old != size else [old_root, *path]
        if walk(index, last, start, start, rest) != (old_root, root) and (old, old_root) != (size, root):
            yield f"data/anchors/{file.name}: does not lead to this head: the log was rewritten since"
        if file.with_suffix(".body").read_bytes() != body:
            yield f"data/anchors/{file.stem}.body: is not the signed text"
        token = file.with_suffix(".tsr")
        if authority and token.exists() and subprocess.run(
            ["openssl", "ts", "-verify", "-data", file.with_suffix(".body"), "-in", token, "-CAfile", authority],
            check=False, capture_output=True).returncode:
            yield f"data/anchors/{token.name}: the time-stamp does not hold"


def verify(place: Path, vkey: str, authority: str | None = None) -> list[str]:
    """Everything that is wrong with the bundle, in words; empty when it holds."""
    wrong: list[str] = []
    try:
        wrong += bag(place)
        size, root, body = head_of((place / "data/checkpoint").read_bytes(), [vkey])
        mine = list(entries(place, "entries", "proofs", size, root))
        log = {index: entry for index, entry, _ in [*mine, *entries(place, "installation", "installation-proofs", size, root)]}
        known = {named for entry in log.values() for named in entry["subject"].values()}
        sealed = {entry["subject"][name] for entry in log.values() for name in ("collection", "before") if name in entry["subject"]}
        earlier = [entry["body"]["vkey"] for entry in log.values() if entry["type"] == "key_added"]  # proven to be in the log
        wrong += [] if (place / "data/checkpoint.body").read_bytes() == body else ["data/checkpoint.body: is not the signed text"]
        wrong += [*chain(mine, size, place), *objects(place, known), *evidence(place, sealed)]
        wrong += [*decisions(place, log), *anchors(place, [vkey, *earlier], size, root, authority)]
    except (ValueError, KeyError, IndexError, TypeError, OSError, struct.error) as error:
        wrong.append(f"unreadable, or not what it claims to be: {error!r}")
    return wrong


if __name__ == "__main__":
    faults = verify(Path(sys.argv[1]), sys.argv[2], *sys.argv[3:4])
    print("\n".join(faults) or "Everything holds.")
    sys.exit(bool(faults))
