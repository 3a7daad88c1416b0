"""Signals and what they became, beside the spool in one SQLite file: known events, open incidents, the outbox.

One transaction takes a delivery in: its signals, the incident that they open or join, the row that starts a response,
and the mark that the delivery was read. A crash leaves all of it or nothing, and the delivery is read again. That two
events are the same, and that one key has one open incident, is held by unique indexes and not by looking first.
"""

from runbooks.domain.correlation import AlertState, Correlated, GotWorse, KnownIncident, Standing
from runbooks.domain.instants import Instant
from runbooks.domain.severity import Severity
from runbooks.domain.signal import Classified, Delivered, Signal
from runbooks.domain.value import Digest
from tasks.stores._outbox import Outbox, taken
from tasks.stores.base import DeliveryFate, TakenSignal

_KNOWN = "id, key, standing, at_once, severity, opened_at, last_signal_at, ended_at"


class SignalStore(Outbox):
    """The file of signals, for one thread."""

    # Deliveries and signals.

    def read(self, delivery: str, at: Instant, signals: int, defect: str = "") -> None:
        """The delivery was read: so many signals, and what could not be read. Reading again replaces what was said."""
        self._do("UPDATE delivery SET done = 1 WHERE id = ?", delivery)
        self._do("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?)", delivery, at, signals, defect)

    def defects(self, most: int) -> list[tuple[str, str, str, str]]:
        """Delivery, source, when and why, of what could not be read or not wholly, newest first."""
        found = self._all(
            "SELECT r.delivery, coalesce(d.source, ''), r.read_at, r.defect FROM reading r LEFT JOIN delivery d"
            " ON d.id = r.delivery WHERE r.defect <> '' ORDER BY r.read_at DESC LIMIT ?", most,
        )  # fmt: skip
        return [(str(delivery), str(source), str(at), str(defect)) for delivery, source, at, defect in found]

    def defects_since(self, since: Instant) -> list[tuple[str, str, int, Instant]]:
        """Source, why, how many and when the newest, of what was found to be a defect after this instant."""
        found = self._all(
            "SELECT d.source, r.defect, count(*), max(r.read_at) FROM reading r JOIN delivery d ON d.id = r.delivery"
            " WHERE r.defect <> '' AND r.read_at > ? GROUP BY d.source, r.defect ORDER BY d.source, r.defect", since,
        )  # fmt: skip
        return [(str(source), str(defect), int(str(count)), str(newest)) for source, defect, count, newest in found]

    def known(self, signal: Signal) -> tuple[Digest, Digest] | None:
        """Mapping and key of this event, if it was delivered before."""
        found = self._all(
            "SELECT mapping, key FROM signal WHERE source = ? AND event_key = ?", signal.source, signal.event_key
        )
        return (str(found[0][0]), str(found[0][1])) if found else None

    def keep(self, signal: Signal, classified: Classified, key: Digest, said: Correlated) -> None:
        """Keep a signal with what became of it; in place of how the same event was read before, if it was."""
        self._do(
            "INSERT INTO signal(source, event_key, mapping, delivery, key, received_at, verdict, incident, quiet, because,"
            " signal, classified) VALUES (?, ?, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT (source, event_key) DO"
            " UPDATE SET mapping = ?3, delivery = ?4, key = ?5, received_at = ?6, verdict = ?7, incident = ?8, quiet = ?9,"
            " because = ?10, signal = ?11, classified = ?12",
            signal.source, signal.event_key, signal.mapping, signal.delivery, key, signal.received_at, said.verdict,
            said.incident, said.quiet, said.because, signal.canonical(), classified.canonical(),
        )  # fmt: skip

    def alert(self, source: str, alert: str) -> AlertState | None:
        """How an alert stands."""
        found = self._all("SELECT state, at FROM alert WHERE source = ? AND alert = ?", source, alert)
        return AlertState.model_validate(dict(zip(("state", "at"), found[0], strict=True))) if found else None

    def keep_alert(self, source: str, alert: str, state: AlertState, incident: str | None) -> None:
        """How it stands now; it stays with the incident that it joined."""
        self._do(
            "INSERT INTO alert VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET state = ?3, at = ?4,"
            " incident = coalesce(?5, incident)", source, alert, state.state, state.at, incident,
        )  # fmt: skip

    def alerts(self, incident: str) -> dict[str, int]:
        """How many alerts of this incident fire, and how many are resolved. All resolved is advice, never a closure."""
        found = self._all("SELECT state, count(*) FROM alert WHERE incident = ? GROUP BY state", incident)
        return {str(state): int(str(count)) for state, count in found}

    def signals_since(self, key: Digest, since: Instant) -> int:
        """How many signals had this key since then, the ends of alerts not counted."""
        found = self._all(
            "SELECT count(*) FROM signal WHERE key = ? AND received_at >= ? AND verdict <> 'resolved'", key, since
        )
        return int(str(found[0][0]))

    def signals_of(self, incident: str, first: int) -> list[TakenSignal]:
        """The first so many signals of an incident, in the order in which they were taken in."""
        found = self._all(
            "SELECT delivery, verdict, because, signal, classified FROM signal WHERE incident = ? ORDER BY seq LIMIT ?",
            incident, first,
        )  # fmt: skip
        return [taken(row) for row in found]

    def delivered(self, incident: str, most: int) -> tuple[int, list[Delivered], list[Delivered]]:
        """How many deliveries this incident's signals came in, the first ones, and the newest beyond those."""
        by_delivery = "SELECT delivery, min(seq) AS seq FROM signal WHERE incident = ? GROUP BY delivery"
        count = int(str(self._all(f"SELECT count(*) FROM ({by_delivery})", incident)[0][0]))  # noqa: S608 - our own words
        first = self._delivered(f"{by_delivery} ORDER BY seq LIMIT ?", incident, most)
        newest = self._delivered(f"{by_delivery} ORDER BY seq DESC LIMIT ?", incident, max(0, min(most, count - most)))
        return count, first, newest

    def one_delivered(self, delivery: str) -> Delivered:
        """This delivery, with the digest of its bytes."""
        return self._delivered("SELECT ? AS delivery, 0 AS seq", delivery)[0]

    def _delivered(self, which: str, *values: object) -> list[Delivered]:
        found = self._all(
            f"SELECT w.delivery, d.digest FROM ({which}) w LEFT JOIN delivery d ON d.id = w.delivery ORDER BY w.seq",  # noqa: S608
            *values,
        )
        return [
            Delivered(receipt=str(one), body_digest=f"sha256:{digest.hex()}" if isinstance(digest, bytes) else None)
            for one, digest in found
        ]

    def fate(self, delivery: str) -> DeliveryFate | None:
        """What became of a delivery; None while nobody has read it."""
        read = self._all("SELECT defect <> '' AND signals = 0 FROM reading WHERE delivery = ?", delivery)
        if not read:
            return None
        found = self._all(
            "SELECT DISTINCT i.id, i.standing FROM signal s JOIN incident i ON i.id = s.incident WHERE s.delivery = ?",
            delivery,
        )
        standings = tuple(Standing(str(standing)) for _, standing in found)
        return DeliveryFate(unreadable=bool(read[0][0]), incidents=standings)

    def deliveries(self, source: str | None, since_ns: int, *, only_defects: bool) -> list[str]:
        """Receipts of what was read, of this source (None: of all) and received since then, oldest first."""
        found = self._all(
            "SELECT d.id FROM delivery d JOIN reading r ON r.delivery = d.id WHERE d.done = 1 AND d.received_ns >= ?1"
            " AND (?2 IS NULL OR d.source = ?2) AND (?3 = 0 OR r.defect <> '') ORDER BY d.seq",
            since_ns, source, int(only_defects),
        )  # fmt: skip
        return [str(one) for (one,) in found]

    def read_again(self, deliveries: list[str]) -> None:
        """Let these be read once more, as if they had just come; what is known stays known."""
        with self.writing():
            for delivery in deliveries:
                self._do("UPDATE delivery SET done = 0 WHERE id = ?", delivery)

    # Incidents.

    def newest(self, key: Digest) -> KnownIncident | None:
        """The newest incident of this key, or that is reached by it; one that is open before all others."""
        found = self._all(
            f"SELECT {_KNOWN} FROM incident WHERE key = ?1 OR id IN (SELECT incident FROM reached WHERE key = ?1)"  # noqa: S608
            " ORDER BY standing = 'open' DESC, opened_at DESC LIMIT 1", key,
        )  # fmt: skip
        return _known(found[0]) if found else None

    def find(self, incident: str) -> KnownIncident | None:
        """The incident of this id."""
        found = self._all(f"SELECT {_KNOWN} FROM incident WHERE id = ?", incident)  # noqa: S608
        return _known(found[0]) if found else None

    def open(
        self, known: KnownIncident, draft: bytes, *, system: str, made_at: Instant, recurrence_of: str | None,
        storm: str | None, signals: int = 1,
    ) -> None:  # fmt: skip
        """A new incident, and the row by which its response starts.

        Another one that is open under its own key takes no further signals: those went to whoever continues one of that
        key, and one key has one open incident.
        """
        self._do(
            "UPDATE incident SET standing = ?, ended_at = coalesce(ended_at, last_signal_at) WHERE key = ? AND standing = ?",
            Standing.PASSED, known.key, Standing.OPEN,
        )  # fmt: skip
        self._do(
            f"INSERT INTO incident({_KNOWN}, made_at, system, signals, recurrence_of, storm)"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            known.id, known.key, known.standing, known.at_once, known.severity, known.opened_at, known.last_signal_at,
            known.ended_at, made_at, system, signals, recurrence_of, storm,
        )  # fmt: skip
        self._do(
            "INSERT INTO outbox(incident, rank, draft, made_at) VALUES (?, ?, ?, ?)",
            known.id, known.severity.rank, draft, made_at,
        )  # fmt: skip

    def hear_of(self, known: KnownIncident, system: str, reached_by: Digest) -> None:
        """An incident that stands in the ledger and that people opened: signals reach it; nothing here starts it."""
        self._do(
            f"INSERT OR IGNORE INTO incident({_KNOWN}, made_at, system, signals)"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            known.id, known.key, known.standing, known.at_once, known.severity, known.opened_at, known.last_signal_at,
            known.ended_at, known.opened_at, system,
        )  # fmt: skip
        self._do("INSERT OR IGNORE INTO reached VALUES (?, ?)", reached_by, known.id)

    def hand_over(self, before: str, after: str, at: Instant) -> None:
        """Whatever reached the one incident reaches the other from now on."""
        self._do("INSERT OR IGNORE INTO reached SELECT key, ?2 FROM incident WHERE id = ?1", before, after)
        self._do("INSERT OR IGNORE INTO reached SELECT key, ?2 FROM reached WHERE incident = ?1", before, after)
        self.end(before, Standing.PASSED, at)

    def join(self, incident: str, at: Instant) -> None:
        """One signal more, received then."""
        self._do(
            "UPDATE incident SET signals = signals + 1, last_signal_at = max(last_signal_at, ?) WHERE id = ?",
            at, incident,
        )  # fmt: skip

    def raise_severity(self, incident: str, severity: Severity, worse: GotWorse) -> None:
        """The incident got worse; the ledger hears of it through `worse`. A response that waits moves forward."""
        self._do("UPDATE incident SET severity = ? WHERE id = ?", severity, incident)
        self._do("UPDATE outbox SET rank = ? WHERE incident = ? AND started_at IS NULL", severity.rank, incident)
        self._do("INSERT OR REPLACE INTO worse VALUES (?, ?)", incident, worse.canonical())

    def end(self, incident: str, standing: Standing, at: Instant) -> None:
        """No further signal joins. What was closed stays closed."""
        self._do(
            "UPDATE incident SET standing = ?, ended_at = coalesce(ended_at, ?) WHERE id = ? AND standing NOT IN ('closed', 'untouched')",
            standing, at, incident,
        )  # fmt: skip

    def made_since(self, since: Instant) -> list[tuple[str, str, str | None]]:
        """Id, system and storm of what signals opened since then, oldest first; storms themselves are not among them."""
        found = self._all(
            "SELECT i.id, i.system, i.storm FROM incident i JOIN outbox o ON o.incident = i.id"
            " WHERE i.made_at >= ? AND i.storm IS NOT i.id ORDER BY i.made_at, i.id", since,
        )  # fmt: skip
        return [(str(one), str(system), None if storm is None else str(storm)) for one, system, storm in found]

    def counts(self, incident: str) -> tuple[int, int]:
        """Signals of this incident, and how many of them the ledger was told of."""
        found = self._all("SELECT signals, noted FROM incident WHERE id = ?", incident)
        return (int(str(found[0][0])), int(str(found[0][1]))) if found else (0, 0)

    def to_note(self) -> list[tuple[str, int]]:
        """Incidents that stand in the ledger and have signals that it was not told of: id and count."""
        found = self._all(
            "SELECT i.id, i.signals FROM incident i LEFT JOIN outbox o ON o.incident = i.id"
            " WHERE i.signals > i.noted AND (o.incident IS NULL OR o.opened_at IS NOT NULL)"
        )
        return [(str(one), int(str(count))) for one, count in found]

    def noted(self, incident: str, count: int) -> None:
        """The ledger was told of so many."""
        self._do("UPDATE incident SET noted = ? WHERE id = ?", count, incident)


def _known(row: tuple[object, ...]) -> KnownIncident:
    return KnownIncident.model_validate(dict(zip(_KNOWN.split(", "), row, strict=True)))
