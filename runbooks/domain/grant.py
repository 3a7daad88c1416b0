"""The right to one effect, and the port through which it is verified and consumed.

A `Grant` is only a pointer: it names what it rests on. The connector base fetches the facts through the `Authority`
port and checks them with `check_grant`; nobody's word counts, not even the engine's.

Rules of `check_grant`, in order:
1. The grant is for exactly this act: action digest, incident, effect key (doing and undoing have different ones).
2. The incident is open (what was taken away may be given back after closure), and a drill's act aims at a practice system only.
3. Evidence is sealed and the grant names that seal; or a waiver that a person signed is in the ledger and the grant names it.
   Until something is sealed, that person must still be one who may waive: to take away what was not begun yet.
4. The configuration that the grant names is the active one, or (for a request) the one that it was asked under.
5. Either a pre-authorisation of the active policy covers the act, and its signal is young enough, unless the right began
   in time: the act, or the one that it does once more, was claimed before; or the request that the grant names stands
   granted now, which it only does while a right of the active policy covers it; or a person broke the glass for exactly
   this act, the active policy still lets that person, and the act is no R3: taking away while the time runs, giving back
   when it is over. What is taken away is exactly a control of the active inventory. (What was claimed under a request's
   grant and let through may be finished, whatever policy and inventory say by now. What was claimed under a
   pre-authorisation may be finished under another configuration (4) that still has this very pre-authorisation and control.)
   The act states no lower class than its verb has.
6. It has not expired, unless a claim under this very grant was let through to the act: what may have been sent is read
   back and finished, however late. It does not outlive its request. Its effect has not been consumed for another grant,
   unless that one's attempt is certainly not done (`effects.is_not_done`): then this grant takes the effect over.
"""

from typing import Protocol

from runbooks.domain.approval import ApprovalRequest, Purpose, RequestVerdict, Standing
from runbooks.domain.configuration import Configuration
from runbooks.domain.containment import VERB_REVERSIBILITY, ContainmentAction, Receipt, Snapshot
from runbooks.domain.errors import Outcome
from runbooks.domain.incident import Incident, IncidentId, Name
from runbooks.domain.instants import Instant
from runbooks.domain.planning import is_control, rule_named
from runbooks.domain.signed import OpenedGlass
from runbooks.domain.value import Digest, Value
from runbooks.domain.waiving import why_not_waive


class Grant(Value):
    """A pointer to the right to do one act once."""

    incident: IncidentId
    purpose: Purpose
    action: Digest
    effect_key: str
    """Key of the effect that it is for; doing and undoing have different keys."""
    manifest: Digest | None
    waiver: Digest | None = None
    request: Digest | None = None
    preauthorisation: Name | None = None
    glass: Digest | None = None
    """Digest of the signed break-glass statement."""
    configuration: Digest
    expires_at: Instant


class GrantFacts(Value):
    """What ledger, vault and active configuration say about a grant, read at the moment of use."""

    incident: Incident
    open: bool
    sealed: Digest | None
    waiver: Digest | None
    waived_by: Name | None = None
    """Whose word that waiver is, given for this incident."""
    active: Digest
    configuration: Configuration
    request: ApprovalRequest | None
    verdict: RequestVerdict | None
    glass: OpenedGlass | None = None
    consumed_by: Digest | None
    """Digest of the grant that consumed this effect key before, if any."""
    came_to_nothing: bool = False
    """Whether what that grant did is certainly not done, so that another one may consume the effect key."""
    let_through: bool = False
    """Whether a claim under this very grant was let through to the act."""
    begun: bool = False
    """Whether it began in time, and may be finished. Pre-authorised: the act, or the one that it does once more, was
    claimed before; else as `let_through`."""
    now: Instant


class GrantVerdict(Value):
    """Whether the grant covers the act, and every reason why not."""

    valid: bool
    reasons: tuple[str, ...]


class Claim(Value):
    """The consumption of a grant: one effect, one holder, a fencing number that only grows, a lease that ends."""

    effect_key: str
    grant: Digest
    holder: str
    fence: int
    lease_until: Instant
    resumed: bool
    """An earlier holder claimed the same effect and left no outcome: read back before acting."""


class Authority(Protocol):
    """What the connector base needs of the record. Implemented on the ledger, injected from tasks/containment."""

    def facts(self, grant: Grant, action: ContainmentAction) -> GrantFacts:
        """What the record says now."""

    def claim(self, grant: Grant, action: ContainmentAction) -> Claim:
        """Consume the grant for this effect key; ClaimHeldError when another worker is at it."""

    def outcome(self, effect_key: str) -> Receipt | None:
        """The receipt of this effect if it was done already."""

    def before(self, effect_key: str) -> Snapshot | None:
        """The photograph taken before this effect, if one was."""

    def photographed(self, claim: Claim, action: ContainmentAction, snapshot: Snapshot) -> Digest:
        """Store the before-state and record it, before anything is sent; returns its digest."""

    def still_held(self, claim: Claim) -> bool:
        """Whether this claim is the newest and its lease runs: asked right before sending."""

    def sending(self, claim: Claim, action: ContainmentAction) -> None:
        """Record that the effect is about to be sent."""

    def may_have_arrived(self, claim: Claim, action: ContainmentAction) -> bool:
        """Whether this effect was sent under an earlier claim, and the record does not say that it was refused."""

    def done(self, claim: Claim, action: ContainmentAction, receipt: Receipt) -> None:
        """Record the receipt of an effect, or of its undoing."""

    def not_done(self, claim: Claim, action: ContainmentAction, outcome: Outcome, reason: str) -> None:
        """Record that the effect failed, or that nobody knows: the claim stays, a person decides about unknown."""

    def refused(self, grant: Grant, action: ContainmentAction, reasons: tuple[str, ...]) -> None:
        """Record an effect that was asked for without the right to it."""

    def now(self) -> Instant:
        """The time."""


def check_grant(grant: Grant, action: ContainmentAction, facts: GrantFacts) -> GrantVerdict:
    """Whether the facts give the right to do this act now, by the rules at the head of this file."""
    reasons = [
        *_check_sameness(grant, action, facts),
        *_check_incident(grant, action, facts),
        *_check_evidence(grant, facts),
        *_check_right(grant, action, facts),
    ]
    if facts.now > grant.expires_at and not facts.let_through:  # 6
        reasons.append(f"the grant expired at {grant.expires_at}, it is {facts.now}")
    if facts.consumed_by not in (None, grant.digest()) and not facts.came_to_nothing:
        reasons.append(
            f"the effect was consumed under another grant {facts.consumed_by}, and may have been done under that"
        )
    return GrantVerdict(valid=not reasons, reasons=tuple(reasons))


def _check_sameness(grant: Grant, action: ContainmentAction, facts: GrantFacts) -> list[str]:
    """Rule 1."""
    reasons = []
    if grant.action != action.digest():
        reasons.append(f"the grant is for the act {grant.action}, this is {action.digest()}: a parameter was changed")
    if grant.incident != action.incident or facts.incident.id != action.incident:
        reasons.append(f"the grant is for {grant.incident}, the act is of {action.incident}")
    expected_key = action.effect_key if grant.purpose is Purpose.CONTAIN else action.undo_key
    if grant.effect_key != expected_key:
        reasons.append(f"the grant is for the effect {grant.effect_key}, this is {expected_key}")
    return reasons


def _check_incident(grant: Grant, action: ContainmentAction, facts: GrantFacts) -> list[str]:
    """Rule 2."""
    reasons = []
    system = facts.configuration.systems.get(action.system)
    if not facts.open and grant.purpose is Purpose.CONTAIN:
        reasons.append(f"{action.incident} is closed")
    if system is None:
        reasons.append(f"the system {action.system} is not in the active inventory")
    elif facts.incident.drill and not system.practice:
        reasons.append(f"{action.incident} is a drill and {action.system} is not marked practice")
    if action.drill != facts.incident.drill:
        reasons.append("the drill mark of the act and of the incident differ")
    return reasons


def _check_evidence(grant: Grant, facts: GrantFacts) -> list[str]:
    """Rule 3."""
    if grant.manifest is not None:
        if grant.manifest != facts.sealed:
            return [f"the grant names the seal {grant.manifest}, sealed is {facts.sealed}"]
    elif grant.waiver is None or grant.waiver != facts.waiver:
        return ["no evidence is sealed, and no waiver that a person signed is recorded"]
    elif grant.purpose is Purpose.CONTAIN and facts.sealed is None and not facts.begun:
        why = why_not_waive(facts.configuration, facts.waived_by, facts.now)
        return [f"no evidence is sealed, and {why}"] if why else []
    return []


def _check_right(grant: Grant, action: ContainmentAction, facts: GrantFacts) -> list[str]:
    """Rules 4 and 5."""
    reasons = []
    least = VERB_REVERSIBILITY.get(action.verb)
    if least is not None and action.reversibility.rank < least.rank:
        reasons.append(f"the act says {action.reversibility}, {action.verb.shown} is {least}")
    if grant.preauthorisation is not None:
        return reasons + _check_preauthorised(grant, action, facts)
    if grant.glass is not None:
        return reasons + _check_glass(grant, action, facts)
    if grant.request is None:
        return [*reasons, "the grant names neither a request nor a pre-authorisation"]
    return reasons + _check_request(grant, action, facts)


def _check_preauthorised(grant: Grant, action: ContainmentAction, facts: GrantFacts) -> list[str]:
    if grant.purpose is not Purpose.CONTAIN:
        return ["a pre-authorisation never covers undoing"]
    if grant.configuration != facts.active and facts.consumed_by != grant.digest():
        return [f"the grant rests on configuration {grant.configuration}, active is {facts.active}"]
    origin = facts.incident.origin
    rule = rule_named(grant.preauthorisation, action, facts.incident, facts.configuration)
    if rule is None or origin is None:
        return [f"the active policy has no pre-authorisation {grant.preauthorisation} for {action.verb.shown}"]
    old = "" if facts.begun else facts.configuration.too_old(rule, origin.received_at, facts.now)
    reasons = [f"the pre-authorisation {rule.id} needs a younger signal: {old}"] if old else []
    return reasons + _check_control(action, facts)


def _check_control(action: ContainmentAction, facts: GrantFacts) -> list[str]:
    if is_control(action, facts.incident, facts.configuration):
        return []
    return [f"the act on {action.target} is no control of {action.system} in the active inventory"]


def _check_glass(grant: Grant, action: ContainmentAction, facts: GrantFacts) -> list[str]:
    glass = facts.glass
    if glass is None or glass.statement.digest() != grant.glass:
        return [f"the break-glass statement {grant.glass} is not in the ledger, or its person did not sign it"]
    said, reasons = glass.statement, []
    if (said.action, said.incident) != (grant.action, grant.incident):
        reasons.append("the glass was broken for another act")
    person = facts.configuration.people.get(said.person)
    allowed = facts.configuration.break_glass_for(
        roles=person.roles if person else (), verb=action.verb, reversibility=action.reversibility, system=action.system
    )
    if grant.purpose is Purpose.CONTAIN:
        if allowed is None or said.minutes > allowed.max_minutes:
            reasons.append(f"the active policy does not let {said.person} do this alone for {said.minutes} minutes")
        if grant.expires_at > glass.ends_at or facts.now > glass.ends_at:
            reasons.append(f"the time of the break-glass ended at {glass.ends_at}")
        reasons += _check_control(action, facts)
    elif grant.purpose is not Purpose.UNDO:
        reasons.append("a break-glass gives back only what it took away")
    elif facts.now < glass.ends_at:
        reasons.append(f"the break-glass lasts until {glass.ends_at}; until then giving back needs its own consent")
    return reasons


def _check_request(grant: Grant, action: ContainmentAction, facts: GrantFacts) -> list[str]:
    request, verdict = facts.request, facts.verdict
    if request is None or verdict is None:
        return [f"the request {grant.request} is not in the ledger"]
    reasons = []
    if request.digest() != grant.request:
        reasons.append("the request in the vault is not the one that was granted")
    if request.action != grant.action or request.incident != grant.incident or request.purpose is not grant.purpose:
        reasons.append("the request was for another act")
    elif request.says_its_act and (request.verb, request.system) != (action.verb, action.system):
        reasons.append("the request was for another verb or system")
    if request.manifest != grant.manifest or request.waiver != grant.waiver:
        reasons.append("the request rests on other evidence than the grant")
    if request.configuration != grant.configuration:
        reasons.append("the request was asked under another configuration than the grant names")
    if grant.expires_at > request.expires_at:
        reasons.append(f"the grant says it lasts until {grant.expires_at}, its request ended at {request.expires_at}")
    if verdict.request != grant.request:
        reasons.append("the verdict is on another request")
    if verdict.standing is not Standing.GRANTED:
        reasons.append(f"the request stands {verdict.standing}: {verdict.because}")
    return reasons if facts.begun else reasons + _check_still_covered(request, action, facts)


def _check_still_covered(request: ApprovalRequest, action: ContainmentAction, facts: GrantFacts) -> list[str]:
    """What the verdict cannot see: the inventory; and the right, for requests of before that do not say their act."""
    reasons = [] if request.purpose is not Purpose.CONTAIN else _check_control(action, facts)
    right = facts.configuration.right_for(
        purpose=request.purpose, verb=action.verb, reversibility=action.reversibility,
        severity=facts.incident.severity.severity, system=action.system,
    )  # fmt: skip
    if right is None and not request.says_its_act:
        reasons.append("no decision right of the active policy covers it any more")
    return reasons
