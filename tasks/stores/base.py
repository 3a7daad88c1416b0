"""What the rest of quell may ask of a ledger store and of a vault, and the values that go in and out.

Stores know how to keep bytes and rows; they decide nothing. Every method raises `LedgerError` (ledger) or
`EvidenceError` (vault) when the store is unreachable, full or damaged, and nothing else on purpose.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from runbooks.domain import evidence
from runbooks.domain.correlation import Standing
from runbooks.domain.incident import IncidentId
from runbooks.domain.instants import Instant
from runbooks.domain.ledger import ChainFault, Draft, EntryType, LedgerEntry
from runbooks.domain.signal import Classified, Delivery, Signal, Strength
from runbooks.domain.value import Digest, Value


class ClaimRow(Value):
    """Who holds the right to one effect now."""

    effect_key: str
    grant: Digest
    holder: str
    fence: int
    """Grows by one with every taking; the newest number wins."""
    lease_until: Instant
    resumed: bool = False
    """An earlier taking exists that is not on record as failed: read back before acting. Only `take_claim` says so."""


class LeaseRow(Value):
    """Who holds a named duty now (an incident's response, a keeper's round)."""

    name: str
    holder: str
    fence: int
    lease_until: Instant


class LedgerStore(Protocol):
    """One append-only log, ordered by its database."""

    def append(self, draft: Draft, at: Instant) -> LedgerEntry:
        """The entry that this draft became. Durable before return; the same key again returns the first entry."""

    def append_all(self, drafts: Sequence[Draft], at: Instant) -> list[LedgerEntry]:
        """The same for several, in one transaction: all of them stand, or none."""

    def find(self, key: str) -> LedgerEntry | None:
        """The entry written under this key."""

    def entries(
        self,
        incident: str | None = None,
        *,
        since: int = 0,
        types: Collection[EntryType] = (),
        flow_run_id: str | None = None,
    ) -> list[LedgerEntry]:
        """Entries in index order from index `since` on; each is checked against its leaf hash."""

    def walk(
        self, *, since: int = 0, types: Collection[EntryType] = (), backwards: bool = False
    ) -> Iterator[LedgerEntry]:
        """The same of all incidents, read page by page as they are asked for; `backwards`: the newest first."""

    def leaves(self, size: int) -> bytes:
        """Leaf hashes of the first `size` entries, 32 bytes each; compare what they give with a known root."""

    def incidents(self) -> list[str]:
        """Identifiers of all incidents that have an entry, in order of their first one."""

    def latest(self) -> Instant | None:
        """The latest time of all entries, which need not be the newest one's; None: there is no entry."""

    def size(self) -> int:
        """How many entries there are."""

    def head(self) -> tuple[int, Digest]:
        """Size and RFC 6962 root, without reading entries."""

    def check(self) -> list[ChainFault]:
        """Every fault in the whole log; empty means sound. Reads everything."""

    def demand_whole(self) -> None:
        """LedgerError unless every entry has its leaf and all leaves give the head. Reads everything, keeps nothing."""

    def take_claim(
        self,
        effect_key: str,
        *,
        incident: str,
        grant: Digest,
        holder: str,
        now: Instant,
        lease_seconds: int,
        draft: Callable[[int, bool], Draft],
        gone: Callable[[str], bool],
    ) -> ClaimRow | None:
        """Claim one effect and append `draft(fence, resumed)`, in one transaction; None while another holds it.

        A claim of the same holder, of one whose lease ended, or of one that is `gone` is taken over with the next
        fence. `draft` and `gone` run inside the transaction: they must be quick and must not use this store.
        GrantRefusedError when the effect was claimed under another grant, unless the entries of its `incident` say that
        it is certainly not done (`effects.is_not_done`); read in the same transaction.
        """

    def claim_of(self, effect_key: str) -> ClaimRow | None:
        """The newest claim on this effect, ended or not."""

    def take_lease(
        self, name: str, *, holder: str, now: Instant, seconds: int, gone: Callable[[str], bool]
    ) -> int | None:
        """The fence of a new lease, or None while another live holder has it. `gone` as for `take_claim`."""

    def renew_lease(self, name: str, holder: str, fence: int, *, now: Instant, seconds: int) -> bool:
        """Prolong; False when somebody else took it meanwhile."""

    def release_lease(self, name: str, holder: str, fence: int) -> None:
        """Give it back; nothing happens when it is not held by this holder under this fence any more."""

    def lease_of(self, name: str) -> LeaseRow | None:
        """Who has it, ended or not; None when nobody took it or it was given back."""

    def close(self) -> None:
        """Give all connections up; a later call opens others."""


class SourceFacts(Value):
    """What a source says of itself when it handed something over; the fields of the same names in a Collection."""

    dropped: int | None = None
    unreadable: int | None = None
    source_clock: str | None = None
    clock_offset_ms: int | None = None
    schema_url: str | None = None


class Sealed(Value):
    """What was sealed, and, when the source broke off midway, why there is not more."""

    collection: evidence.Collection
    failure: str | None = None


class Vault(Protocol):
    """Immutable storage, addressed by digest."""

    def put(self, data: bytes) -> Digest:
        """Store a small plain object (manifest, plan, request); durable before return; never overwritten."""

    def get(self, digest: Digest) -> bytes:
        """The object; EvidenceError says whether it is missing or damaged."""

    def has(self, digest: Digest) -> bool:
        """Whether an object of this digest is stored; does not read it."""

    def prolong(self, digest: Digest) -> bool:
        """Lock it anew where objects are locked and half of its time is over; whether it was. EvidenceError if it cannot."""

    def seal(
        self,
        *,
        incident: IncidentId,
        evidence_class: evidence.EvidenceClass,
        source: str,
        media_type: str,
        items: Iterable[bytes],
        facts: SourceFacts | Callable[[], SourceFacts],
        now: Callable[[], Instant],
    ) -> Sealed:
        """Pack, encrypt and store the items as they come, in bounded memory; durable before return.

        `facts` may be a function: it is asked once, after the last item, when the source knows what it dropped.
        When `items` raises, what came before is sealed and `failure` says why there is not more.
        """

    def items(
        self, collection: evidence.Collection, only: Collection[int] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Index and bytes of the items in order, each one verified before it is handed out."""

    def verify(self, collection: evidence.Collection) -> None:
        """That packs and leaves are there, unchanged and complete, without any key; EvidenceError when not."""

    def salts(self, collection_id: str) -> Callable[[int], bytes]:
        """The salt of an item's leaf by the item's index, for disclosing chosen items."""

    def forget(self, collection_id: str) -> None:
        """Erase: destroy key and salts. Items are gone for good; the manifest still verifies."""


class Arrival(NamedTuple):
    """A delivery on its way into the spool: a tuple, not a value, because thousands come in a second."""

    id: str
    source: str
    received_ns: int
    """Since 1970, by this machine's clock; `signed_ns` by the sender's."""
    content_type: str
    headers: tuple[tuple[str, str], ...]
    strength: Strength
    signed_ns: int | None
    secret: str | None
    """Id of the secret that proved it."""
    truncated: bool
    digest: bytes
    """SHA-256 of the whole body, also of the part that was cut off."""
    body: bytes


class Spool(Protocol):
    """Deliveries as they came, in the order in which they were stored. LedgerError when it cannot be read or written."""

    def append(self, arrivals: Sequence[Arrival]) -> None:
        """Store all of them, in one transaction; durable before return. One thread at a time may write."""

    def unread(self, limit: int) -> list[tuple[Delivery, bytes]]:
        """The oldest ones that nobody marked done yet, with their bodies."""

    def read(self, delivery: str) -> tuple[Delivery, bytes] | None:
        """One delivery by its receipt, with its body."""

    def after(self, delivery: str, limit: int) -> list[tuple[Delivery, bytes]]:
        """What was stored after this one, done or not, oldest first; an empty name means from the beginning."""

    def waiting(self) -> tuple[int, int | None]:
        """How many are not done, and when the oldest of them came (nanoseconds since 1970)."""

    def last_from(self, source: str) -> int | None:
        """When this source's newest delivery came (nanoseconds since 1970)."""

    def close(self) -> None:
        """Let it go; nothing else may be called afterwards."""


class TakenSignal(Value):
    """A signal that was kept, and what became of it."""

    delivery: str
    verdict: str
    because: str
    signal: Signal
    classified: Classified


class DeliveryFate(Value):
    """What became of a delivery that was read."""

    unreadable: bool
    incidents: tuple[Standing, ...]
    """How the incidents stand that its signals belong to."""


class OutboxRow(Value):
    """A response to start. `draft` holds what opens its incident; the incident's id is the key of every try."""

    incident: IncidentId
    rank: int
    """Of its severity: 1 is the worst, and is started first."""
    draft: bytes
    made_at: Instant
    opened_at: Instant | None
    """When it came to stand in the ledger."""
    started_at: Instant | None
    run: str | None
    tries: int
    """How often it was refused; those that were not go before."""
    problem: str
