"""Deliveries that nobody has read yet become signals with their classification, under the active configuration.

What cannot be read is a defect: it is kept, it stays visible, and it keeps nothing else waiting.
"""

import logging
from dataclasses import dataclass, field

from runbooks.domain.classification import Rules, classify, rules_of
from runbooks.domain.configuration import Configuration
from runbooks.domain.correlation import Correlated
from runbooks.domain.errors import IntakeDefectError, QuellError
from runbooks.domain.signal import Delivery
from tasks.installation import Installation
from tasks.intake.correlating import Correlator, Understood
from tasks.intake.normalising import normalise
from tasks.ledger import clock
from tasks.stores import SignalStore, open_signals, open_spool
from tasks.stores.base import Spool

log = logging.getLogger("quell.intake")

BATCH = 100
"""Deliveries at a time; each may have a body of a megabyte."""


@dataclass
class Intake:
    """Spool to incidents, in one thread."""

    installation: Installation
    spool: Spool = field(init=False)
    store: SignalStore = field(init=False)
    _digest: str = ""
    _rules: Rules | None = None
    _correlator: Correlator | None = None

    def __post_init__(self) -> None:
        self.store = open_signals(self.installation.settings.signals)
        self.spool = open_spool(self.installation.settings.signals)

    def close(self) -> None:
        """Let the files go."""
        self.store.close()
        self.spool.close()

    def take_in(self) -> tuple[int, list[Correlated]]:
        """One batch of what is unread: how many deliveries, and what became of their new signals."""
        unread = self.spool.unread(BATCH)
        if not unread:
            return 0, []
        correlator, rules = self._current()
        batch = [self._understand(delivery, body, correlator.configuration, rules) for delivery, body in unread]
        correlator.learn(clock())
        return len(batch), self._correlate(correlator, batch)

    def look_again(self) -> None:
        """What time brings: closures that the ledger holds, quiet that begins or ends."""
        correlator, _ = self._current()
        correlator.learn(clock())
        correlator.end_quiet(clock())

    def _current(self) -> tuple[Correlator, Rules]:
        digest = self.installation.active_digest()
        if self._correlator is None or self._rules is None or digest != self._digest:
            configuration = self.installation.configuration(digest)
            books = {kind: self.installation.runbook(kind, configuration) for kind in configuration.runbooks}
            self._rules = rules_of(configuration, books)
            self._correlator = Correlator(self.installation, self.store, configuration)
            self._digest = digest
        return self._correlator, self._rules

    def _understand(self, delivery: Delivery, body: bytes, configuration: Configuration, rules: Rules) -> Understood:
        source = configuration.sources.get(delivery.source)
        if source is None:
            return Understood(delivery.id, defect=f"the active configuration knows no source {delivery.source}")
        try:
            said = normalise(delivery, body, source)
            found = tuple((signal, classify(signal, rules)) for signal in said.signals)
        except IntakeDefectError as error:
            return Understood(delivery.id, defect=error.problem)
        except Exception as error:  # noqa: BLE001 - whatever one delivery does to us, the others are read
            log.error("%s could not be read: %s", delivery.id, type(error).__name__)  # noqa: TRY400 - it may quote it
            return Understood(delivery.id, defect=f"quell itself failed to read it ({type(error).__name__})")
        return Understood(delivery.id, found, said.defect)

    def _correlate(self, correlator: Correlator, batch: list[Understood]) -> list[Correlated]:
        try:
            return correlator.take_in(batch, clock())
        except QuellError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            if len(batch) == 1:
                log.error("%s could not be taken in: %s", batch[0].delivery, type(error).__name__)  # noqa: TRY400
                broken = f"quell itself failed to take it in ({type(error).__name__})"
                return correlator.take_in([Understood(batch[0].delivery, defect=broken)], clock())
        return [said for one in batch for said in self._correlate(correlator, [one])]
