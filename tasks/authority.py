"""The record, as the connector base sees it: facts about a grant, claims, photographs, receipts.

Built here on the ledger and the vault and injected into connectors, which never see either.
"""

import secrets
from collections.abc import Callable

from runbooks.domain.approval import Purpose, Standing
from runbooks.domain.case import LET_THROUGH, acted_at, fences
from runbooks.domain.containment import ContainmentAction, Receipt, Snapshot
from runbooks.domain.effects import OUTCOMES, may_have_arrived
from runbooks.domain.errors import ClaimHeldError, GrantRefusedError, Outcome
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.grant import Claim, Grant, GrantFacts
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Digest
from tasks.approval import find_request, judge_all, plan_of, request_key, verdict_on
from tasks.effects import came_to_nothing
from tasks.glasses import glass_in, opened_glass, standing_alone
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.preauthorising import lapsed, unasked_grant, was_begun
from tasks.presence import demand_presence
from tasks.stores.base import ClaimRow, SourceFacts
from tasks.waiting import pause
from tasks.waiver import waived_by, waivers_of

CLAIM_GRACE_SECONDS = 5
"""Longer than a claim's lease that we wait for another worker, before its claim counts as a failure."""
GIVING_BACK_DAYS = 30
"""How long after a break-glass its own giving back may still be tried."""


def gives_back_until(ends_at: Instant) -> Instant:
    """How long what one person did alone, until `ends_at`, may still be given back without consent."""
    return later(ends_at, 86_400 * GIVING_BACK_DAYS)


def grant_for(
    installation: Installation, writer: Pen, action: ContainmentAction, purpose: Purpose,
    glass: LedgerEntry | None = None,
) -> Grant:  # fmt: skip
    """The grant that the record gives for this act: of its pre-authorisation, else of the request that people answer.

    Built only from what is recorded, so that a re-run builds the very same grant.
    """
    plan = plan_of(installation, action.incident)
    key = action.effect_key if purpose is Purpose.CONTAIN else action.undo_key
    base = {"incident": action.incident, "purpose": purpose, "action": action.digest(), "effect_key": key}
    if glass is not None:
        ends = str(glass.body["ends_at"])
        return Grant(
            **base, manifest=plan.manifest, waiver=plan.waiver, glass=glass.subject["glass"],
            configuration=glass_in(installation, glass).statement.configuration,
            expires_at=ends if purpose is Purpose.CONTAIN else gives_back_until(ends),
        )  # fmt: skip
    claimed = installation.store.claim_of(key)
    unasked = unasked_grant(installation, plan, action) if purpose is Purpose.CONTAIN else None
    if unasked is not None:
        if writer.find(request_key(action.incident, purpose, action)) is None:
            return unasked
        mine = claimed is None or claimed.grant == unasked.digest()
        if mine and action.id not in lapsed(installation, plan):  # else people were asked, and they decide
            return unasked
    judged = judge_all(installation, action.incident)
    asked = [(r, verdict) for r, verdict in judged if r.action == action.digest() and r.purpose is purpose]
    if not asked:
        raise GrantRefusedError(
            f"nobody was asked about {action.id} and no pre-authorisation covers it.",
            now="nothing was sent.", next_step="let the response ask, or look at `quell inbox`.",
        )  # fmt: skip
    grants = {
        request.digest(): Grant(
            **base, manifest=request.manifest, waiver=request.waiver, request=request.digest(),
            configuration=request.configuration, expires_at=request.expires_at,
        ) for request, _ in asked
    }  # fmt: skip
    granted = [grants[request.digest()] for request, v in asked if v.standing is Standing.GRANTED]
    return _chosen(installation, granted, claimed) or list(grants.values())[-1]


def _chosen(installation: Installation, granted: list[Grant], claimed: ClaimRow | None) -> Grant | None:
    """Of the grants that people gave for one effect, oldest first, the one to act under, in this order:

    1. the one that claimed the effect, in its time, or as long as it is not certain that nothing came of it;
    2. the newest in its time; 3. the one that claimed, else the newest, though its time is over.
    """
    now = installation.now()
    in_time = [grant for grant in granted if grant.expires_at >= now]
    begun = [grant for grant in granted if claimed is not None and grant.digest() == claimed.grant]
    for grant in begun:
        if grant in in_time or (claimed and not came_to_nothing(installation, grant.incident, claimed)):
            return grant
    return next(iter([*in_time[-1:], *begun, *granted[-1:]]), None)


class LedgerAuthority:
    """The `Authority` of the domain, on ledger and vault."""

    def __init__(self, installation: Installation, writer: Pen) -> None:
        self._installation = installation
        self._pen = writer

    def now(self) -> Instant:
        """This machine's clock."""
        return clock()

    def facts(self, grant: Grant, action: ContainmentAction) -> GrantFacts:
        """What the record says about this grant, read now."""
        place = self._installation
        sealed = {e.subject["manifest"] for e in self._pen.entries(action.incident, types=(EntryType.EVIDENCE_SEALED,))}
        waived = {entry.subject["waiver"] for entry in waivers_of(place, action.incident)}
        request = find_request(place, grant.request) if grant.request else None
        row = place.store.claim_of(grant.effect_key)
        another = row is not None and row.grant != grant.digest()
        active, let_through = place.active_digest(), self._let_through(grant, action)
        return GrantFacts(
            incident=place.incident(action.incident),
            open=self._pen.last(action.incident, EntryType.INCIDENT_CLOSED) is None,
            sealed=grant.manifest if grant.manifest in sealed else next(iter(sealed), None),
            waiver=grant.waiver if grant.waiver in waived else None,
            waived_by=waived_by(place, action.incident, grant.waiver) if grant.waiver in waived else None,
            active=active, configuration=place.configuration(active), request=request,
            verdict=verdict_on(place, request) if request else None,
            glass=opened_glass(place, grant.glass) if grant.glass else None,
            consumed_by=row.grant if row else None, let_through=let_through,
            came_to_nothing=another and row is not None and came_to_nothing(place, action.incident, row),
            begun=let_through if grant.preauthorisation is None else was_begun(place, action), now=place.now(),
        )  # fmt: skip

    def _let_through(self, grant: Grant, action: ContainmentAction) -> bool:
        entries = self._pen.entries(action.incident, types=(EntryType.EFFECT_CLAIMED, *LET_THROUGH))
        claims = [e for e in entries if e.type is EntryType.EFFECT_CLAIMED and e.subject["grant"] == grant.digest()]
        return acted_at(claims, fences(entries)) is not None

    def claim(self, grant: Grant, action: ContainmentAction) -> Claim:
        """Consume the grant; ClaimHeldError while another live worker has it."""
        seconds = self._installation.settings.limits.claim_lease_seconds
        rests_on = {"request": grant.request} if grant.request else {}
        claim = self._pen.claim(grant.effect_key, grant.digest(), action.incident, action.digest(), seconds, rests_on)
        if claim is None:
            row = self._installation.store.claim_of(grant.effect_key)
            raise ClaimHeldError(grant.effect_key, row.holder if row else "another worker")
        self._demand_still_granted(grant, action)
        if grant.purpose is Purpose.CONTAIN and grant.glass is None:
            self._take_over_photograph(claim, action)
        return claim

    def _take_over_photograph(self, claim: Claim, action: ContainmentAction) -> None:
        """What somebody did alone and still stands was photographed then: undoing brings that back, not what they left."""
        alone = standing_alone(self._installation, action)
        taken = self._pen.find(f"before/{alone.effect_key}") if alone is not None else None
        if taken is not None:
            self._pen.write(
                EntryType.BEFORE_CAPTURED, f"before/{claim.effect_key}", incident=action.incident,
                subject={"before": taken.subject["before"], "action": action.digest()},
                body={
                    "action": action.id, "effect": claim.effect_key, "fence": claim.fence,
                    "because": "as photographed when it was done alone",
                },
            )  # fmt: skip

    def _demand_still_granted(self, grant: Grant, action: ContainmentAction) -> None:
        """The order of the ledger decides: what was withdrawn or removed before the claim's entry is honoured here."""
        verdict = (
            verdict_on(self._installation, find_request(self._installation, grant.request)) if grant.request else None
        )
        if verdict is not None and verdict.standing is not Standing.GRANTED:
            because = f"the request stands {verdict.standing}: {verdict.because}"
            self.refused(grant, action, (because,))
            raise GrantRefusedError(
                f"{action.id} was claimed in the instant in which its consent ended: {because}.",
                now="nothing was sent.", next_step="look at `quell inbox`; it goes on when enough people approve.",
            )  # fmt: skip

    def outcome(self, effect_key: str) -> Receipt | None:
        """The receipt of this effect, if it was done."""
        entry = self._pen.find(f"done/{effect_key}")
        return Receipt.from_bytes(self._installation.vault.get(entry.subject["receipt"])) if entry else None

    def before(self, effect_key: str) -> Snapshot | None:
        """The first photograph of this effect."""
        entry = self._pen.find(f"before/{effect_key}")
        if entry is None:
            return None
        from runbooks.domain.evidence import Collection  # noqa: PLC0415

        held = Collection.from_bytes(self._installation.vault.get(entry.subject["before"]))
        _, data = next(iter(self._installation.vault.items(held)))
        return Snapshot.from_bytes(data)

    def photographed(self, claim: Claim, action: ContainmentAction, snapshot: Snapshot) -> Digest:
        """Seal the before-state (it may hold what only responders should see) and record it."""
        sealed = self._installation.vault.seal(
            incident=action.incident, evidence_class=EvidenceClass.E, source=f"before:{action.id}",
            media_type="application/json", items=[snapshot.canonical()], facts=SourceFacts(), now=clock,
        )  # fmt: skip
        entry = self._pen.write(
            EntryType.BEFORE_CAPTURED, f"before/{claim.effect_key}", incident=action.incident,
            subject={"before": self._installation.keep(sealed.collection), "action": action.digest()},
            body={"action": action.id, "effect": claim.effect_key, "fence": claim.fence},
        )  # fmt: skip
        return entry.subject["before"]

    def still_held(self, claim: Claim) -> bool:
        """Whether this claim is the newest one and its lease still runs."""
        row = self._installation.store.claim_of(claim.effect_key)
        return row is not None and row.fence == claim.fence and row.holder == claim.holder and clock() < row.lease_until

    def sending(self, claim: Claim, action: ContainmentAction) -> None:
        """Record that it is about to be sent."""
        self._pen.write(
            EntryType.EFFECT_SENDING, f"sending/{claim.effect_key}/{claim.fence}/{secrets.token_hex(4)}",
            incident=action.incident, subject={"action": action.digest()},
            body={"action": action.id, "effect": claim.effect_key, "fence": claim.fence},
        )  # fmt: skip

    def may_have_arrived(self, claim: Claim, action: ContainmentAction) -> bool:
        """Every earlier sending of this effect must be on record as refused; else one may still be on its way."""
        entries = self._pen.entries(action.incident, types=OUTCOMES)
        return may_have_arrived(entries, claim.effect_key, besides=claim.fence)

    def done(self, claim: Claim, action: ContainmentAction, receipt: Receipt) -> None:
        """Record the receipt, once."""
        undoing = claim.effect_key == action.undo_key
        because = "already as wanted; nothing was sent" if receipt.noop else "the far side was read back: done"
        if receipt.recovered:
            because = "found done by reading back"
        self._pen.write(
            EntryType.EFFECT_UNDONE if undoing else EntryType.EFFECT_APPLIED, f"done/{claim.effect_key}",
            incident=action.incident,
            subject={"receipt": self._installation.keep(receipt), "action": action.digest()},
            body={
                "action": action.id, "effect": claim.effect_key, "fence": claim.fence, "noop": receipt.noop,
                "recovered": receipt.recovered, "because": because,
            },
        )  # fmt: skip

    def not_done(self, claim: Claim, action: ContainmentAction, outcome: Outcome, reason: str) -> None:
        """Record a failure, or that nobody knows."""
        kind = EntryType.EFFECT_UNKNOWN if outcome is Outcome.UNKNOWN else EntryType.EFFECT_FAILED
        self._pen.write(
            kind, f"not-done/{claim.effect_key}/{claim.fence}", incident=action.incident,
            subject={"action": action.digest()},
            body={"action": action.id, "effect": claim.effect_key, "fence": claim.fence, "because": reason},
        )  # fmt: skip

    def refused(self, grant: Grant, action: ContainmentAction, reasons: tuple[str, ...]) -> None:
        """Record that an effect was asked for without the right to it."""
        self._pen.write(
            EntryType.EFFECT_REFUSED, f"effect-refused/{secrets.token_hex(8)}", incident=action.incident,
            subject={"action": action.digest(), "grant": grant.digest()},
            body={"action": action.id, "purpose": grant.purpose, "because": "; ".join(reasons)},
        )  # fmt: skip


def when_free(installation: Installation, act: Callable[[], Receipt]) -> Receipt:
    """Do it. While another worker holds the claim, wait: it finishes, or its lease ends because it died elsewhere."""
    deadline = later(clock(), installation.settings.limits.claim_lease_seconds + CLAIM_GRACE_SECONDS)
    while True:
        try:
            return act()
        except ClaimHeldError:
            if clock() > deadline:
                raise
        demand_presence()
        pause(1)
