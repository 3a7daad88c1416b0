"""Claims on effects and leases on duties: who may act now. Every taking gets the next fence; fences never go back.

Time comes from the caller's clock; a lease ends when the caller's `now` is at or past it. These rows are working
memory: what was claimed is also an entry, and the entry is the record.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Update, bindparam, insert, select, update

from runbooks.domain.effects import OUTCOMES, is_not_done
from runbooks.domain.errors import GrantRefusedError
from runbooks.domain.instants import Instant, later
from runbooks.domain.ledger import LedgerEntry
from runbooks.domain.value import Digest
from tasks.stores._rows import entry_of
from tasks.stores._schema import claims, entries, leases
from tasks.stores.base import ClaimRow, LeaseRow

CLAIM = select(claims).where(claims.c.effect_key == bindparam("of_effect"))
"""The newest claim on this effect."""
LEASE = select(leases).where(leases.c.name == bindparam("of_duty"))
"""Who took this duty last."""


def claim_in(row: Any) -> ClaimRow | None:
    """The claim in its row; None where there is none."""
    return None if row is None else ClaimRow(**row._asdict())


def lease_in(row: Any) -> LeaseRow | None:
    """The lease in its row; None when nobody took it or it was given back."""
    return None if row is None or row.holder is None else LeaseRow(**row._asdict())


def take_claim(
    connection: Connection,
    effect_key: str,
    *,
    incident: str,
    grant: Digest,
    holder: str,
    now: Instant,
    lease_seconds: int,
    gone: Callable[[str], bool],
) -> ClaimRow | None:
    """The new claim, or None while another live holder has it.

    GrantRefusedError for another grant than before, unless what was claimed before is certainly not done.
    """
    old = claim_in(connection.execute(CLAIM, {"of_effect": effect_key}).one_or_none())
    told = [] if old is None else _outcomes(connection, incident)
    if old is not None and old.grant != grant:
        if not is_not_done(told, effect_key, old.fence, dead=gone(old.holder)):
            raise GrantRefusedError(
                f"the effect {effect_key} was claimed under the grant {old.grant}; this is the grant {grant}.",
                now="nothing was sent under this grant; the outcome under the other one is in the ledger.",
                next_step="look at the other grant's outcome; as long as it is not certain that nothing came of it, "
                "only that one goes on.",
            )
    elif old is not None and not _free(old.holder, old.lease_until, holder, now, gone):
        return None
    taken = ClaimRow(
        effect_key=effect_key,
        grant=grant,
        holder=holder,
        fence=1 if old is None else old.fence + 1,
        lease_until=later(now, lease_seconds),
        resumed=old is not None and not is_not_done(told, effect_key, old.fence),
    )
    values = taken.model_dump(exclude={"resumed"})
    if old is None:
        connection.execute(insert(claims), values)
    else:
        connection.execute(update(claims).where(claims.c.effect_key == effect_key), values)
    return taken


def _outcomes(connection: Connection, incident: str) -> list[LedgerEntry]:
    kinds = [kind.value for kind in OUTCOMES]
    query = select(entries).where(entries.c.incident == incident, entries.c.type.in_(kinds)).order_by(entries.c.index)
    return [entry_of(row) for row in connection.execute(query)]


def take_lease(
    connection: Connection, name: str, *, holder: str, now: Instant, seconds: int, gone: Callable[[str], bool]
) -> int | None:
    """The fence of the new lease, or None while another live holder has it."""
    row = connection.execute(LEASE, {"of_duty": name}).one_or_none()
    values = {"name": name, "holder": holder, "lease_until": later(now, seconds)}
    if row is None:
        connection.execute(insert(leases), values | {"fence": 1})
        return 1
    if row.holder is not None and not _free(row.holder, row.lease_until, holder, now, gone):
        return None
    fence: int = row.fence + 1
    connection.execute(update(leases).where(leases.c.name == name), values | {"fence": fence})
    return fence


def renew_lease(connection: Connection, name: str, holder: str, fence: int, *, now: Instant, seconds: int) -> bool:
    """Prolong, even past its end as long as nobody else took it."""
    changed = connection.execute(_held(name, holder, fence).values(lease_until=later(now, seconds)))
    return changed.rowcount == 1


def release_lease(connection: Connection, name: str, holder: str, fence: int) -> None:
    """Give it back; the row stays, because the next fence must be a higher one."""
    connection.execute(_held(name, holder, fence).values(holder=None))


def _held(name: str, holder: str, fence: int) -> Update:
    return update(leases).where(leases.c.name == name, leases.c.holder == holder, leases.c.fence == fence)


def _free(old: str, until: Instant, holder: str, now: Instant, gone: Callable[[str], bool]) -> bool:
    return old == holder or until <= now or gone(old)
