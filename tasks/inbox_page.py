"""The inbox inside Prefect: one artifact, `inbox`, that belongs to no run and that the keeper keeps true.

Only quell's own words and names: hostile text stays out. No time that goes on running stands in it, so that its text
changes only when something happened.
"""

import time

from runbooks.domain.ledger import EntryType
from tasks.approval import eligible
from tasks.engine import leave_page
from tasks.inbox import Inbox, Overdue, Waiting, look_into
from tasks.installation import Installation
from tasks.pages import clean, counted, utc

MOST_SHOWN = 100
LOOK_SECONDS = 10.0
"""Between two looks while things happen."""
TIME_SECONDS = 60.0
"""Between two looks while something waits and nothing happens: only time makes it overdue."""
AWAY_SECONDS = 60.0
"""Before it is tried again when Prefect did not take it."""
_NEWS = (
    EntryType.APPROVAL_REQUESTED, EntryType.DECISION_RECORDED, EntryType.REQUEST_GRANTED, EntryType.REQUEST_DENIED,
    EntryType.REQUEST_EXPIRED, EntryType.INCIDENT_CLOSED, EntryType.EFFECT_APPLIED, EntryType.EFFECT_UNDONE,
    EntryType.CONFIGURATION_ACTIVATED,
)  # fmt: skip


class InboxPage:
    """A duty of the keeper. As long as the record has no news and nothing waits, it does nothing at all."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._read = -1
        self._time_tells = False
        self._looked, self._not_before = 0.0, 0.0

    def keep(self) -> None:
        """Leave the page if its text changed; UnreachableError when Prefect is away, and then not again for a while."""
        now = time.monotonic()
        if now < self._not_before or not self._is_due(now):
            return
        self._not_before = now + AWAY_SECONDS
        size, inbox = self._installation.store.size(), look_into(self._installation)
        leave_page("inbox", page_of(self._installation, inbox), headline_of(inbox), None)
        self._read, self._looked, self._not_before = size, now, now + LOOK_SECONDS
        self._time_tells = bool(inbox.waiting or inbox.overdue)

    def _is_due(self, now: float) -> bool:
        if self._read < 0 or (self._time_tells and now - self._looked >= TIME_SECONDS):
            return True
        return bool(self._installation.store.entries(since=self._read, types=_NEWS))


def headline_of(inbox: Inbox) -> str:
    """The inbox in a few words."""
    if not inbox.waiting and not inbox.overdue:
        return "Nothing waits"
    return f"{counted(len(inbox.waiting), 'decision')} needed, {len(inbox.overdue)} overdue"


def page_of(installation: Installation, inbox: Inbox) -> str:
    """The inbox as markdown."""
    text = (
        f"## {headline_of(inbox)}\n\nThis is what `quell inbox` shows about decisions. To answer: open the run of the "
        "incident, **⋮** at the top right, then **Resume** (older interface: the button **Resume**); its page *approval* "
        "has everything that you need to decide. Or in a terminal: `quell inbox`. Silence is a no.\n"
    )
    if inbox.overdue:
        text += "\n### Overdue: nobody answered in time\n| Request | Incident | What | Since | Why |\n|---|---|---|---|---|\n"
        text += "".join(map(_overdue, inbox.overdue[:MOST_SHOWN])) + _more(len(inbox.overdue))
    if inbox.waiting:
        text += (
            "\n### Needed\n| Request | Incident | What | How it stands | Who can | Until |\n|---|---|---|---|---|---|\n"
        )
        text += "".join(_waiting(installation, one) for one in inbox.waiting[:MOST_SHOWN]) + _more(len(inbox.waiting))
    return text


def _more(number: int) -> str:
    return f"\nand {number - MOST_SHOWN} more: `quell inbox`\n" if number > MOST_SHOWN else ""


def _what(one: Waiting | Overdue) -> str:
    mark = "DRILL: " if one.request.drill else ""
    return f"| {one.request.id} | {one.request.incident} | {mark}{clean(one.request.what)} "


def _overdue(one: Overdue) -> str:
    return f"{_what(one)}| {utc(one.since)} | {clean(one.because)} |\n"


def _waiting(installation: Installation, one: Waiting) -> str:
    able = [name for name in eligible(installation, one.request) if name not in one.verdict.approvers]
    who = ", ".join(able) or "**nobody who is listed**"
    return f"{_what(one)}| {clean(one.verdict.because)} | {who} | {utc(one.request.expires_at)} |\n"
