"""Where things are kept: the ledger in a database, evidence in a vault. See README.md beside this file."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from runbooks.domain.bucket import BucketSettings, is_bucket
from tasks.stores._outside import AnchorPlace, BucketCheck, TimeStampAuthority
from tasks.stores._signal_file import is_made
from tasks.stores.base import LedgerStore, Spool, Vault
from tasks.stores.signals import SignalStore as SignalStore


def warm() -> None:
    """Import every store, and what SQLAlchemy needs for each database, for processes that will be forked."""
    for file in Path(__file__).parent.glob("*.py"):
        if not file.stem.startswith("_"):
            import_module(f"{__name__}.{file.stem}")
    for dialect in ("sqlite", "postgresql"):
        import_module(f"sqlalchemy.dialects.{dialect}")


def open_ledger(url: str, *, even_forked: bool = False) -> LedgerStore:
    """The ledger at a database URL (`sqlite:////path/ledger.db`, `postgresql://…`), its tables made when missing.

    LedgerError when the database cannot be reached or cannot keep a ledger, or when its head and last entry disagree.
    With `even_forked` the last is no obstacle to reading and `check`; writing is refused all the same.
    """
    from tasks.stores.sql import open_sql  # noqa: PLC0415 - 0.2 s that a door without a ledger need not pay

    return open_sql(url, even_forked=even_forked)


def open_vault(
    location: str, keys: Path, bucket: BucketSettings | None = None, secret: Callable[[str], str] = str
) -> Vault:
    """The vault in a directory or at `s3://bucket/prefix`, its keys in another directory; EvidenceError when unusable.

    A bucket needs its settings, and `secret` to read its credentials with.
    """
    if is_bucket(location):
        from tasks.stores.s3 import open_s3  # noqa: PLC0415 - as above

        return open_s3(location, bucket, secret, keys)
    from tasks.stores.disk import open_disk  # noqa: PLC0415 - as above

    return open_disk(Path(location), keys)


def try_bucket(location: str, bucket: BucketSettings | None, secret: Callable[[str], str] = str) -> list[BucketCheck]:
    """What this bucket really refuses, tried out on small objects that stay locked for a few minutes."""
    from tasks.stores.bucket_probe import probe  # noqa: PLC0415 - as above

    return probe(location, bucket, secret)


def open_anchor_directory(
    location: str, bucket: BucketSettings | None = None, secret: Callable[[str], str] = str
) -> AnchorPlace:
    """The second place for checkpoints: a directory (another mount, best one that can only be added to), or a bucket."""
    if is_bucket(location):
        from tasks.stores.anchor_bucket import open_anchor_bucket  # noqa: PLC0415 - as above

        return open_anchor_bucket(location, bucket, secret)
    from tasks.stores.anchor_directory import AnchorDirectory  # noqa: PLC0415 - as above

    return AnchorDirectory(Path(location))


def open_time_stamps(url: str) -> TimeStampAuthority:
    """The RFC 3161 authority at this address."""
    from tasks.stores.time_stamps import TimeStamps  # noqa: PLC0415 - as above

    return TimeStamps(url)


def open_spool(path: Path) -> Spool:
    """The spool of deliveries in this SQLite file, made when missing; LedgerError when it cannot be."""
    from tasks.stores.spool import SqliteSpool  # noqa: PLC0415 - as above

    return SqliteSpool(path)


def open_signals(path: Path) -> SignalStore:
    """What became of the deliveries in this file, for one thread; LedgerError when it cannot be opened."""
    if not path.exists():
        open_spool(path).close()  # makes the file, for its owner only, with the table that both know
    return SignalStore(path)


def signals_are_made(path: Path) -> bool:
    """Whether somebody took signals in here, as it stands now; nothing is made, and no writer is waited for."""
    return is_made(path)
