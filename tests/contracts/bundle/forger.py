"""The tools of a hostile operator: whatever stands in the log or in an object, the log written anew and signed over it."""

import json
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runbooks.domain import bundle
from runbooks.domain.checkpoint import Checkpoint
from runbooks.domain.merkle import Tree, leaf
from runbooks.domain.value import digest_of
from tasks.checkpoints import signed
from tasks.keys import LogKey
from tests.contracts.bundle.ground import Files, with_digests

KEY = LogKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32), "a-forger")
LEDGER = ((bundle.ENTRIES, bundle.PROOFS), (bundle.HOUSE_ENTRIES, bundle.HOUSE_PROOFS))

HOSTILE: dict[str, bytes] = {
    "deep": b"[" * 60_000,
    "nested": b"[" * 400 + b"]" * 400,
    "nested objects": b'{"a":' * 300 + b"1" + b"}" * 300,
    "not a number": b"NaN",
    "infinite": b"Infinity",
    "too large": b"-1e999",
    "long number": b"9" * 5000,
    "large number": b"9" * 4000,
    "lone surrogate": b'"\\ud800"',
    "a fraction": b"0.5",
    "negative": b"-1",
    "nothing": b"null",
    "a list": b"[[]]",
    "an object": b'{"a":{}}',
    "text": b'"x"',
    "true": b"true",
    "cut": b'{"a',
    "no UTF-8": b'"\xff"',
}
"""What no honest writer puts where JSON is expected."""


def written_anew(files: Files, lines: dict[str, list[bytes]]) -> Files:
    """The bundle with these lines in its ledger files, each proven in a log of nothing else, signed by KEY."""
    place: list[tuple[int, str, int]] = []
    for entries, proofs in LEDGER:
        for number, proof in enumerate(files[proofs].splitlines()):
            place.append((json.loads(proof)["index"], entries, number))
    order = sorted(place)
    tree = Tree([leaf(lines[name][number]) for _, name, number in order])
    made = dict(files)
    for entries, proofs in LEDGER:
        made[entries] = b"".join(line + b"\n" for line in lines[entries])
        mine = [(number, index) for index, (_, name, number) in enumerate(order) if name == entries]
        made[proofs] = b"".join(bundle.proof_line(index, tree.inclusion(index)) for _, index in sorted(mine))
    note = signed(Checkpoint(origin=KEY.verifier.name, size=tree.size, root="sha256:" + tree.root().hex()), KEY)
    made[bundle.CHECKPOINT], made[bundle.CHECKPOINT_BODY] = note.encoded(), note.text.encode()
    return with_digests(made)


def ledger_lines(files: Files) -> dict[str, list[bytes]]:
    """The lines of the ledger files, without their ends."""
    return {entries: files[entries].splitlines() for entries, _ in LEDGER}


def replaced_files(files: Files) -> Iterator[tuple[str, Files]]:
    """One file of each kind as each hostile document, and with it as its first line; the lists of digests made again."""
    seen: set[str] = set()
    for name in sorted(files):
        kind = name.rpartition("/")[2] if name.endswith((".json", ".jsonl")) else name.rpartition("-")[0]
        if name.startswith("data/") and files[name][:1] == b"{" and kind not in seen:
            seen.add(kind)
            for words, value in HOSTILE.items():
                yield f"{name}: {words}", with_digests({**files, name: value})
                if name.endswith(".jsonl"):
                    rest = files[name].partition(b"\n")[2]
                    yield f"{name}, line 1: {words}", with_digests({**files, name: value + b"\n" + rest})


def forged_objects(files: Files) -> Iterator[tuple[str, Files]]:
    """One object of each name replaced, by each hostile document, and its digest in every entry with it."""
    seen: set[str] = set()
    for name in sorted(files):
        kind, _, old = name.rpartition("-")
        if name.startswith("data/objects/") and kind not in seen:
            seen.add(kind)
            for words, data in _spoiled(files[name]):
                new = digest_of(data).removeprefix("sha256:")
                made = {other: content for other, content in files.items() if other != name} | {f"{kind}-{new}": data}
                lines = {
                    entries: [line.replace(old.encode(), new.encode()) for line in some]
                    for entries, some in ledger_lines(files).items()
                }
                yield f"{kind.removeprefix('data/objects/')}: {words}", written_anew(made, lines)


def forged_entries(files: Files) -> Iterator[tuple[str, Files]]:
    """One entry of each type with each hostile value in each place of it."""
    for entries, some in ledger_lines(files).items():
        seen: set[str] = set()
        for number, line in enumerate(some):
            kind = json.loads(line)["type"]
            if kind not in seen:
                seen.add(kind)
                for words, data in _spoiled(line):
                    lines = ledger_lines(files)
                    lines[entries][number] = data
                    yield f"{kind}: {words}", written_anew(files, lines)


def _spoiled(line: bytes) -> Iterator[tuple[str, bytes]]:
    """The document replaced whole, and each of its fields and of the fields inside these."""
    for words, value in HOSTILE.items():
        yield words, value
        try:
            document = json.loads(line)
        except ValueError:
            continue
        for field, inner in document.items() if isinstance(document, dict) else ():
            yield f"{field} {words}", _with(document, (field,), value)
            for below in inner if isinstance(inner, dict) else ():
                yield f"{field}.{below} {words}", _with(document, (field, below), value)


def _with(document: dict[str, object], path: tuple[str, ...], value: bytes) -> bytes:
    """The canonical form with raw bytes in one place."""
    mark = "a mark that stands for what is put in its place"
    copy = json.loads(json.dumps(document))
    at = copy
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = mark
    text = json.dumps(copy, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return text.replace(json.dumps(mark).encode(), value)
