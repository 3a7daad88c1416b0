# fmt: off
"""Check an exported incident bundle with Python, `cryptography`, and nothing of the program that wrote it.

    python verify.py BUNDLE LOG-KEY [TSA-CA.pem]        exit 0: everything holds

LOG-KEY (name+id+base64) must reach you through another channel than the bundle. Read `verify` at the end first: it is
the list of what is checked. Not checked: whether people decided rightly, and that no object of an entry was left out
(both: `quell replay`), your own copies of anchored heads (`quell verify --anchor`), and whether the entries' own times
fit the time-stamps: what was stamped late could be written anew until then (`quell verify` tells).
"""

import base64
import hashlib
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ALWAYS_SIGNED = ("evidence_waived", "break_glass_opened", "incident_reclassified", "lead_changed", "cause_established")


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


def agrees(*command: str | Path, text: bytes = b"") -> bool:
    return subprocess.run(command, input=text, check=False, capture_output=True).returncode == 0


def climb(index: int, last: int, old: bytes, new: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
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


def bag(place: Path) -> Iterator[str]:
    """Every file is listed with its digest, every listed file is there, and there is no other."""
    listed = {"tagmanifest-sha256.txt"}
    for name in ("tagmanifest-sha256.txt", "manifest-sha256.txt"):
        for wanted, path in (line.split("  ", 1) for line in (place / name).read_text().splitlines()):
            file = place / path
            if path.startswith("/") or ".." in path.split("/") or path in listed or file.is_symlink() \
                    or not file.is_file() or sha256(file.read_bytes()).hex() != wanted:
                yield f"{path!r}: is missing, differs from its digest in {name}, or is no path for a bundle"
            listed.add(path)
    there = {file.relative_to(place).as_posix() for file in place.rglob("*") if not file.is_dir()}
    yield from (f"{name}: is listed nowhere" for name in sorted(there - listed))


def head_of(note: Path, vkeys: list[str]) -> tuple[int, bytes]:
    """Size and root of a C2SP checkpoint, if one of these keys signed it and its text stands beside it."""
    text, _, signatures = note.read_bytes().decode().rpartition("\n\n")
    body, (origin, size, root) = (text + "\n").encode(), text.split("\n")
    if note.with_suffix(".body").read_bytes() != body:
        raise ValueError(f"{note.stem}.body: is not the signed text")
    for name, key_id, key in (vkey.split("+", 2) for vkey in vkeys):
        for line in signatures.splitlines():
            blob = base64.b64decode(line.removeprefix(f"\u2014 {name} ") if name == origin else "")
            if blob[:4].hex() == key_id and signed_by(base64.b64decode(key)[1:], blob[4:], body):
                return int(size), base64.b64decode(root)
    raise ValueError(f"{note.name}: a checkpoint that is not signed by the log key that you gave")


def entries(place: Path, stem: str, proofs: str, size: int, root: bytes) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Every entry is in the signed log at its index."""
    cores, paths = ((place / f"data/ledger/{name}.jsonl").read_bytes().splitlines() for name in (stem, proofs))
    for core, proof in zip(cores, map(json.loads, paths), strict=True):
        index, leaf = proof["index"], sha256(b"\x00" + core)
        if climb(index, size - 1, leaf, leaf, [bytes.fromhex(step) for step in proof["path"]])[1] != root:
            raise ValueError(f"data/ledger/{stem}.jsonl: entry {index} is not in the signed log")
        yield index, json.loads(core), "sha256:" + leaf.hex()


def chain(mine: list[tuple[int, dict[str, Any], str]], size: int) -> Iterator[str]:
    """The incident's entries follow one another without a gap; the last one is the seal of this export."""
    before = [None, *(leaf for _, _, leaf in mine)]
    yield from (f"entry {index}: an entry of this incident before it was taken out" for position, (index, entry, _)
                in enumerate(mine) if (entry["incident_seq"], entry["incident_prev"]) != (position, before[position]))
    index, last, _ = mine[-1]
    if last["type"] != "bundle_exported" or index != size - 1 or last["body"]["export"]["count"] != len(mine):
        yield f"entry {index}: is not the seal of this export: something was cut off at the end"


def sealed_files(place: Path, seal: dict[str, Any], known: set[str]) -> Iterator[str]:
    """Report, decisions, other entries and what is withheld are as the seal says; of every object an entry has the digest."""
    for name, path in (("report", "data/report/report.html"), ("installation", "data/ledger/installation.jsonl")):
        if (found := digest((place / path).read_bytes())) != seal["subject"].get(name, found):  # the second is since 3
            yield f"{path}: is not the one that was sealed"
    export, info = seal["body"]["export"], (place / "bag-info.txt").read_text().splitlines()
    words = [f"class {one}: {count} items withheld" for one, count in sorted(export["withheld"].items())]
    words += [f"object withheld: {one}" for one in export["withheld_objects"]]
    words += [f"content of {one} cannot be read any more" for one in export["erased"]]
    if words != [re.sub(r" \([^()]*\)", "", line[10:]) for line in info if line.startswith("Withheld: ")]:
        yield "bag-info.txt: does not tell what was withheld"
    listing = {f"data/decisions/{file.parent.name}/{file.name}": sha256(file.read_bytes()).hex()
               for file in (place / "data/decisions").glob("*/*")}
    if digest(json.dumps(listing, sort_keys=True, separators=(",", ":")).encode()) != seal["subject"]["decisions"]:
        yield "data/decisions: a decision was exchanged, added or taken out"
    for file in (place / "data/objects").iterdir():
        if (found := digest(file.read_bytes())) not in known or file.name.rpartition("-")[2] != found[7:]:
            yield f"data/objects/{file.name}: differs from its digest, or no entry refers to it"


def evidence(place: Path, sealed: set[str], export: dict[str, Any]) -> Iterator[str]:
    """Each collection is as sealed, none is missing; its leaves give its root; as many items as the seal says are here."""
    told = {folder: (folder / "collection.json").read_bytes() for folder in (place / "data/evidence").iterdir()}
    shown, withheld = 0, dict[str, int]()
    for folder, about in ((folder, json.loads(text)) for folder, text in told.items()):
        raw = (folder / "leaves.bin").read_bytes()
        leaves, count = [raw[i : i + 32] for i in range(0, len(raw), 32)], 0
        if digest(told[folder]) not in sealed or "sha256:" + root_over(leaves).hex() != about["item_root"]:
            yield f"data/evidence/{folder.name}: is not a collection that was sealed"
        for file in sorted(folder.glob("items-*.bin")):
            data, at = file.read_bytes(), 0
            while at < len(data):
                index, salt, length = struct.unpack_from(">Q16sI", data, at)
                item, at = data[at + 28 : at + 28 + length], at + 28 + length
                if index != count or at > len(data) or sha256(b"\x00" + sha256(salt + item)) != leaves[index]:
                    raise ValueError(f"data/evidence/{folder.name}/{file.name}: item {count} is not the one sealed")
                count += 1
        shown += count
        if leaves and not count and about["id"] not in export["erased"]:
            withheld[about["evidence_class"]] = withheld.get(about["evidence_class"], 0) + len(leaves)
    if (shown, withheld) != (export["items"], export["withheld"]):
        yield f"data/evidence: {shown} items are here and {withheld} withheld; that is not what was sealed"
    yield from (f"data/evidence: the collection {one} is missing" for one in sealed - set(map(digest, told.values())))


def ssh_parts(blob: bytes) -> list[bytes]:
    length = struct.unpack_from(">I", blob)[0] if blob else 0
    return [blob[4 : 4 + length], *ssh_parts(blob[4 + length :])] if blob else []


def decisions(place: Path, log: dict[int, dict[str, Any]]) -> Iterator[str]:
    """What people signed is what the log holds, by a key that was listed for them (not Ed25519: ssh-keygen judges)."""
    for folder in sorted((place / "data/decisions").glob("*")):
        text, armor = (folder / "statement.json").read_bytes(), (folder / "statement.json.sig").read_text()
        person, namespace = ((folder / name).read_text().strip() for name in ("person", "namespace"))
        said, entry = json.loads(text), log[int(folder.name)]
        if not all([said["person"] == person, armor == entry["body"]["proof"]["signature"],
                    said in entry["body"].values() or digest(text) in entry["subject"].values(),
                    said.get("next") in (None, entry["subject"].get("configuration"))]):
            yield f"data/decisions/{folder.name}: is not what the log holds, or was signed for another step"
        blob = base64.b64decode("".join(armor.split("-----")[2].split()))[10:]
        public, space, reserved, algorithm, signature = ssh_parts(blob)
        parts = (space, reserved, algorithm, hashlib.new(algorithm.decode(), text).digest())
        message = b"SSHSIG" + b"".join(struct.pack(">I", len(part)) + part for part in parts)
        listed = [line.split(" ") for line in (folder / "allowed_signers").read_text().splitlines()]
        if [person, public, namespace] not in [[one[0], base64.b64decode(one[-1]), space.decode()] for one in listed] or not (
                signed_by(ssh_parts(public)[1], ssh_parts(signature)[1], message)
                if ssh_parts(public)[0] == b"ssh-ed25519" else
                agrees("ssh-keygen", "-Y", "verify", "-f", folder / "allowed_signers", "-I", person, "-n", namespace,
                       "-s", folder / "statement.json.sig", text=text)):
            yield f"data/decisions/{folder.name}: the key is not listed for {person}, or the signature does not hold"


def unsigned(place: Path, log: dict[int, dict[str, Any]]) -> Iterator[str]:
    """What must be signed is: not what a one-time code proved, nor an activation where nobody owned the policy before."""
    owners: list[str] = []
    for index, entry in sorted(log.items()):
        kind, activates = entry["type"], entry["type"] == "configuration_activated"
        needed = (owners if activates else kind in ALWAYS_SIGNED
                  or (kind == "decision_recorded" and entry["body"]["proof"]["kind"] != "code"))
        if needed and not ((place / f"data/decisions/{index:09d}").is_dir()
                           and (not activates or entry["body"]["signed"]["person"] in owners)):
            yield f"entry {index}: {kind} without the signature that it needs: no person's word stands behind it"
        if activates:
            object_path = entry["subject"]["configuration"].replace("sha256:", "data/objects/configuration-")
            owners = json.loads((place / object_path).read_bytes())["policy"].get("owners", [])


def anchors(place: Path, vkeys: list[str], head: tuple[int, bytes], log: dict[int, Any], authority: str | None) -> Iterator[str]:
    """Those on record are here; each earlier head leads to this one; each time-stamp is over its head (if you name its authority)."""
    on_record = [(f"{entry['body']['size']}.{part.replace('checkpoint', 'note')}", value) for entry in log.values()
                 if entry["type"] == "checkpoint_anchored" for part, value in entry["subject"].items()]
    there = {file.name: digest(file.read_bytes()) for file in (place / "data/anchors").iterdir()}
    yield from (f"data/anchors/{name}: is missing, or was exchanged" for name, value in on_record if there.get(name) != value)
    paths = {line["size"]: [bytes.fromhex(step) for step in line["path"]]
             for line in map(json.loads, (place / "data/anchors/consistency.jsonl").read_bytes().splitlines())}
    for file in sorted((place / "data/anchors").glob("*.note")):
        (old, old_root), (size, root) = head_of(file, vkeys), head
        start, *rest = paths[old] if old & (old - 1) and old != size else [old_root, *paths[old]]
        level = (old & -old).bit_length() - 1
        if climb(old - 1 >> level, size - 1 >> level, start, start, rest) != (old_root, root) and (old, old_root) != head:
            yield f"data/anchors/{file.name}: does not lead to this head: the log was rewritten since"
        token, stamped = file.with_suffix(".tsr"), file.with_suffix(".body")
        if authority and token.exists():  # certificates are judged as of the time that it tells
            told = re.findall(rb"\x09\x10\x01\x04.*?\x18.(\d{14})", token.read_bytes(), re.DOTALL)[0].decode()  # TSTInfo.genTime
            at = str(int(datetime.strptime(told + "+0000", "%Y%m%d%H%M%S%z").timestamp()))
            if not agrees("openssl", "ts", "-verify", "-data", stamped, "-in", token, "-CAfile", authority, "-attime", at):
                yield f"data/anchors/{token.name}: the time-stamp does not hold"


def verify(place: Path, vkey: str, authority: str | None = None) -> list[str]:
    """Everything that is wrong with the bundle, in words; empty when it holds."""
    wrong: list[str] = []
    try:
        wrong += bag(place)
        head = head_of(place / "data/checkpoint", [vkey])
        mine = list(entries(place, "entries", "proofs", *head))
        log = {i: entry for i, entry, _ in [*mine, *entries(place, "installation", "installation-proofs", *head)]}
        named = [(name, value) for entry in log.values() for name, value in entry["subject"].items()]
        earlier = [entry["body"]["vkey"] for entry in log.values() if entry["type"] == "key_added"]  # all in this log
        wrong += [*chain(mine, head[0]), *sealed_files(place, mine[-1][1], {value for _, value in named})]
        wrong += evidence(place, {it for name, it in named if name in ("collection", "before")}, mine[-1][1]["body"]["export"])
        wrong += [*decisions(place, log), *unsigned(place, log), *anchors(place, [vkey, *earlier], head, log, authority)]
    except Exception as error:  # noqa: BLE001 - whatever a hostile bundle makes this reader trip over, it does not hold
        wrong.append(f"unreadable, or not what it claims to be: {error!r}")
    return wrong


if __name__ == "__main__":
    faults = verify(Path(sys.argv[1]), sys.argv[2], *sys.argv[3:4])
    print("\n".join(faults).encode("ascii", "backslashreplace").decode() or "Everything holds.")
    sys.exit(bool(faults))
