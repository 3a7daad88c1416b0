"""Anchors of a bundle against its checkpoint, and against the copies that an auditor holds."""

import json
import re
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from runbooks.domain import bundle
from runbooks.domain.audit import Finding, caveat, fault
from runbooks.domain.checkpoint import Checkpoint, FormatError, VerifierKey
from runbooks.domain.instants import Instant, moment
from runbooks.domain.merkle import is_consistent
from runbooks.domain.timestamp import NoStampError, read_response, request_for
from runbooks.domain.value import Digest, canonical
from tasks.bag import Bag, read
from tasks.checkpoints import open_note

_FOLDER = "data/anchors/"
_NAME = re.compile(r"data/anchors/([1-9][0-9]{0,18})\.(note|body|tsq|tsr)")
_REWRITTEN = "the log was rewritten after this head was put out of the operator's reach."
MOST_COPIES = 1_000_000


def check_anchors(
    bag: Bag, head: Checkpoint, keys: list[VerifierKey], findings: list[Finding], checked: dict[str, int], *,
    authority: Path | None, copies: Path | None, opened: int, recorded: set[Digest],
) -> None:  # fmt: skip
    """Every earlier head leads to this one; every time-stamp is over its head; the auditor's copies say the same.

    `recorded`: digests that entries of the log name. An anchor of an earlier head is on record; the newest cannot be yet.
    """
    names = [name for name in bag.names() if name.startswith(_FOLDER) and name != bundle.CONSISTENCY]
    paths = _paths(bag, findings)
    heads: dict[int, Checkpoint] = {}
    for name in names:
        found = _NAME.fullmatch(name)
        if found is None:
            findings.append(fault(name, "is no file of an anchor.", "it was added or renamed."))
        elif found[2] == "note":
            _note(bag, name, int(found[1]), keys, heads, findings)
    for size, anchor in sorted(heads.items()):
        _joined(anchor, head, paths.get(size), f"{_FOLDER}{size}.note", findings)
    findings += [
        fault(bundle.CONSISTENCY, f"joins a head of size {size} that is not here.", "an anchor was taken out.")
        for size in sorted(set(paths) - set(heads))
    ]
    findings += [
        fault(name, "is not the one that the log holds.", "this anchor was exchanged after the export.")
        for name in names
        if (part := _NAME.fullmatch(name))
        and part[2] != "body"
        and int(part[1]) < head.size
        and "sha256:" + bag.sha256(name) not in recorded
    ]
    stamps = [name for name in names if name.endswith(".tsr")]
    for name in stamps:
        _stamp(bag, name, heads, authority, findings)
    findings += [
        fault(name, "stands without its note or response.", "a part of an anchor was taken out.")
        for name in names
        if (part := _NAME.fullmatch(name)) and (int(part[1]) not in heads or not _whole(name, names))
    ]
    covered = max(heads, default=0)
    checked["anchors"], checked["time_stamps"] = len(heads), len(stamps)
    if covered < head.size:
        findings.append(
            caveat(_FOLDER, f"entries {max(covered, opened)} to {head.size - 1} are covered by no anchor.",
                   "whoever holds the log's key could have written them anew until this bundle was handed over.")
        )  # fmt: skip
    if copies is not None:
        _copies(copies, head, keys, paths, opened, findings, checked)


def _whole(name: str, names: list[str]) -> bool:
    stem, _, kind = name.rpartition(".")
    needed = {"note": (".body",), "body": (".note",), "tsq": (".tsr",), "tsr": (".tsq",)}[kind]
    return all(stem + other in names for other in needed)


def _paths(bag: Bag, findings: list[Finding]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    try:
        for line in read(bag, bundle.CONSISTENCY).splitlines(keepends=True):
            proof = json.loads(line)
            found[int(proof["size"])] = [bytes.fromhex(step) for step in proof["path"]]
            if canonical(proof) + b"\n" != line or line != line.lower():
                raise FormatError("a line is not written in the one form that it has")
    except (KeyError, ValueError, TypeError):
        findings.append(fault(bundle.CONSISTENCY, "cannot be read.", "earlier heads cannot be joined to this one."))
    return found


def _note(
    bag: Bag, name: str, size: int, keys: list[VerifierKey], heads: dict[int, Checkpoint], findings: list[Finding]
) -> None:
    try:
        anchor, _ = open_note(read(bag, name, 65_536), keys)
        if anchor.size != size or read(bag, name.replace(".note", ".body"), 65_536) != anchor.body():
            raise FormatError("name, note and body disagree")
        heads[size] = anchor
    except (KeyError, ValueError) as error:
        said = str(error) if isinstance(error, FormatError) else "it cannot be read"
        findings.append(fault(name, f"{said}.", "this anchor was changed or is of another log."))


def _joined(
    anchor: Checkpoint, head: Checkpoint, path: list[bytes] | None, where: str, findings: list[Finding]
) -> None:
    old, new = (bytes.fromhex(one.root.removeprefix("sha256:")) for one in (anchor, head))
    if anchor.origin != head.origin or path is None or not is_consistent(anchor.size, old, head.size, new, path):
        findings.append(fault(where, f"the head of size {anchor.size} does not lead to this one.", _REWRITTEN))


def _stamp(bag: Bag, name: str, heads: dict[int, Checkpoint], authority: Path | None, findings: list[Finding]) -> None:
    found = _NAME.fullmatch(name)
    anchor = heads.get(int(found[1])) if found else None
    if anchor is None:
        return
    try:
        token = read(bag, name, 1 << 20)
        stamp = read_response(token)
    except (KeyError, ValueError) as error:
        said = str(error) if isinstance(error, NoStampError) else "cannot be read"
        findings.append(fault(name, f"{said}.", "this time-stamp was changed; it proves nothing."))
        return
    imprint = sha256(anchor.body())
    try:
        asked = read(bag, name.replace(".tsr", ".tsq"), 4096)
    except (KeyError, ValueError):
        asked = b""
    if stamp.imprint != imprint.hexdigest():
        findings.append(fault(name, "is over something else than its head.", "it was exchanged; it proves nothing."))
    elif stamp.nonce is None or asked != request_for(imprint.digest(), stamp.nonce):
        findings.append(
            fault(name.replace(".tsr", ".tsq"), "is not the request that was answered.", "it was exchanged.")
        )
    elif authority is None:
        findings.append(
            caveat(name, f"says {stamp.at}; its signature was not checked.", "give --tsa-ca to have it checked.")
        )
    else:
        _verified(token, anchor.body(), authority, name, stamp.at, findings)


def _verified(token: bytes, body: bytes, authority: Path, name: str, at: Instant, findings: list[Finding]) -> None:
    """By openssl, with the certificates judged at the time of the stamp: an authority's certificate may end later."""
    program = shutil.which("openssl")
    if program is None:
        findings.append(fault(name, "could not be checked: openssl is not installed.", "it is not proven by this."))
        return
    with tempfile.TemporaryDirectory(prefix="quell-stamp-") as private:
        response, data = Path(private) / "token", Path(private) / "body"
        response.write_bytes(token)
        data.write_bytes(body)
        command = [program, "ts", "-verify", "-data", str(data), "-in", str(response), "-CAfile", str(authority)]
        command += ["-attime", str(int(moment(at).timestamp()))]
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    if done.returncode:
        findings.append(
            fault(
                name, "its signature does not hold under this authority.", "it was forged, or is of another authority."
            )
        )


def _copies(
    place: Path, head: Checkpoint, keys: list[VerifierKey], paths: dict[int, list[bytes]], opened: int,
    findings: list[Finding], checked: dict[str, int],
) -> None:  # fmt: skip
    """The auditor's own copies of anchored heads: each since the opening must lead to the head of this bundle."""
    folder = place / head.origin if (place / head.origin).is_dir() else place
    files = sorted(folder.glob("*.note"))[:MOST_COPIES]
    agreed = later = 0
    for file in files:
        try:
            copy, _ = open_note(file.read_bytes()[: 1 << 17], keys)
        except (OSError, FormatError):
            findings.append(
                fault(str(file), "is not a head signed by this log.", "the copy was changed, or is another log's.")
            )
            continue
        if copy.size > head.size:
            later += 1
        elif copy.size > opened:
            before = len(findings)
            _joined(copy, head, [] if copy.size == head.size else paths.get(copy.size), str(file), findings)
            agreed += len(findings) == before
    checked["copies_that_agree"] = agreed
    if not files:
        findings.append(fault(str(place), f"holds no head of {head.origin}.", "nothing was compared with your copies."))
    if later:
        findings.append(
            caveat(str(folder), f"{later} copies are newer than this bundle.", "they were not compared with it.")
        )
