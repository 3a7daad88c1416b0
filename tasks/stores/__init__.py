"""Where things are kept: the ledger in a database, evidence in a vault. See README.md beside this file."""

from pathlib import Path

from tasks.stores.base import AnchorPlace, TimeStampAuthority, LedgerStore, Vault


def open_ledger(url: str, *, even_forked: bool = False) -> LedgerStore:
    """The ledger at a database URL (`sqlite:////path/ledger.db`, `postgresql://…`), its tables made when missing.

    LedgerError when the database cannot be reached or cannot keep a ledger, or when its head and last entry disagree.
    With `even_forked` the last is no obstacle to reading and `check`; writing is refused all the same.
    """
    from tasks.stores.sql import open_sql  # noqa: PLC0415 - 0.2 s that a door without a ledger need not pay

    return open_sql(url, even_forked=even_forked)


def open_vault(location: str, keys: Path) -> Vault:
    """The vault in a directory, its keys in another; EvidenceError when it cannot be used."""
    from tasks.stores.disk import open_disk  # noqa: PLC0415 - as above

    return open_disk(Path(location), keys)


def open_anchor_directory(location: str) -> AnchorPlace:
    """The second place for checkpoints, in a directory (another mount, best one that can only be added to)."""
    from tasks.stores.anchor_directory import AnchorDirectory  # noqa: PLC0415 - as above

    return AnchorDirectory(Path(location))


def open_time_stamps(url: str) -> TimeStampAuthority:
    """The RFC 3161 authority at this address."""
    from tasks.stores.time_stamps import TimeStamps  # noqa: PLC0415 - as above

    return TimeStamps(url)
