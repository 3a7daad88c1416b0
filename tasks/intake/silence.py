"""Sources that went quiet: a duty of the keeper. Some senders try once, or stop after five failures, and say nothing.

1. Silence counts from the newest delivery, or from when the source began to be watched, whichever is later. The record
   says when that was, so that a keeper that starts anew forgets nothing.
2. A keeper that has just started waits a while before it calls a source quiet: senders could not reach quell either
   while it was down, and some come again.
"""

from contextlib import closing

from runbooks.domain.errors import QuellError
from runbooks.domain.instants import Instant, instant_from_ns, milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.installation import Installation
from tasks.intake.committing import spool_of
from tasks.ledger import Pen
from tasks.telling import tell_people

GRACE_MINUTES = 10
"""After a start of the keeper; less where a source's own limit is shorter."""


def quiet_for(last: Instant | None, watched_since: Instant, now: Instant) -> int:
    """Whole minutes since something came; what came, or could not, before it was watched does not count."""
    return milliseconds_between(max(last or watched_since, watched_since), now) // 60_000


def watched_since(installation: Installation, name: str) -> Instant:
    """When the configuration began to watch this source, without a break until now: the time of that activation."""
    entries = installation.signatures().activations
    since = entries[-1].at
    for entry in reversed(entries):
        try:
            source = installation.configuration(entry.subject["configuration"]).sources.get(name)
        except (QuellError, ValueError):
            break  # of an older quell, and not to be read any more
        if source is None or source.quiet_after_minutes is None:
            break
        since = entry.at
    return since


def watch_sources(installation: Installation, writer: Pen, started: Instant, now: Instant) -> list[str]:
    """Write down, and tell people, which sources went quiet, once for each silence; and which are heard again.

    Returns the names of those that are quiet now. `started`: when this keeper began to look.
    """
    watched = {
        name: source.quiet_after_minutes
        for name, source in installation.active().sources.items() if source.quiet_after_minutes is not None
    }  # fmt: skip
    if not watched:
        return []
    quiet = []
    looked = milliseconds_between(started, now) // 60_000
    alarms = _alarms(installation)
    with closing(spool_of(installation)) as spool:
        last = {name: spool.last_from(name) for name in watched}
    for name, minutes in watched.items():
        heard = None if (at := last[name]) is None else instant_from_ns(at)
        alarm = alarms.get(name)
        if alarm is not None and heard is not None and heard > alarm.at:
            writer.write(
                EntryType.SOURCE_HEARD, f"heard/{name}/{alarm.index}", body={"source": name, "heard_at": heard}
            )
        elif alarm is not None or (
            looked >= min(GRACE_MINUTES, minutes)  # 2
            and quiet_for(heard, instant_from_ns(0), now) >= minutes
            and quiet_for(heard, watched_since(installation, name), now) >= minutes  # 1
        ):
            quiet.append(name)
            _tell(installation, writer, name, minutes, heard)
    return quiet


def _alarms(installation: Installation) -> dict[str, LedgerEntry]:
    """The newest entry about each source that is an alarm; a source that was heard again has none."""
    found: dict[str, LedgerEntry] = {}
    for entry in installation.store.entries(types=(EntryType.SOURCE_QUIET, EntryType.SOURCE_HEARD)):
        if entry.type is EntryType.SOURCE_QUIET:
            found[str(entry.body["source"])] = entry
        else:
            found.pop(str(entry.body["source"]), None)
    return found


def _tell(installation: Installation, writer: Pen, name: str, minutes: int, heard: Instant | None) -> None:
    key = f"quiet/{name}/{heard or 'never'}"
    writer.write(
        EntryType.SOURCE_QUIET, key, body={"source": name, "last_heard": heard, "after_minutes": minutes},
    )  # fmt: skip
    since = f"since {heard[:16]} UTC" if heard else "ever"
    tell_people(
        installation, writer, key, incident=None, channels=None,
        title=f"quell: the source {name} is quiet",
        text=f"Nothing came from the source {name} {since}; expected something every {minutes} minutes. Its alerts may "
        "be lost meanwhile: see whether the sender switched its webhook off, and whether it reaches the door.",
    )  # fmt: skip
