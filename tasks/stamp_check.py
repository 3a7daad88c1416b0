"""Time-stamps of a bundle: each over its head, by its authority, and in keeping with what the entries say of themselves.

A stamp proves that everything under its head was written by then, and nothing about how long before: whoever holds the
log's key can write it all anew and have that stamped today. So the entries' own times are held against the stamps:
1. An entry that claims to be younger than a stamp over it is a fault (the two clocks may differ by five minutes).
2. An entry that was first stamped long after it says that it was written is a caveat that names the delay.
"""

import re
import shutil
import subprocess
import tempfile
from bisect import bisect_right
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

from runbooks.domain.audit import Finding, caveat, fault
from runbooks.domain.checkpoint import Checkpoint
from runbooks.domain.instants import Instant, later, milliseconds_between, moment
from runbooks.domain.ledger import LedgerEntry
from runbooks.domain.timestamp import NoStampError, read_response, request_for
from tasks.bag import Bag, read

CLOCKS_DIFFER_SECONDS = 300
"""By how much the clock of the installation may be ahead of the authority's."""
LATE_SECONDS = 600
"""After how long an entry counts as stamped late: ten times the interval at which the keeper anchors."""
_SIZE = re.compile(r"data/anchors/([1-9][0-9]{0,18})\.tsr")


def check_stamps(
    bag: Bag, names: list[str], heads: dict[int, Checkpoint], entries: list[LedgerEntry], authority: Path | None,
    findings: list[Finding],
) -> int:  # fmt: skip
    """Judge these time-stamps and the entries by them; returns the size of the largest head with one that holds.

    Without an authority no signature is checked; what a stamp says is compared all the same.
    """
    told: dict[int, Instant] = {}
    for name in names:
        part = _SIZE.fullmatch(name)
        if part and (head := heads.get(int(part[1]))) is not None:
            at = _stamp(bag, name, head, authority, findings)
            if at is not None:
                told[head.size] = at
    _compare(entries, told, findings)
    return max(told, default=0)


def _compare(entries: list[LedgerEntry], told: dict[int, Instant], findings: list[Finding]) -> None:
    sizes = sorted(told)
    earliest = list(accumulate((told[size] for size in reversed(sizes)), min))[::-1]  # over this head or a larger one
    late: dict[Instant, list[LedgerEntry]] = {}
    for entry in entries:
        place = bisect_right(sizes, entry.index)
        if place == len(sizes):
            continue
        at = earliest[place]
        if entry.at > later(at, CLOCKS_DIFFER_SECONDS):  # 1
            findings.append(
                fault(f"entry {entry.index}", f"says that it was written at {entry.at}; a stamp over it is of {at}.",
                      "its time was made up, or the clock of the installation was wrong.")
            )  # fmt: skip
        elif milliseconds_between(entry.at, at) > 1000 * LATE_SECONDS:
            late.setdefault(at, []).append(entry)
    findings += [  # 2
        caveat(f"entries {some[0].index} to {some[-1].index}",
               f"were first stamped at {at}, up to {_span(min(e.at for e in some), at)} after they were written.",
               "until then whoever holds the log's key could have written them anew: compare with older copies (--anchor).")
        for at, some in sorted(late.items())
    ]  # fmt: skip


def _span(since: Instant, until: Instant) -> str:
    """In the largest unit that fills at least two: `3 days`, `26 hours`, `11 minutes`."""
    seconds = milliseconds_between(since, until) // 1000
    for length, word in ((86_400, "days"), (3600, "hours")):
        if seconds >= 2 * length:
            return f"{round(seconds / length)} {word}"
    return f"{round(seconds / 60)} minutes"


def _stamp(bag: Bag, name: str, anchor: Checkpoint, authority: Path | None, findings: list[Finding]) -> Instant | None:
    """The time that it tells, unless it is not over this head or its signature does not hold."""
    try:
        token = read(bag, name, 1 << 20)
        stamp = read_response(token)
    except (KeyError, ValueError) as error:
        said = str(error) if isinstance(error, NoStampError) else "cannot be read"
        findings.append(fault(name, f"{said}.", "this time-stamp was changed; it proves nothing."))
        return None
    imprint = sha256(anchor.body())
    try:
        asked = read(bag, name.replace(".tsr", ".tsq"), 4096)
    except (KeyError, ValueError):
        asked = b""
    if stamp.imprint != imprint.hexdigest():
        findings.append(fault(name, "is over something else than its head.", "it was exchanged; it proves nothing."))
        return None
    if stamp.nonce is None or asked != request_for(imprint.digest(), stamp.nonce):
        findings.append(
            fault(name.replace(".tsr", ".tsq"), "is not the request that was answered.", "it was exchanged.")
        )
        return None
    if authority is None:
        findings.append(
            caveat(name, f"says {stamp.at}; its signature was not checked.", "give --tsa-ca to have it checked.")
        )
        return stamp.at
    return stamp.at if _verified(token, anchor.body(), authority, name, stamp.at, findings) else None


def _verified(token: bytes, body: bytes, authority: Path, name: str, at: Instant, findings: list[Finding]) -> bool:
    """By openssl, with the certificates judged at the time of the stamp: an authority's certificate may end later."""
    program = shutil.which("openssl")
    if program is None:
        findings.append(fault(name, "could not be checked: openssl is not installed.", "it is not proven by this."))
        return False
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
    return not done.returncode
