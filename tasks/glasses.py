"""The record of break-glass: which were opened, until when, and what they rest on. Reads only."""

from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.signed import BreakGlass, OpenedGlass
from runbooks.domain.value import Digest
from tasks.installation import Installation


def opened_glass(installation: Installation, digest: Digest) -> OpenedGlass | None:
    """The glass of this statement, if the ledger holds it."""
    entry = installation.store.find(f"glass/{digest}")
    return None if entry is None else glass_in(installation, entry)


def glass_in(installation: Installation, entry: LedgerEntry) -> OpenedGlass:
    """What this `break_glass_opened` entry opened."""
    return OpenedGlass(
        statement=BreakGlass.from_bytes(installation.vault.get(entry.subject["glass"])),
        opened_at=str(entry.body["opened_at"]), ends_at=str(entry.body["ends_at"]),
    )  # fmt: skip


def glasses_of(installation: Installation, incident_id: str | None = None) -> list[LedgerEntry]:
    """Every breaking of the glass, in one incident or in all."""
    return installation.store.entries(incident_id, types=(EntryType.BREAK_GLASS_OPENED,))
