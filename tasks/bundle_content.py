"""What entries of a bundle refer to: objects, evidence, and what people signed. Each must be exactly what the log names."""

import hashlib
from collections.abc import Iterator

from pydantic import ValidationError

from runbooks.domain import bundle
from runbooks.domain.audit import Finding, caveat, fault
from runbooks.domain.configuration import Configuration
from runbooks.domain.evidence import Collection, EvidenceClass
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.merkle import Tree
from runbooks.domain.merkle import leaf as leaf_of
from runbooks.domain.value import Digest, canonical, digest_of
from tasks.bag import Bag, read
from tasks.signatures import Signatures

_OBJECTS, _EVIDENCE, _DECISIONS = "data/objects/", "data/evidence/", "data/decisions/"
_EXCHANGED = "it was exchanged after the export, or its digests were made again."


def check_objects(
    bag: Bag, entries: list[LedgerEntry], house: list[LedgerEntry], seal: bundle.Export | None,
    findings: list[Finding], checked: dict[str, int],
) -> None:  # fmt: skip
    """Each object has the digest in its name and is referred to; each that is referred to is here, or counted as withheld."""
    there = {name for name in bag.names() if name.startswith(_OBJECTS)}
    wanted = _referred(entries + house)
    withheld = set(seal.withheld_objects) if seal else set()
    for name in sorted(there):
        if name not in wanted:
            findings.append(fault(name, "no entry refers to it.", "it was added, or renamed."))
        elif "sha256:" + bag.sha256(name) != wanted[name]:
            findings.append(fault(name, "differs from the digest that the log holds.", _EXCHANGED))
    findings += [
        fault(name, "an entry refers to it and it is not here.", "it was taken out.")
        for name in sorted(set(wanted) - there)
        if name.removeprefix(_OBJECTS) not in withheld
    ]
    checked["objects"] = len(there)


def _referred(entries: list[LedgerEntry]) -> dict[str, Digest]:
    """Path and digest of every object; each digest once, under the first name that an entry gives it."""
    found: dict[Digest, str] = {}
    for entry in entries:
        for name, digest in bundle.objects_of(entry):
            if name not in bundle.COLLECTIONS and entry.type is not EntryType.CHECKPOINT_ANCHORED:
                found.setdefault(digest, name)
    return {bundle.object_path(name, digest): digest for digest, name in found.items()}


def check_evidence(
    bag: Bag, entries: list[LedgerEntry], seal: bundle.Export | None, findings: list[Finding], checked: dict[str, int]
) -> None:
    """Collections as sealed; leaves give the root; each disclosed item is one of the leaves; the withheld are counted."""
    wanted = {entry.subject[name] for entry in entries for name in bundle.COLLECTIONS if name in entry.subject}
    files: dict[str, list[str]] = {}
    for name in bag.names():
        if name.startswith(_EVIDENCE):
            files.setdefault("/".join(name.split("/")[:3]), []).append(name)
    shown, withheld, sealed = 0, dict[EvidenceClass, int](), set()
    for folder, names in sorted(files.items()):
        collection = _collection(bag, folder, wanted, findings)
        if collection is None:
            continue
        sealed.add(collection.digest())
        odd = [n for n in names if not _belongs(n, folder)]
        findings += [fault(name, "is no file of a collection.", "it was added.") for name in odd]
        leaves = _leaves(bag, folder, collection, findings)
        items = [name for name in names if name.startswith(f"{folder}/items-")]
        count = _items(bag, items, leaves, findings)
        shown += count
        if count == 0 and collection.items and not (seal and collection.id in seal.erased):
            withheld[collection.evidence_class] = withheld.get(collection.evidence_class, 0) + collection.items
        elif 0 < count < collection.items:
            findings.append(
                fault(
                    folder, f"{count} of {collection.items} items are here.", "the others were taken out, or cut off."
                )
            )
    missing = len(wanted - sealed)
    if missing:
        findings.append(fault(_EVIDENCE, f"{missing} sealed collections are not here.", "evidence was taken out."))
    if seal is not None and (withheld, shown) != (seal.withheld, seal.items):
        findings.append(
            fault(_EVIDENCE, f"{shown} items are here, the seal says {seal.items}; or other classes are withheld.",
                  "items were taken out after the export.")
        )  # fmt: skip
    checked["items"] = shown


def _belongs(name: str, folder: str) -> bool:
    rest = name.removeprefix(folder + "/")
    return rest in ("collection.json", "leaves.bin") or (rest.startswith("items-") and rest.endswith(".bin"))


def _collection(bag: Bag, folder: str, wanted: set[Digest], findings: list[Finding]) -> Collection | None:
    name = f"{folder}/collection.json"
    try:
        data = read(bag, name)
        collection = Collection.from_bytes(data)
        _demand(digest_of(data) in wanted and folder == _EVIDENCE + collection.id)
    except (KeyError, ValueError):
        findings.append(fault(name, "is not a collection that the log says was sealed.", _EXCHANGED))
        return None
    return collection


def _leaves(bag: Bag, folder: str, collection: Collection, findings: list[Finding]) -> list[bytes]:
    name = f"{folder}/leaves.bin"
    try:
        _demand(bag.size(name) == 32 * collection.items)
        data = read(bag, name)
    except (KeyError, ValueError):
        findings.append(
            fault(name, f"is not {collection.items} leaves of 32 bytes.", "it was cut, or a count was changed.")
        )
        return []
    if digest_of(data) != collection.leaves or "sha256:" + Tree(data).root().hex() != collection.item_root:
        findings.append(fault(name, "does not give the sealed root.", "items were exchanged, moved or taken out."))
    return [data[start : start + 32] for start in range(0, len(data), 32)]


def _items(bag: Bag, names: list[str], leaves: list[bytes], findings: list[Finding]) -> int:
    """How many items are one of the leaves; in order, each once."""
    count, next_index = 0, 0
    for name in sorted(names):
        try:
            for index, salt, item in records(bag, name):
                _demand(next_index <= index < len(leaves), "an index that was there already, or that has no leaf")
                if leaf_of(hashlib.sha256(salt + item).digest()) != leaves[index]:
                    findings.append(
                        fault(
                            name, f"item {index} is not the one that was sealed.", "its bytes or its salt were changed."
                        )
                    )
                    return count
                next_index, count = index + 1, count + 1
        except (ValueError, KeyError) as error:
            findings.append(fault(name, f"{error}.", "items were moved, doubled, cut, or a length was changed."))
            return count
    return count


def records(bag: Bag, name: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Index, salt and bytes of each item; holds one item and one piece in memory."""
    buffer, whole, passed = bytearray(), bag.size(name), 0
    for piece in bag.stream(name):
        buffer += piece
        while len(buffer) >= bundle.ITEM_HEAD:
            index, length = int.from_bytes(buffer[:8], "big"), int.from_bytes(buffer[24:28], "big")
            end = bundle.ITEM_HEAD + length
            if passed + end > whole:
                raise ValueError(f"an item claims {length} bytes, more than the file has")
            if len(buffer) < end:
                break
            yield index, bytes(buffer[8:24]), bytes(buffer[bundle.ITEM_HEAD : end])
            del buffer[:end]
            passed += end
    if buffer:
        raise ValueError("the file ends in the middle of an item")


def check_decisions(bag: Bag, entries: list[LedgerEntry], findings: list[Finding], checked: dict[str, int]) -> None:
    """Who the log says signed did so, with a key that the configuration of that moment lists for them; and it is here."""
    signatures = Signatures(entries, lambda name, digest: _object(bag, name, digest))
    findings += [
        fault(f"entry {entry.index}", f"{entry.type.replace('_', ' ')}: {why}.",
              "no person's word stands behind this entry; it counts for nothing.")
        for entry in entries if (why := signatures.strays.get(entry.index) or signatures.fault(entry))
    ]  # fmt: skip
    names = {name for name in bag.names() if name.startswith(_DECISIONS)}
    expected: set[str] = set()
    for entry in entries:
        signed = bundle.signed_part(entry, lambda name, digest: _object(bag, name, digest))
        active = signatures.active_before(entry)
        if signed is None or active is None:
            continue
        said, proof, namespace = signed
        folder = f"{_DECISIONS}{entry.index:09d}"
        configuration = _configuration(bag, active)
        files = {
            "statement.json": canonical(said), "statement.json.sig": str(proof["signature"]).encode(),
            "person": f"{said.get('person')}\n".encode(), "namespace": f"{namespace}\n".encode(),
            "verify-time": (entry.at[:19].replace("-", "").replace(":", "").replace("T", "") + "Z\n").encode(),
        }  # fmt: skip
        expected |= {f"{folder}/{name}" for name in (*files, "allowed_signers")}
        for name, data in files.items():
            try:
                _demand(read(bag, f"{folder}/{name}") == data)
            except (KeyError, ValueError):
                findings.append(
                    fault(
                        f"{folder}/{name}",
                        f"is not what entry {entry.index} says.",
                        "a decision was exchanged or taken out.",
                    )
                )
        _allowed(bag, f"{folder}/allowed_signers", configuration, findings)
    findings += [fault(name, "belongs to no signed entry.", "it was added.") for name in sorted(names - expected)]
    listed = {name: bag.sha256(name) for name in names}
    sealed = next((e.subject.get("decisions") for e in reversed(entries) if e.type is EntryType.BUNDLE_EXPORTED), None)
    if sealed != bundle.listing_digest(listed, _DECISIONS):
        findings.append(fault(_DECISIONS, "the files are not those that were sealed.", _EXCHANGED))
    codes = sum(
        e.type is EntryType.DECISION_RECORDED and e.body.get("proof", {}).get("kind") == "code" for e in entries
    )
    if codes:
        findings.append(
            caveat(_DECISIONS, f"{codes} decisions were proven by a one-time code.",
                   "they are attested by quell, not signed by the person; nobody else can check them.")
        )  # fmt: skip
    checked["signatures"] = len(expected) // 6


def _allowed(bag: Bag, name: str, configuration: Configuration | None, findings: list[Finding]) -> None:
    """Whoever the file allows is listed with that key in the configuration of that moment."""
    people = configuration.people if configuration else {}
    keys = {(person, tuple(line.split()[:2])) for person, one in people.items() for line in one.ssh_keys}
    try:
        lines = [line.split(" ") for line in read(bag, name).decode().splitlines()]
        strangers = [line[0] for line in lines if (line[0], tuple(line[-2:])) not in keys]
    except (KeyError, ValueError, IndexError):
        strangers = ["somebody"]
    findings += [
        fault(
            name, f"allows {stranger[:80]!r} a key that was not theirs.", "whoever holds that key could pass for them."
        )
        for stranger in strangers
    ]


def _configuration(bag: Bag, digest: Digest) -> Configuration | None:
    data = _object(bag, "configuration", digest)
    try:
        return Configuration.from_bytes(data) if data is not None else None
    except ValidationError:
        return None


def _object(bag: Bag, name: str, digest: Digest) -> bytes | None:
    """An object of the bundle, if it is here and is what its name says."""
    try:
        data = read(bag, bundle.object_path(name, digest))
    except (KeyError, ValueError):
        return None
    return data if digest_of(data) == digest else None


def _demand(holds: bool, otherwise: str = "") -> None:
    if not holds:
        raise ValueError(otherwise)
