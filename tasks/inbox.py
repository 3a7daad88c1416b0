"""The inbox: what waits for somebody's decision, and what nobody answered in time. Read from the record every time.

Overdue is, in words:
1. a request that still waits some minutes after the last people on its ladder were to be told;
2. a request that expired in the last days, when an answer to it could still do something, nobody asked for the same
   again, and it was not done otherwise meanwhile.
"""

from runbooks.domain.approval import ApprovalRequest, Purpose, RequestVerdict, Standing
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType
from runbooks.domain.value import Value
from tasks.approval import answerable, judge_all
from tasks.installation import Installation

ANSWER_MINUTES = 5
"""How long the last people on a ladder have before a request counts as overdue."""
RECENT_DAYS = 7
"""How long a request that expired stays in the inbox, at most."""


class Waiting(Value):
    """A request that may be answered now."""

    request: ApprovalRequest
    verdict: RequestVerdict


class Overdue(Value):
    """A request that nobody answered in time, since when, and why it is called so."""

    request: ApprovalRequest
    verdict: RequestVerdict
    since: Instant
    because: str


class Inbox(Value):
    """Oldest first. What waits and is overdue stands in both lists."""

    waiting: tuple[Waiting, ...]
    overdue: tuple[Overdue, ...]


def look_into(installation: Installation) -> Inbox:
    """What people have to look at now."""
    now = installation.now()
    judged = judge_all(installation, only=answerable(installation))
    waiting = tuple(Waiting(request=r, verdict=v) for r, v in judged if v.standing is Standing.WAITING)
    late = (_late(one, now) for one in waiting)
    newest = {_same(request): request.id for request, _ in judged}
    missed = (
        _missed(request, verdict)
        for request, verdict in judged
        if verdict.standing is Standing.EXPIRED
        and later(request.expires_at, 86_400 * RECENT_DAYS) > now
        and newest[_same(request)] == request.id
        and not _done(installation, request)
    )
    found = [*(one for one in late if one is not None), *missed]
    return Inbox(waiting=waiting, overdue=tuple(sorted(found, key=lambda one: one.since)))


def _same(request: ApprovalRequest) -> tuple[str, str]:
    """Requests that differ in nothing but when they were asked."""
    return request.action, request.purpose


def _late(one: Waiting, now: Instant) -> Overdue | None:
    """Rule 1."""
    minutes = [rung.after_minutes for rung in one.request.ladder]
    since = later(one.request.asked_at, 60 * (max(minutes) + ANSWER_MINUTES)) if minutes else ""
    if not minutes or since > now:
        return None
    because = f"everybody on its ladder was to be told; it still {one.verdict.because}"
    return Overdue(request=one.request, verdict=one.verdict, since=since, because=because)


def _missed(request: ApprovalRequest, verdict: RequestVerdict) -> Overdue:
    return Overdue(request=request, verdict=verdict, since=request.expires_at, because=verdict.because)


def _done(installation: Installation, request: ApprovalRequest) -> bool:
    """Whether the very act was done under another right."""
    done = installation.store.entries(request.incident, types=(EntryType.EFFECT_APPLIED,))
    return request.purpose is Purpose.CONTAIN and any(entry.subject["action"] == request.action for entry in done)
