"""Deliveries that could not be read: counted by source and cause, and people are told. A duty of the keeper.

A sender that changes its webhook turns every alert of its into a defect, while its deliveries keep coming: no source is
quiet, nothing opens, and without this nobody would know.
"""

from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.value import Value, digest_of, short
from tasks.installation import Installation
from tasks.intake.normalising import cause_of
from tasks.intake.outbox import looking
from tasks.ledger import Pen
from tasks.telling import tell_people

TOLD_AGAIN_HOURS = 24
LOOKED_BACK_DAYS = 7
"""What was found earlier and told to nobody is old news; `quell inbox` has it."""


class Unread(Value):
    """How many deliveries of one source could not be read, or not wholly, for one cause."""

    source: str
    cause: str
    deliveries: int
    newest: Instant


def unread_since(installation: Installation, since: Instant) -> list[Unread]:
    """What was found to be a defect since then and still is one, by source and cause."""
    with looking(installation) as store:
        rows = [] if store is None else store.defects_since(since)
    found: dict[tuple[str, str], Unread] = {}
    for source, defect, count, newest in rows:
        cause = cause_of(defect)
        known = found.get((source, cause))
        found[source, cause] = Unread(
            source=source, cause=cause, deliveries=count + (known.deliveries if known else 0),
            newest=max(newest, known.newest) if known else newest,
        )  # fmt: skip
    return list(found.values())


def defect_counts(installation: Installation) -> dict[str, int]:
    """How many deliveries of each source are defects now; one that was read after a correction counts no more."""
    counts: dict[str, int] = {}
    for one in unread_since(installation, ""):
        counts[one.source] = counts.get(one.source, 0) + one.deliveries
    return counts


def watch_defects(installation: Installation, writer: Pen, now: Instant) -> None:
    """Write down, and tell people, what cannot be read: once for each source and cause, and once a day while it goes on."""
    told = _told(installation)
    for one in unread_since(installation, later(now, -86_400 * LOOKED_BACK_DAYS)):
        last = told.get((one.source, one.cause))
        if last is None or (one.newest > last.at and later(last.at, 3600 * TOLD_AGAIN_HOURS) <= now):
            last = _write(installation, writer, one, last)
        if later(last.at, 3600 * TOLD_AGAIN_HOURS) > now:  # a channel that failed is tried again
            _tell(installation, writer, last)


def _told(installation: Installation) -> dict[tuple[str, str], LedgerEntry]:
    """The newest entry about each source and cause."""
    entries = installation.store.entries(types=(EntryType.DEFECTS_FOUND,))
    return {(str(entry.body["source"]), str(entry.body["because"])): entry for entry in entries}


def _write(installation: Installation, writer: Pen, one: Unread, last: LedgerEntry | None) -> LedgerEntry:
    count = one.deliveries
    if last is not None:
        since = {(new.source, new.cause): new.deliveries for new in unread_since(installation, last.at)}
        count = since.get((one.source, one.cause), count)
    return writer.write(
        EntryType.DEFECTS_FOUND, f"defects/{one.source}/{short(digest_of(one.cause.encode()))}/{last.index if last else 'first'}",
        body={"source": one.source, "because": one.cause, "deliveries": count},
    )  # fmt: skip


def _tell(installation: Installation, writer: Pen, entry: LedgerEntry) -> None:
    source, count = entry.body["source"], entry.body["deliveries"]
    what = "1 delivery" if count == 1 else f"{count} deliveries"
    tell_people(
        installation, writer, f"defects/{entry.index}", incident=None, channels=None,
        title=f"quell: what {source} sends cannot be read",
        text=f"{what} of the source {source} could not be read, or not wholly: {str(entry.body['because']).rstrip('.')}. "
        "Each may be an alert; what could not be read has opened nothing, and is kept. Look: quell inbox. Correct the "
        "mapping, activate it, then: quell signal replay.",
    )  # fmt: skip
