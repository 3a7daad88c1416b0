"""The record, as the connector base sees it: facts about a grant, claims, photographs, receipts.

Built here on the ledger and the vault and injected into connectors, which never see either.
"""

import secrets
from collections.abc import Callable

from runbooks.domain.approval import Purpose, Standing
from runbooks.domain.case import LET_THROUGH, acted_at, fences
from runbooks.domain.containment import ContainmentAction, Receipt, Snapshot
from runbooks.domain.errors import ClaimHeldError, GrantRefusedError, Outcome
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.grant import Claim, Grant, GrantFacts
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Digest
from tasks.approval import find_request, judge_all, plan_of, request_key, verdict_on
from tasks.glasses import glass_in, opened_glass, standing_alone
from tasks.installation import Installation
from tasks.ledger import Pen, clock
from tasks.preauthorising import lapsed, right_to_begin, was_begun
from tasks.presence import demand_presence
from tasks.stores.base import SourceFacts
from tasks.waiting import pause
from tasks.waiver import waivers_of

CLAIM_GRACE_SECONDS = 5
"""Longer than a claim's lease that we wait for another worker, before its claim counts as a failure."""
PREAUTHORISED_HOURS = 24
"""How long after the plan a pre-authorised act may still be done."""


GIVING_BACK_DAYS = 30
"""How long after a break-glass its own giving back may still be tried."""


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
            expires_at=ends if purpose is Purpose.CONTAIN else later(ends, 86_400 * GIVING_BACK_DAYS),
        )  # fmt: skip
    right = None
    if purpose is Purpose.CONTAIN and action.id in plan.preauthorised:
        right = right_to_begin(installation, installation.incident(action.incident), plan, action)
    if right is not None:
        unasked = Grant(
            **base, manifest=plan.manifest, waiver=plan.waiver, preauthorisation=right[0].id,
            configuration=plan.configuration, expires_at=later(right[1], 3600 * PREAUTHORISED_HOURS),
        )  # fmt: skip
        if writer.find(request_key(action.incident, purpose, action)) is None:
            return unasked
        claimed = installation.store.claim_of(key)  # people were asked: they decide, unless it began in time
        if claimed.grant == unasked.digest() if claimed is not None else action.id not in lapsed(installation, plan):
            return unasked
    judged = judge_all(installation, action.incident)
    asked = [(r, verdict) for r, verdict in judged if r.action == action.digest() and r.purpose is purpose]
    if not asked:
        raise GrantRefusedError(
            f"nobody was asked about {action.id} and no pre-authorisation covers it.",
            now="nothing was sent.", next_step="let the response ask, or look at `quell inbox`.",
        )  # fmt: skip
    granted = [request for request, verdict in asked if verdict.standing is Standing.GRANTED]
    request = granted[0] if granted else asked[-1][0]
    return Grant(
        **base, manifest=request.manifest, waiver=request.waiver, request=request.digest(),
        configuration=request.configuration, expires_at=request.expires_at,
    )  # fmt: skip


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
        active = place.active_digest()
        return GrantFacts(
            incident=place.incident(action.incident),
            open=self._pen.last(action.incident, EntryType.INCIDENT_CLOSED) is None,
            sealed=grant.manifest if grant.manifest in sealed else next(iter(sealed), None),
            waiver=grant.waiver if grant.waiver in waived else None,
            active=active, configuration=place.configuration(active), request=request,
            verdict=verdict_on(place, request) if request else None,
            glass=opened_glass(place, grant.glass) if grant.glass else None,
            consumed_by=row.grant if row else None, begun=self._begun(grant, action), now=place.now(),
        )  # fmt: skip

    def _begun(self, grant: Grant, action: ContainmentAction) -> bool:
        if grant.preauthorisation is not None:
            return was_begun(self._installation, action)
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
        kinds = (EntryType.EFFECT_SENDING, EntryType.EFFECT_FAILED)
        mine = [e for e in self._pen.entries(action.incident, types=kinds) if e.body.get("effect") == claim.effect_key]
        refused = {e.body.get("fence") for e in mine if e.type is EntryType.EFFECT_FAILED}
        return any(
            e.type is EntryType.EFFECT_SENDING and e.body["fence"] != claim.fence and e.body["fence"] not in refused
            for e in mine
        )

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
