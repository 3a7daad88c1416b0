"""The only pen. Everything that happened, was decided, or failed is written here, from whichever process."""

import os
import socket
import time
from collections.abc import Collection
from pathlib import Path

from runbooks.domain.grant import Claim
from runbooks.domain.instants import Instant, instant_from_ns, later
from runbooks.domain.ledger import Actor, ActorKind, Draft, EntryType, LedgerEntry
from runbooks.domain.value import Digest, Json
from tasks.stores.base import LedgerStore


def clock() -> Instant:
    """This machine's UTC clock, nanoseconds."""
    return instant_from_ns(time.time_ns())


def _boot() -> str:
    """This boot of this machine, and within it this namespace of process ids: containers may share a host name."""
    file, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    boot = file.read_text().strip()[:8] if file.exists() else "unknown"
    return f"{boot}.{space.stat().st_ino}" if space.exists() else boot


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot, so that a reused process id is told apart; '' if it is dead.

    A zombie is dead: it acts no more, and a machine without a good process 1 keeps it for ever.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def beginnings_before(store: LedgerStore, entries: list[LedgerEntry]) -> list[LedgerEntry]:
    """What was written on the runs of an incident before it stood: the keeper let one begin again."""
    runs = {entry.flow_run_id for entry in entries if entry.flow_run_id}
    found = store.walk(types=(EntryType.RESPONSE_RESTARTED,))
    return [entry for entry in found if entry.incident is None and entry.flow_run_id in runs]


def this_process(what: str) -> str:
    """Name of this process as holder of claims and leases: machine, boot, process id, start time, and what it is."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{_boot()}/{pid}/{_started(pid)}/{what}"


def is_gone(holder: str) -> bool:
    """Whether a holder on this very machine is certainly dead. Another machine's or container's is never judged."""
    host, where, pid, started, _ = (holder.split("/", 4) + [""] * 5)[:5]
    if host != socket.gethostname() or not Path("/proc/self/stat").exists():
        return False
    (boot, _, space), (our_boot, _, our_space) = where.partition("."), _boot().partition(".")
    if boot != our_boot:
        return "unknown" not in (boot, our_boot)
    return space == our_space and pid.isdigit() and (not started or _started(int(pid)) != started)


class Pen:
    """Writes entries and reads them back. `who` is this process in the words of the ledger's actor."""

    def __init__(self, store: LedgerStore, who: Actor, flow_run_id: str | None = None) -> None:
        self._store = store
        self._who = who
        self._flow_run_id = flow_run_id

    @property
    def store(self) -> LedgerStore:
        """The store behind the pen, for reading."""
        return self._store

    def write(
        self,
        kind: EntryType,
        key: str,
        *,
        incident: str | None = None,
        subject: dict[str, Digest] | None = None,
        body: dict[str, Json] | None = None,
        actor: Actor | None = None,
    ) -> LedgerEntry:
        """Append one entry, durable before this returns; the same key again returns the entry that stands."""
        return self._store.append(self.draft(kind, key, incident, subject, body, actor), clock())

    def draft(
        self,
        kind: EntryType,
        key: str,
        incident: str | None,
        subject: dict[str, Digest] | None = None,
        body: dict[str, Json] | None = None,
        actor: Actor | None = None,
    ) -> Draft:
        """What `write` appends, for callers that append within a transaction of the store."""
        return Draft(
            key=key, type=kind, actor=actor or self._who, incident=incident, flow_run_id=self._flow_run_id,
            subject=subject or {}, body=body or {},
        )  # fmt: skip

    def claim(
        self,
        effect_key: str,
        grant: Digest,
        incident: str,
        action: Digest,
        lease_seconds: int,
        rests_on: dict[str, Digest],
    ) -> Claim | None:
        """Consume a grant for one effect, in one transaction with its entry; None when another live worker has it."""
        now = clock()
        holder = this_process(self._who.name)

        def draft(fence: int, resumed: bool) -> Draft:
            return self.draft(
                EntryType.EFFECT_CLAIMED, f"claimed/{effect_key}/{fence}", incident,
                {"grant": grant, "action": action, **rests_on},
                {"effect": effect_key, "fence": fence, "resumed": resumed, "holder": holder},
            )  # fmt: skip

        row = self._store.take_claim(
            effect_key, incident=incident, grant=grant, holder=holder, now=now, lease_seconds=lease_seconds, draft=draft,
            gone=is_gone,
        )  # fmt: skip
        if row is None:
            return None
        return Claim(
            effect_key=effect_key, grant=grant, holder=holder, fence=row.fence,
            lease_until=later(now, lease_seconds), resumed=row.resumed,
        )  # fmt: skip

    def entries(self, incident: str | None = None, *, types: Collection[EntryType] = ()) -> list[LedgerEntry]:
        """Entries in order of their index."""
        return self._store.entries(incident, types=types)

    def last(self, incident: str, *types: EntryType) -> LedgerEntry | None:
        """The newest entry of these types of one incident."""
        found = self._store.entries(incident, types=types)
        return found[-1] if found else None

    def find(self, key: str) -> LedgerEntry | None:
        """The entry under this key."""
        return self._store.find(key)


def flow_actor(name: str) -> Actor:
    """The actor that a flow writes as."""
    return Actor(kind=ActorKind.FLOW, name=name)


def person_actor(name: str) -> Actor:
    """A proven person."""
    return Actor(kind=ActorKind.PERSON, name=name)


def door_actor(name: str) -> Actor:
    """A door: somebody came through it, unproven."""
    return Actor(kind=ActorKind.DOOR, name=name)


KEEPER = Actor(kind=ActorKind.KEEPER, name="keeper")
INSTALLATION = Actor(kind=ActorKind.INSTALLATION, name="installation")
