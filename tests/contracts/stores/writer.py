"""Processes that write one ledger at once, for tests that race or kill them: `python -m tests.contracts.stores.writer …`.

append URL PROCESSES COUNT      each writes COUNT entries; one line per entry, after it was acknowledged
claim  URL PROCESSES EFFECT     each waits for the start, tries once, and says its fence or `held`
lease  URL PROCESSES NAME       the same for a lease

One interpreter is loaded and forked, because loading it takes much longer than writing.
"""

import os
import sys

from runbooks.domain.ledger import Actor, ActorKind, Draft, EntryType
from tasks.stores import open_ledger
from tasks.stores.base import LedgerStore

NOW = "2026-11-21T02:00:00.000000000Z"
GRANT = "sha256:" + "a" * 64


def a_draft(key: str, incident: str | None = "INC-0001", kind: EntryType = EntryType.EFFECT_APPLIED) -> Draft:
    return Draft(key=key, type=kind, actor=Actor(kind=ActorKind.FLOW, name="test"), incident=incident, body={"of": key})


def alive(_holder: str) -> bool:
    return False


def _say(line: object) -> None:
    os.write(1, f"{line}\n".encode())  # whole lines, also when several processes share the pipe


def _append(store: LedgerStore, me: int, count: int) -> None:
    for number in range(count):
        entry = store.append(a_draft(f"w{me}/{number}", f"INC-000{number % 3}"), NOW)
        _say(f"{entry.key} {entry.index}")


def _claim(store: LedgerStore, me: int, effect: str) -> None:
    row = store.take_claim(
        effect, incident="INC-0001", grant=GRANT, holder=f"holder-{me}", now=NOW, lease_seconds=60, gone=alive,
        draft=lambda fence, resumed: a_draft(f"claimed/{fence}/{resumed}"),
    )  # fmt: skip
    _say("held" if row is None else row.fence)


def _lease(store: LedgerStore, me: int, name: str) -> None:
    fence = store.take_lease(name, holder=f"holder-{me}", now=NOW, seconds=60, gone=alive)
    _say("held" if fence is None else fence)


def main(what: str, url: str, processes: int, last: str) -> None:
    """Fork, let every child open the ledger for itself, and start them all when the last is ready."""
    ready, tell_ready = os.pipe()
    start, tell_start = os.pipe()
    children = []
    for me in range(processes):
        child = os.fork()
        if child == 0:
            os.close(tell_start)
            store = open_ledger(url)
            os.write(tell_ready, b".")
            os.read(start, 1)  # returns when the parent closes its end
            if what == "append":
                _append(store, me, int(last))
            else:
                {"claim": _claim, "lease": _lease}[what](store, me, last)
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(ready, 1)
    os.close(tell_start)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
