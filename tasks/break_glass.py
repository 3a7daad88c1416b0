"""Break-glass: one proven person acts alone, where the policy lets them; loud, short, and given back by itself.

Needs no engine. Rules of `break_glass`, in order:
1. The statement names this installation, an open incident, one act of its plan; the active policy lets this person, in
   role, do this verb to this system alone for so long. R3 never.
2. An SSH key of that person signed exactly this statement, in its own namespace. A code is not enough.
3. What holds is kept and written as `break_glass_opened`; what does not, as `decision_refused`.
4. Seal first, then plan, claim, photograph, act, probe: the same functions as every response.
5. Each breaking is an effect of its own: it uses up nobody's consent, and the glass can be broken again. What is taken
   away already, under whatever right, needs none.
6. After the act everybody is told, so that no channel delays it; the keeper tells whom that did not reach.
When the time is over the keeper gives it back from its photograph, unless the same was approved or done under a right
of its own meanwhile. What died on the way is finished within its time; after it nobody knows, and a person must look.
What could not be given back is tried again, by the same rules, after one minute, two, four and so on up to four hours, as
long as its right lasts. Each try is on record; people are told once. Where nobody knows whether it came back, the guard
reads back first, and sends nothing twice that must not be.
"""

import secrets

from runbooks.domain.approval import Purpose, Standing
from runbooks.domain.containment import ContainmentAction, Reversibility
from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import Actor, EntryType, LedgerEntry
from runbooks.domain.signed import BREAK_GLASS_NAMESPACE, BreakGlass
from runbooks.domain.situation import UNTIL_REVIEWED, UNTIL_UNDONE
from tasks.approval import judge_all, plan_of
from tasks.authority import gives_back_until
from tasks.containment import act
from tasks.evidence import seal_now
from tasks.giving_back import undo
from tasks.glass_telling import GIVEN_BACK, tell_left
from tasks.glasses import endings_of, glass_in, glasses_of, standing_alone, stands, turns
from tasks.installation import Installation
from tasks.ledger import Pen, is_gone, person_actor
from tasks.persons import listed_person
from tasks.planning import plan_now
from tasks.proofs import verify_bytes

_NOT_BROKEN = "nothing was done alone."
_LONGEST_PAUSE_SECONDS = 4 * 3600
"""Between two tries to give back what was taken away alone; the first pause is a minute, and each is twice the last."""


def prepare(installation: Installation, writer: Pen, incident_id: str, step: str) -> ContainmentAction:
    """Seal and plan, where the response has not come to it yet; returns the act as one person does it alone."""
    seal_now(installation, writer, incident_id)
    plan_now(installation, writer, incident_id)
    plan = plan_of(installation, incident_id)
    for action in plan.actions:
        if action.id == step:
            return action.alone(turns(installation, action) + 1)
    raise ApprovalError(
        f"the plan of {incident_id} has no act {step}: expected one of {', '.join(a.id for a in plan.actions) or '(none)'}.",
        now=_NOT_BROKEN, next_step=f"`quell show {incident_id}` lists the acts.",
    )  # fmt: skip


def statement_of(
    installation: Installation, action: ContainmentAction, person: str, reason: str, minutes: int
) -> BreakGlass:
    """What this person signs."""
    return BreakGlass(
        installation=installation.id, incident=action.incident, step=action.id, action=action.digest(), person=person,
        reason=reason, minutes=minutes, configuration=installation.active_digest(), nonce=secrets.token_hex(16),
    )  # fmt: skip


def break_glass(installation: Installation, statement: BreakGlass, signature: str, *, door: Actor) -> LedgerEntry:
    """Verify and write it down; ApprovalError says why not. From here on the act may be done: `act_alone`."""
    try:
        proof = _verified(installation, statement, signature)
    except ApprovalError as error:  # 3
        installation.pen(door).write(
            EntryType.DECISION_REFUSED, f"glass-refused/{secrets.token_hex(8)}", incident=statement.incident,
            subject={"glass": statement.digest()},
            body={"claimed_person": statement.person, "answer": "break_glass", "because": error.problem},
        )  # fmt: skip
        raise
    writer = installation.pen(person_actor(statement.person))
    now = installation.now()
    opened = writer.write(
        EntryType.BREAK_GLASS_OPENED, f"glass/{statement.digest()}", incident=statement.incident,
        subject={"glass": installation.keep(statement), "action": statement.action},
        body={
            "action": statement.step, "person": statement.person, "because": statement.reason, "proof": proof,
            "opened_at": now, "ends_at": later(now, 60 * statement.minutes),
        },
    )  # fmt: skip
    writer.write(
        EntryType.PERSON_NEEDED, f"glass-needs/{statement.digest()}", incident=statement.incident,
        body={
            "action": statement.step, "needed": "approve it within its time, or let it be given back",
            "because": f"break-glass: {statement.person} acts alone on {statement.step}; nobody else was asked",
        },
    )  # fmt: skip
    return opened


def _verified(installation: Installation, said: BreakGlass, signature: str) -> dict[str, object]:
    configuration = installation.active()
    planned = _planned(installation, said)  # 1
    action = planned.alone(turns(installation, planned) + 1)
    person = listed_person(configuration, said.person, installation.latest())
    rule = configuration.break_glass_for(
        roles=person.roles, verb=action.verb, reversibility=action.reversibility, system=action.system
    )
    problem = ""
    if said.installation != installation.id or said.action != action.digest():
        problem = "the statement is for another installation, or another act, or somebody just broke the glass for it"
    elif stands(installation, planned) or standing_alone(installation, planned):
        problem = f"{planned.id} is taken away already"
    elif installation.store.entries(said.incident, types=(EntryType.INCIDENT_CLOSED,)):
        problem = f"{said.incident} is closed"
    elif action.reversibility is Reversibility.R3:
        problem = f"{action.verb.shown} cannot be undone (R3): nobody does that alone"
    elif rule is None or said.configuration != installation.active_digest():
        problem = f"the active policy lets nobody in the roles of {said.person} do {action.verb.shown} on {action.system} alone"
    elif said.minutes > rule.max_minutes:
        problem = f"expected at most {rule.max_minutes} minutes, found {said.minutes}"
    elif not signature:
        problem = "breaking the glass needs an SSH signature, found none"
    if problem:
        raise ApprovalError(
            f"{problem}.", now=_NOT_BROKEN, next_step="ask people: `quell inbox` shows what waits; `quell policy show`."
        )
    return verify_bytes(  # 2
        said.canonical(), signature, person.ssh_keys, person=said.person, namespace=BREAK_GLASS_NAMESPACE
    ).as_json()


def _planned(installation: Installation, said: BreakGlass) -> ContainmentAction:
    found = [a for a in plan_of(installation, said.incident).actions if a.id == said.step]
    if not found:
        raise ApprovalError(
            f"the plan has no act {said.step}.", now=_NOT_BROKEN, next_step="`quell show` lists the acts."
        )
    return found[0]


def _act_of(installation: Installation, said: BreakGlass) -> ContainmentAction:
    """The very act that this person signed."""
    planned = _planned(installation, said)
    signed = (planned.alone(turn) for turn in range(1, turns(installation, planned) + 1))
    return next(action for action in signed if action.digest() == said.action)


def act_alone(installation: Installation, glass: LedgerEntry) -> str:
    """Do the one act now and probe it; returns its status, as every containment does. Then people are told (6)."""
    said = glass_in(installation, glass).statement
    writer = installation.pen(person_actor(said.person))
    return act(installation, writer, _act_of(installation, said), glass=glass)


def end_overdue(installation: Installation, writer: Pen) -> None:
    """The keeper's duty: give back what was taken away alone and whose time is over. Also in closed incidents."""
    endings = endings_of(installation)
    for glass in glasses_of(installation):
        digest, now = glass.subject["glass"], installation.now()
        tries = endings.get(digest, [])
        if str(glass.body["ends_at"]) > now:
            _finish(installation, glass)
            continue
        if tries and not _is_due(glass, tries, now):
            continue
        outcome, because = _end(installation, writer, glass)
        ended = writer.write(
            EntryType.BREAK_GLASS_ENDED, f"glass-ended/{digest}" + (f"/{len(tries) + 1}" if tries else ""),
            incident=glass.incident, subject={"glass": digest},
            body={"action": glass.body["action"], "outcome": outcome, "because": because, "tried_at": now},
        )  # fmt: skip
        if outcome not in GIVEN_BACK:
            writer.write(
                EntryType.PERSON_NEEDED, f"glass-ended-needs/{digest}", incident=glass.incident,
                body={
                    "action": glass.body["action"], "because": f"break-glass: {because}; a person must look",
                    "until": [UNTIL_UNDONE, UNTIL_REVIEWED],
                },
            )  # fmt: skip
        if not tries:
            tell_left(installation, writer, ended)


def _is_due(glass: LedgerEntry, tries: list[LedgerEntry], now: Instant) -> bool:
    """Whether what could not be given back so far is tried again now."""
    last = tries[-1]
    pause = min(60 * 2 ** min(len(tries) - 1, 16), _LONGEST_PAUSE_SECONDS)
    due = later(str(last.body.get("tried_at") or last.at), pause)
    return last.body["outcome"] == "failed" and due <= now <= gives_back_until(str(glass.body["ends_at"]))


def _finish(installation: Installation, glass: LedgerEntry) -> None:
    """Its process died between the claim and the receipt: read back, and finish it."""
    action = _act_of(installation, glass_in(installation, glass).statement)
    if _left_open(installation, action):
        act_alone(installation, glass)


def _left_open(installation: Installation, action: ContainmentAction) -> bool:
    """Claimed by a process that is dead, and without an outcome."""
    claim = installation.store.claim_of(action.effect_key)
    if claim is None or not is_gone(claim.holder):
        return False
    outcomes = (f"done/{action.effect_key}", f"not-done/{action.effect_key}/{claim.fence}")
    return all(installation.store.find(key) is None for key in outcomes)


def _end(installation: Installation, writer: Pen, glass: LedgerEntry) -> tuple[str, str]:
    said = glass_in(installation, glass).statement
    action, plan = _act_of(installation, said), plan_of(installation, said.incident)
    if _left_open(installation, action):
        return "unknown", "its process died while it was being sent; nobody knows whether it was done"
    if writer.find(f"done/{action.effect_key}") is None:
        return "nothing", "it was never done"
    if writer.find(f"done/{action.undo_key}") is not None:
        return "nothing", "it was given back already"
    if any(stands(installation, one) for one in plan.actions if one.does(action)):
        return "approved", "it was done under a right of its own meanwhile; it stays"
    planned = plan.action(said.step)
    for request, verdict in judge_all(installation, said.incident):
        waits_to_be_done = request.action == planned.digest() and writer.find(f"done/{planned.effect_key}") is None
        if waits_to_be_done and (request.purpose, verdict.standing) == (Purpose.CONTAIN, Standing.GRANTED):
            return "approved", f"people approved it meanwhile ({request.id}); it stays"
    outcome = undo(installation, writer, action, Purpose.UNDO, glass=glass)
    words = {
        "undone": "its time was over; what was photographed before is back",
        "failed": "its time was over; it could NOT be given back",
    }
    return outcome, words.get(outcome, f"its time was over; giving back: {outcome}")
