"""What waits to be done about signals: responses to start, things that the ledger is to be told, quiet that will end."""

from runbooks.domain.correlation import Correlated, GotWorse, Quiet
from runbooks.domain.instants import Instant
from runbooks.domain.signal import Classified, Signal
from tasks.stores._signal_file import SignalFile, as_bytes
from tasks.stores.base import OutboxRow, TakenSignal

_OUTBOX = "incident, rank, draft, made_at, opened_at, started_at, run, tries, problem"
_TAKEN = "delivery, verdict, because, signal, classified"


class Outbox(SignalFile):
    """The part of the file that the dispatcher works through."""

    # The outbox.

    def unopened(self) -> list[OutboxRow]:
        """Incidents that do not stand in the ledger yet, the worst first."""
        return self._rows("opened_at IS NULL", 100)

    def next_start(self) -> OutboxRow | None:
        """The response that starts next: the worst, then the oldest, of those whose incident stands."""
        found = self._rows("opened_at IS NOT NULL", 1)
        return found[0] if found else None

    def waiting(self) -> list[OutboxRow]:
        """Responses that have not started, in the order in which they will: the worst first, then the oldest."""
        return self._rows("1", -1)

    def _rows(self, which: str, most: int) -> list[OutboxRow]:
        found = self._all(
            f"SELECT {_OUTBOX} FROM outbox WHERE started_at IS NULL AND {which} ORDER BY tries, rank, seq LIMIT ?", most  # noqa: S608
        )  # fmt: skip
        return [OutboxRow.model_validate(dict(zip(_OUTBOX.split(", "), row, strict=True))) for row in found]

    def others_wait(self, incident: str) -> bool:
        """Whether other responses are to be started from here, and no try of theirs failed."""
        found = self._all(
            "SELECT 1 FROM outbox WHERE started_at IS NULL AND problem = '' AND incident <> ? LIMIT 1", incident
        )
        return bool(found)

    def is_waiting(self, incident: str) -> bool:
        """Whether this response is still to be started from here."""
        return bool(self._all("SELECT 1 FROM outbox WHERE incident = ? AND started_at IS NULL", incident))

    def opened(self, incident: str, at: Instant) -> None:
        """It stands in the ledger."""
        self._do("UPDATE outbox SET opened_at = coalesce(opened_at, ?) WHERE incident = ?", at, incident)

    def started(self, incident: str, at: Instant, run: str) -> None:
        """Its response was started."""
        self._do("UPDATE outbox SET started_at = ?, run = ?, problem = '' WHERE incident = ?", at, run, incident)

    def not_started(self, incident: str, problem: str, *, refused: bool) -> None:
        """A try came to nothing, or nobody knows; the next one has the same key. One that is refused lets others pass."""
        self._do("UPDATE outbox SET tries = tries + ?, problem = ? WHERE incident = ?", refused, problem, incident)

    # What the ledger is to be told.

    def worse(self) -> list[tuple[str, GotWorse]]:
        """Incidents that stand in the ledger and got worse since it was told last."""
        found = self._all(
            "SELECT w.incident, w.body FROM worse w LEFT JOIN outbox o ON o.incident = w.incident"
            " WHERE o.incident IS NULL OR o.opened_at IS NOT NULL"
        )
        return [(str(one), GotWorse.from_bytes(as_bytes(body))) for one, body in found]

    def told_worse(self, incident: str, worse: GotWorse) -> None:
        """The ledger was told of this one."""
        self._do("DELETE FROM worse WHERE incident = ? AND body = ?", incident, worse.canonical())

    # Quiet, and marks.

    def keep_quiet(self, quiet: Quiet, *, over: bool = False) -> None:
        """A snooze or a maintenance window, begun, or over and its signals looked at again."""
        self._do("INSERT OR REPLACE INTO quiet VALUES (?, ?, ?, ?)", quiet.id, quiet.until, over, quiet.canonical())

    def quiets(self) -> list[Quiet]:
        """Those that are not over."""
        return [Quiet.from_bytes(as_bytes(row[0])) for row in self._all("SELECT body FROM quiet WHERE over = 0")]

    def kept_quiet(self, quiet: str) -> list[TakenSignal]:
        """The signals that it keeps back."""
        found = self._all(f"SELECT {_TAKEN} FROM signal WHERE quiet = ? ORDER BY seq", quiet)  # noqa: S608 - our own words
        return [taken(row) for row in found]

    def joined_after(self, incident: str, at: Instant) -> list[TakenSignal]:
        """Signals that joined this incident and were received after this instant."""
        found = self._all(
            f"SELECT {_TAKEN} FROM signal WHERE incident = ? AND received_at > ? ORDER BY seq", incident, at  # noqa: S608
        )  # fmt: skip
        return [taken(row) for row in found]

    def settle(self, signal: Signal, said: Correlated) -> None:
        """What became of a signal that was kept quiet until now."""
        self._do(
            "UPDATE signal SET verdict = ?, incident = ?, quiet = ?, because = ? WHERE source = ? AND event_key = ?",
            said.verdict, said.incident, said.quiet, said.because, signal.source, signal.event_key,
        )  # fmt: skip

    def mark(self, name: str) -> str:
        """A place that somebody came to; empty at first."""
        found = self._all("SELECT value FROM mark WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def set_mark(self, name: str, value: str) -> None:
        """Remember the place."""
        self._do("INSERT OR REPLACE INTO mark VALUES (?, ?)", name, value)


def taken(row: tuple[object, ...]) -> TakenSignal:
    """A row of signals, read."""
    delivery, verdict, because, signal, classified = row
    return TakenSignal(
        delivery=str(delivery), verdict=str(verdict), because=str(because), signal=Signal.from_bytes(as_bytes(signal)),
        classified=Classified.from_bytes(as_bytes(classified)),
    )  # fmt: skip
