"""The record as the connector base sees it, in memory and honest: claims, fences, leases, photographs, receipts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from runbooks.domain.approval import ApprovalRequest, RequestVerdict
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import ContainmentAction, Receipt, Snapshot
from runbooks.domain.errors import ClaimHeldError, Outcome
from runbooks.domain.grant import Claim, Grant, GrantFacts
from runbooks.domain.incident import Incident
from runbooks.domain.instants import Instant, instant_from_ns, later
from runbooks.domain.value import Digest

START_NS = 1_795_226_400_000_000_000  # 2026-11-21
LEASE_SECONDS = 60


class CrashError(BaseException):
    """The worker was killed here."""


@dataclass
class Record:
    """What survives a worker: shared by all authorities of one test."""

    incident: Incident
    configuration: Configuration
    sealed: Digest | None
    waiver: Digest | None = None
    open: bool = True
    requests: dict[Digest, tuple[ApprovalRequest, RequestVerdict]] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    consumed: dict[str, Digest] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    failures: list[tuple[str, Outcome, str]] = field(default_factory=list)
    sendings: list[tuple[str, int]] = field(default_factory=list)
    """Effect key and fence of each."""
    refused_sendings: list[tuple[str, int]] = field(default_factory=list)
    """Of these the ones that ended as not done."""
    refusals: list[tuple[str, ...]] = field(default_factory=list)
    journal: list[str] = field(default_factory=list)
    ticks: "count[int]" = field(default_factory=count)
    shift_seconds: int = 0

    def now(self) -> Instant:
        """A clock that moves one millisecond per look, and `shift_seconds` ahead."""
        return later(instant_from_ns(START_NS + next(self.ticks) * 1_000_000), self.shift_seconds)

    def end_leases(self) -> None:
        """Time passes until every lease has ended."""
        self.shift_seconds += LEASE_SECONDS + 1


class MemoryAuthority:
    """One worker's view of the record. `watch` is called with each word that is recorded; it may raise CrashError."""

    def __init__(self, record: Record, holder: str = "worker-1", watch: Callable[[str], None] = lambda _: None) -> None:
        self.record = record
        self.holder = holder
        self._watch = watch

    def _note(self, word: str) -> None:
        self._watch(word)
        self.record.journal.append(word)

    def facts(self, grant: Grant, action: ContainmentAction) -> GrantFacts:
        self._note("facts")
        request, verdict = self.record.requests.get(grant.request or "", (None, None))
        assert action.incident
        return GrantFacts(
            incident=self.record.incident,
            open=self.record.open,
            sealed=self.record.sealed,
            waiver=self.record.waiver,
            active=self.record.configuration.digest(),
            configuration=self.record.configuration,
            request=request,
            verdict=verdict,
            consumed_by=self.record.consumed.get(grant.effect_key),
            now=self.record.now(),
        )

    def claim(self, grant: Grant, action: ContainmentAction) -> Claim:
        self._note("claim")
        assert action.digest() == grant.action
        earlier = self.record.claims.get(grant.effect_key)
        if earlier is not None and earlier.holder != self.holder and earlier.lease_until > self.record.now():
            raise ClaimHeldError(grant.effect_key, earlier.holder)
        failed = {key for key, outcome, _ in self.record.failures if outcome is Outcome.NOT_DONE}
        claim = Claim(
            effect_key=grant.effect_key,
            grant=grant.digest(),
            holder=self.holder,
            fence=1 if earlier is None else earlier.fence + 1,
            lease_until=later(self.record.now(), LEASE_SECONDS),
            resumed=earlier is not None and grant.effect_key not in failed,
        )
        self.record.claims[grant.effect_key] = claim
        self.record.consumed[grant.effect_key] = grant.digest()
        return claim

    def outcome(self, effect_key: str) -> Receipt | None:
        return self.record.receipts.get(effect_key)

    def before(self, effect_key: str) -> Snapshot | None:
        return self.record.snapshots.get(effect_key)

    def photographed(self, claim: Claim, action: ContainmentAction, snapshot: Snapshot) -> Digest:
        self._note("photographed")
        assert snapshot.target == action.target
        assert claim.effect_key not in self.record.snapshots, "a second photograph of one effect"
        self.record.snapshots[claim.effect_key] = snapshot
        return snapshot.digest()

    def still_held(self, claim: Claim) -> bool:
        self._note("still_held")
        return self.record.claims[claim.effect_key] == claim and claim.lease_until > self.record.now()

    def sending(self, claim: Claim, action: ContainmentAction) -> None:
        self._note("sending")
        assert action.id
        assert self.record.claims[claim.effect_key] == claim
        self.record.sendings.append((claim.effect_key, claim.fence))

    def may_have_arrived(self, claim: Claim, action: ContainmentAction) -> bool:
        assert action.id
        refused = {(key, fence) for key, fence in self.record.refused_sendings if key == claim.effect_key}
        sent = {one for one in self.record.sendings if one[0] == claim.effect_key and one[1] != claim.fence}
        return bool(sent - refused)

    def done(self, claim: Claim, action: ContainmentAction, receipt: Receipt) -> None:
        self._note("done")
        assert (receipt.action, receipt.effect_key) == (action.id, claim.effect_key)
        assert self.record.claims[claim.effect_key].fence == claim.fence, "a stale worker wrote"
        self.record.receipts[claim.effect_key] = receipt

    def not_done(self, claim: Claim, action: ContainmentAction, outcome: Outcome, reason: str) -> None:
        self._note("not_done")
        assert action.id
        self.record.failures.append((claim.effect_key, outcome, reason))
        if outcome is Outcome.NOT_DONE:
            self.record.refused_sendings.append((claim.effect_key, claim.fence))

    def refused(self, grant: Grant, action: ContainmentAction, reasons: tuple[str, ...]) -> None:
        self._note("refused")
        assert grant
        assert action
        self.record.refusals.append(reasons)

    def now(self) -> Instant:
        return self.record.now()
