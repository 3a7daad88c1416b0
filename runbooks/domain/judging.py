"""How decisions count. Pure: the same record gives the same verdict, today and for an auditor in ten years.

Rules of `judge_request`, in order:
1. Only a decision on exactly this request's digest is looked at; it names this installation too.
2. The person must be listed in the configuration pinned by the request and still be listed, in role, in the active one:
   additions never count for open requests, removals count at once. Under any other pinned configuration nothing counts.
   Somebody without the role may be the deputy of one person who has it, in both configurations, and answers for them.
   Whose time ends carries no yes from then on, until the act is claimed: what was claimed may be finished.
3. The requester never counts, nor anybody whom the request excludes, nor a deputy of either.
4. The proof must be of a kind that the request accepts, and was verified when the decision arrived. A signature was
   verified again when the entry was read: that an entry says so is not enough. An SSH key must still be listed, whatever
   its comment; a code's secret must still be the same reference.
5. A decision after the expiry does not count.
6. One person counts once: the first answer that counts is the one. A withdrawal takes it back, once and for good, but
   not after the act was claimed: from then on `quell undo` is the way.
7. One voice counts once: a principal's own answer takes the place of the deputy's; of two deputies the first counts,
   or, when that one said yes and acted before, the first yes of one who did not: a further yes never spoils rule 9.
8. Any denial that counts denies the request. Otherwise enough distinct people grant it: as many as the request says and,
   until the act is claimed, as the right says that covers it in the active policy. That right's roles, proofs and
   `never` hold for a yes beside those of the request: what an owner tightened counts at once, what was loosened never.
   Without such a right nobody grants it. The time that the request gives stays.
9. When the request names people who acted before, at least one of those who approve must not be among them, nor stand
   for one of them.
10. Everything else is waiting; after the expiry it is expired. Silence is never a yes.
"""

from collections.abc import Collection

from runbooks.domain.approval import (
    MORE_FOR_UNPROVEN,
    Answer,
    ApprovalRequest,
    Decision,
    RequestVerdict,
    Standing,
    barred_by,
)
from runbooks.domain.configuration import Configuration, Person, ProofKind, Right
from runbooks.domain.incident import Name
from runbooks.domain.instants import Instant
from runbooks.domain.voices import key_of, speaks_for, valid_objection


def _proof_objection(
    decision: Decision, request: ApprovalRequest, pinned: Person, active: Person, keys: dict[str, str]
) -> str | None:
    """Rule 4: of an accepted kind, and what the proof rests on is listed in both configurations."""
    name, proof = decision.statement.person, decision.proof
    if decision.unsigned:
        return f"{name} did not sign the answer in entry {decision.entry}: {decision.unsigned}"
    if proof.kind not in request.proofs:
        return f"{name} proved by {proof.kind}; this request accepts {', '.join(request.proofs)}"
    if proof.kind is ProofKind.SSH:
        key = key_of(keys.get(proof.key or ""))
        if not key or any(key not in [key_of(line) for line in person.ssh_keys] for person in (pinned, active)):
            return f"the key {proof.key} is not listed for {name}"
    elif pinned.code_secret is None or active.code_secret != pinned.code_secret:
        return f"{name} proved by a code whose secret is no longer the one that was listed when it was asked"
    return None


def _objection(
    decision: Decision, request: ApprovalRequest, pinned: Configuration, active: Configuration, keys: dict[str, str]
) -> str | None:
    """Why this decision does not count, or None when it does. `keys` maps fingerprint to listed key line."""
    name = decision.statement.person
    then, now = pinned.people.get(name), active.people.get(name)
    problem = valid_objection(then, name, decision.at, "when it was asked")
    problem = problem or valid_objection(now, name, decision.at, "now")
    if problem is not None or then is None or now is None:
        return problem
    voice = speaks_for(name, request.roles, (pinned, active))
    if voice is None:
        roles = ", ".join(request.roles)
        return f"{name} has none of the roles {roles}, when it was asked and now, and is no deputy of somebody who has"
    for one in (name, voice):  # 3
        answering = name if one == name else f"{name}, as deputy of {one},"
        if one == request.requester.name:
            return f"{answering} asked for it; the requester never counts"
        if one in request.excluded:
            return f"{answering} may not decide on this request"
    problem = _proof_objection(decision, request, then, now, keys)
    if problem is None and decision.at > request.expires_at:  # 5
        return f"{name} answered at {decision.at}, after the expiry {request.expires_at}"
    return problem


class _Ruling:
    """What the active policy demands of a yes beside the request, as long as nothing was claimed under it (2, 8)."""

    def __init__(self, request: ApprovalRequest, active: Configuration, now: Instant, acted_at: Instant | None) -> None:
        self._request, self._active, self._until = request, active, acted_at or now
        self.right: Right | None = None
        self.nobody_may = False
        if acted_at is None and request.says_its_act:
            self.right = request.right_in(active)
            self.nobody_may = self.right is None

    @property
    def people(self) -> int:
        """How many distinct people."""
        more = 0 if self._request.requester.proven else MORE_FOR_UNPROVEN
        return max(self._request.people, self.right.people + more if self.right else 0)

    @property
    def roles(self) -> tuple[Name, ...]:
        """The roles of the request that still decide, else the right's own."""
        both = [role for role in self._request.roles if self.right is None or role in self.right.roles]
        return tuple(both) or (self.right.roles if self.right else self._request.roles)

    def objection(self, decision: Decision, voice: Name) -> str | None:
        """Why this yes does not count although it did when it was said."""
        name, right = decision.statement.person, self.right
        problem = valid_objection(self._active.people.get(name), name, max(decision.at, self._until), "now")
        if problem is not None or right is None:
            return problem
        if speaks_for(name, right.roles, (self._active,)) != voice:
            return f"{name} has none of the roles {', '.join(right.roles)}, which the active policy demands by now"
        if {name, voice} & barred_by(right, self._active, self._request.system):
            return f"{name} may not decide on this, by the active policy"
        if decision.proof.kind not in right.proofs:
            return f"{name} proved by {decision.proof.kind}; the active policy accepts {', '.join(right.proofs)} by now"
        return None


class _Count:
    """Who counts so far, by rules 6 and 7."""

    def __init__(self, claimed: int | None) -> None:
        self.counted: dict[Name, Decision] = {}
        self.withdrawn: dict[Name, Decision] = {}
        self.not_counted: list[str] = []
        self._claimed = claimed

    def take(self, decision: Decision) -> None:
        person = decision.statement.person
        if person in self.withdrawn:
            self.not_counted.append(f"{person} withdrew; whoever withdrew is not heard again on this request")
        elif decision.statement.answer is not Answer.WITHDRAW:
            if person in self.counted:
                self.not_counted.append(f"{person} answered already; one person counts once")
            else:
                self.counted[person] = decision
        elif self._claimed is not None and decision.entry > self._claimed:
            self.not_counted.append(f"{person} withdrew after the act was claimed; it can be undone")
        else:
            self.withdrawn[person] = decision
            self.counted.pop(person, None)

    def one_voice(self, voices: dict[Name, Name], acted_before: Collection[Name]) -> dict[Name, Name]:
        """Rule 7: drop every deputy but the one who carries the voice of its principal. Who stands for whom."""
        deputies = [n for n in sorted(self.counted, key=lambda n: self.counted[n].entry) if voices[n] != n]
        chosen: dict[Name, Name] = {}
        for person in deputies:
            other = chosen.setdefault(voices[person], person)
            if other in acted_before and person not in acted_before and self._approve(other, person):
                chosen[voices[person]] = person
        standing = {person: voice for voice, person in chosen.items() if voice not in self.counted}
        for person in (n for n in deputies if n not in standing):
            self.not_counted.append(f"{person} stands for {voices[person]}, whose voice is counted already")
            del self.counted[person]
        return standing

    def _approve(self, *people: Name) -> bool:
        return all(self.counted[name].statement.answer is Answer.APPROVE for name in people)


def judge_request(
    request: ApprovalRequest,
    decisions: tuple[Decision, ...],
    *,
    pinned: Configuration,
    active: Configuration,
    keys: dict[str, str],
    now: Instant,
    claimed: int | None = None,
    acted_at: Instant | None = None,
) -> RequestVerdict:
    """How the request stands by the rules at the head of this file.

    `keys` maps the fingerprint of every listed SSH key to its line; `claimed` is the index of the entry by which the
    act was first claimed under this request, if it was; `acted_at` the time of the claim that was let through to the
    act (`case.acted_at`).
    """
    digest = request.digest()
    misplaced = (
        None if pinned.digest() == request.configuration else "judged under another configuration than it was asked"
    )
    count, ruling = _Count(claimed), _Ruling(request, active, now, acted_at)
    voices: dict[Name, Name] = {}
    for decision in sorted(decisions, key=lambda d: d.entry):
        if (decision.statement.request, decision.statement.installation) != (digest, request.installation):  # 1
            continue
        person = decision.statement.person
        voice = speaks_for(person, request.roles, (pinned, active)) or person
        objection = misplaced or _objection(decision, request, pinned, active, keys)
        if objection is None and decision.statement.answer is Answer.APPROVE:
            objection = ruling.objection(decision, voice)
        if objection is not None:
            count.not_counted.append(objection)
            continue
        voices[person] = voice
        count.take(decision)
    standing_for = count.one_voice(voices, request.acted_before)
    return _verdict(request, count, ruling, standing_for, now)


def _verdict(
    request: ApprovalRequest, count: _Count, ruling: _Ruling, standing_for: dict[Name, Name], now: Instant
) -> RequestVerdict:
    """Rules 8 to 10."""
    denials = [d for d in count.counted.values() if d.statement.answer is Answer.DENY]
    approvals = [d for d in count.counted.values() if d.statement.answer is Answer.APPROVE]
    approvers = tuple(d.statement.person for d in approvals)
    missing = max(1 if ruling.nobody_may else 0, ruling.people - len(approvals))
    old = set(request.acted_before)
    fresh_eyes = not old or any(not {name, standing_for.get(name, name)} & old for name in approvers)
    base = {
        "request": request.digest(), "not_counted": tuple(count.not_counted), "approvers": approvers,
        "for_others": {name: one for name, one in standing_for.items() if name in approvers},
        "withdrawn": tuple(count.withdrawn), "judged_at": now,
    }  # fmt: skip
    if denials:  # 8
        first = denials[0]
        return RequestVerdict(
            **base, standing=Standing.DENIED, denier=first.statement.person, denial_reason=first.statement.reason,
            because=f"{first.statement.person} denied it: {first.statement.reason}", entries=(first.entry,),
        )  # fmt: skip
    if missing == 0 and fresh_eyes:  # 8, 9
        told = ", ".join(f"{n} for {standing_for[n]}" if n in standing_for else n for n in approvers)
        return RequestVerdict(
            **base, standing=Standing.GRANTED, because=f"approved by {told}", entries=tuple(d.entry for d in approvals)
        )
    needed = max(missing, 0 if fresh_eyes else 1)
    because = f"{needed} more of {', '.join(ruling.roles)}"
    if ruling.nobody_may:
        because = "a decision right: the active policy has none any more that covers it, so nobody may"
    if not fresh_eyes:
        because += f", at least one of them not {', '.join(request.acted_before)}"
    if count.withdrawn:
        because += f"; withdrawn by {', '.join(count.withdrawn)}"
    if now > request.expires_at:  # 10
        return RequestVerdict(
            **base, standing=Standing.EXPIRED, still_needed=needed, because=f"expired; it still needed {because}"
        )
    return RequestVerdict(**base, standing=Standing.WAITING, still_needed=needed, because=f"needs {because}")
