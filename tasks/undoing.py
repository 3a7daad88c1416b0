"""Giving back by hand: every act of an incident that stands, newest first, each under its own consent.

Needs no engine: it reads the record, asks where nobody was asked, and undoes what is granted. Rules, per act:
1. What was undone already, or never done, is left alone. Unknown: a person looks first.
2. What cannot be undone is said to be so, and nobody is asked: impossible, reissue.
3. A newer act on the same target comes back first.
4. A granted request (to give back, or to undo) is carried out; a waiting one is waited for; a denied one stays denied
   unless somebody asks again; after an expiry it is asked anew, unless it was sent and may have come back: that is
   read back and finished under the consent that it was sent under. Nobody proves who runs this, so whoever asks is
   unproven and one person more must approve (law 3).
"""

from runbooks.domain.approval import ApprovalRequest, Purpose, RequestVerdict, Standing
from runbooks.domain.case import ActionRow, action_rows
from runbooks.domain.containment import UNDO_IMPOSSIBLE, ContainmentAction, ContainmentStatus, Reversibility
from runbooks.domain.errors import QuellError
from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Value
from tasks.approval import ask, judge_all, people_who_disabled, plan_of, settle, verdict_on
from tasks.asking import BY_HAND
from tasks.effects import came_to_nothing
from tasks.giving_back import STANDS, undo
from tasks.glasses import standing_alone, stands
from tasks.installation import Installation
from tasks.ledger import Pen


class UndoLine(Value):
    """What became of one act: `undone`, `impossible`, `waiting`, `denied`, `failed`, `unknown`, `nobody`, `nothing`."""

    action: str
    title: str
    outcome: str
    because: str
    request: str | None = None


def undo_acts(
    installation: Installation, writer: Pen, incident_id: str, *, only: str | None = None, again: bool = False
) -> tuple[UndoLine, ...]:
    """Go through the acts, newest first; `only` names one. `again` asks anew after a denial."""
    plan = plan_of(installation, incident_id)
    rows = sorted(action_rows(plan, writer.entries(incident_id)), key=lambda row: row.applied_at or "", reverse=True)
    lines: list[UndoLine] = []
    standing: dict[str, str] = {}
    for row in rows:
        action = plan.action(row.action)
        newer = standing.get(action.target_key)
        if only is None or only == row.action:
            line = _blocked(row, newer) or _one(installation, writer, _standing(installation, action), again=again)
            if line.outcome != "nothing" or only is not None:
                lines.append(line)
            gone = line.outcome in ("undone", "nothing")
        else:
            gone = row.status not in STANDS
        if not gone:
            standing.setdefault(action.target_key, row.action)
    return tuple(lines)


def _standing(installation: Installation, action: ContainmentAction) -> ContainmentAction:
    """The effect that stands: the act's own, else what somebody did alone."""
    return action if stands(installation, action) else standing_alone(installation, action) or action


def _blocked(row: ActionRow, newer: str | None) -> UndoLine | None:
    def line(outcome: str, because: str) -> UndoLine:
        return UndoLine(action=row.action, title=row.title, outcome=outcome, because=because)

    if row.status is ContainmentStatus.UNKNOWN:  # 1
        return line("unknown", "nobody knows whether it was done; look at the outside system, then decide")
    if row.status not in STANDS:
        undone = row.status is ContainmentStatus.UNDONE
        return line("nothing", f"undone already at {row.undone_at}" if undone else f"it stands {row.status}")
    if newer is not None and row.verb not in UNDO_IMPOSSIBLE:  # 3
        return line("waiting", f"{newer} acted later on the same target and comes back first")
    return None


def _one(installation: Installation, writer: Pen, action: ContainmentAction, *, again: bool) -> UndoLine:
    def line(outcome: str, because: str, request: str | None = None) -> UndoLine:
        return UndoLine(action=action.id, title=action.title, outcome=outcome, because=because, request=request)

    if action.verb in UNDO_IMPOSSIBLE or action.reversibility is Reversibility.R3:  # 2
        because = f"impossible: reissue. {action.undo}"
        writer.write(
            EntryType.UNDO_IMPOSSIBLE, f"impossible/{action.undo_key}", incident=action.incident,
            subject={"action": action.digest()}, body={"action": action.id, "because": because},
        )  # fmt: skip
        return line("impossible", because)
    found = _asked(installation, writer, action, again=again)  # 4
    if found is None:
        return line("nobody", "no decision right covers undoing it: a policy owner must add one")
    request, verdict = found
    if verdict.standing is not Standing.GRANTED:
        return line("denied" if verdict.standing is Standing.DENIED else "waiting", verdict.because, request.id)
    settle(writer, request, verdict)  # the consent stands in the record before anything is sent
    try:
        outcome = undo(installation, writer, action, request.purpose)
    except QuellError as error:  # given back; what else stands could not be looked at afterwards
        undone = writer.find(f"done/{action.undo_key}") is not None
        return line("undone" if undone else "failed", str(error), request.id)
    if outcome == "undone":
        return line("undone", "what was photographed before is back, and was read back", request.id)
    failed = writer.last(action.incident, EntryType.PERSON_NEEDED, EntryType.UNDO_IMPOSSIBLE)
    return line(outcome, str(failed.body["because"]) if failed else outcome, request.id)


def _asked(
    installation: Installation, writer: Pen, action: ContainmentAction, *, again: bool
) -> tuple[ApprovalRequest, RequestVerdict] | None:
    """The request that decides: a granted one in its time, else the newest that waits or was denied, else a new one.

    One under which it was sent, and nobody knows whether it arrived, is in its time until somebody does.
    """
    judged = [
        (request, verdict)
        for request, verdict in judge_all(installation, action.incident)
        if request.action == action.digest() and request.purpose is not Purpose.CONTAIN
    ]
    earlier = sum(request.purpose is Purpose.UNDO for request, _ in judged)
    now = installation.latest()
    judged = [
        (r, v) for r, v in judged
        if v.standing is not Standing.GRANTED or r.expires_at >= now or _is_under_way(installation, action, r)
    ]  # fmt: skip
    for wanted in (Standing.GRANTED, Standing.WAITING, *(() if again else (Standing.DENIED,))):
        for request, verdict in reversed(judged):
            if verdict.standing is wanted:
                return request, verdict
    incident, plan = installation.incident(action.incident), plan_of(installation, action.incident)
    acted = tuple(sorted(people_who_disabled(installation, action.incident)))
    asked = ask(installation, writer, incident, plan, action, Purpose.UNDO, acted, turn=earlier + 1, requester=BY_HAND)
    return None if asked is None else (asked, verdict_on(installation, asked))


def _is_under_way(installation: Installation, action: ContainmentAction, request: ApprovalRequest) -> bool:
    """Whether giving it back was begun under this request, and may have been done."""
    claim = installation.store.claim_of(action.undo_key)
    entry = installation.store.find(f"claimed/{action.undo_key}/{claim.fence}") if claim is not None else None
    if claim is None or entry is None or entry.subject.get("request") != request.digest():
        return False
    return not came_to_nothing(installation, action.incident, claim)
