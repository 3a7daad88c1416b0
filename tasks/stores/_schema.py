"""The tables of the ledger, the same on SQLite and PostgreSQL.

What counts is `core` (the exact canonical bytes), `index` and `leaf`; the other columns of an entry repeat fields of
the core for finding it, and are compared with the core on every read.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

LAYOUT = 1
"""Written into the head row; a ledger of another layout is refused, not guessed at."""

metadata = MetaData()
_count = BigInteger().with_variant(Integer, "sqlite")

entries = Table(
    "quell_entries",
    metadata,
    Column("index", _count, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("incident", Text),
    Column("incident_seq", _count),
    Column("incident_prev", Text),
    Column("flow_run_id", Text),
    Column("core", LargeBinary, nullable=False),
    Column("leaf", Text, nullable=False),
    UniqueConstraint("incident", "incident_seq"),
    Index("quell_entries_by_type", "type", "index"),
)

head = Table(
    "quell_head",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("layout", Integer, nullable=False),
    Column("size", _count, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("root", Text, nullable=False),
    Column("last", Text),
)

claims = Table(
    "quell_claims",
    metadata,
    Column("effect_key", Text, primary_key=True),
    Column("grant", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("fence", _count, nullable=False),
    Column("lease_until", Text, nullable=False),
)

leases = Table(
    "quell_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),
    Column("fence", _count, nullable=False),
    Column("lease_until", Text, nullable=False),
)
