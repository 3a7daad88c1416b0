"""The record of break-glass: which were opened, until when, what they rest on, what of them stands. Reads only."""

from runbooks.domain.containment import ContainmentAction
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.signed import BreakGlass, OpenedGlass
from runbooks.domain.value import Digest
from tasks.installation import Installation


def opened_glass(installation: Installation, digest: Digest) -> OpenedGlass | None:
    """The glass of this statement, if the ledger holds it and its person signed it."""
    entry = installation.store.find(f"glass/{digest}")
    return None if entry is None or installation.signatures().fault(entry) else glass_in(installation, entry)


def glass_in(installation: Installation, entry: LedgerEntry) -> OpenedGlass:
    """What this `break_glass_opened` entry opened."""
    return OpenedGlass(
        statement=BreakGlass.from_bytes(installation.vault.get(entry.subject["glass"])),
        opened_at=str(entry.body["opened_at"]), ends_at=str(entry.body["ends_at"]),
    )  # fmt: skip


def glasses_of(installation: Installation, incident_id: str | None = None) -> list[LedgerEntry]:
    """Every breaking of the glass that somebody signed, in one incident or in all."""
    found = installation.store.entries(incident_id, types=(EntryType.BREAK_GLASS_OPENED,))
    signatures = installation.signatures() if found else None
    return [entry for entry in found if signatures and not signatures.fault(entry)]


def endings_of(installation: Installation) -> dict[Digest, list[LedgerEntry]]:
    """What became of each breaking when its time was over, and at each later try, oldest first; by its statement."""
    found: dict[Digest, list[LedgerEntry]] = {}
    for entry in installation.store.entries(types=(EntryType.BREAK_GLASS_ENDED,)):
        found.setdefault(entry.subject["glass"], []).append(entry)
    return found


def turns(installation: Installation, action: ContainmentAction) -> int:
    """How often the glass was broken for this act of this incident."""
    return sum(one.body["action"] == action.id for one in glasses_of(installation, action.incident))


def stands(installation: Installation, action: ContainmentAction) -> bool:
    """Whether this very effect was done and not given back."""
    find = installation.store.find
    return find(f"done/{action.effect_key}") is not None and find(f"done/{action.undo_key}") is None


def standing_alone(installation: Installation, action: ContainmentAction) -> ContainmentAction | None:
    """The same act as somebody did it alone, if that stands."""
    done = (action.alone(turn) for turn in range(1, turns(installation, action) + 1))
    return next((one for one in done if stands(installation, one)), None)
