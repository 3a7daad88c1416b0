"""Prefect's own server, unchanged but for one word: on SQLite, a transaction that is to write begins as a writer.

Prefect begins them as readers (`BEGIN DEFERRED`). SQLite lets no reader become a writer once somebody else has written
in between: it fails at once, whatever the busy timeout is, and Prefect answers 503. Its clients then pause for 2, 4, 8 s.
Measured: of 120 runs that 12 writers created, 114 were refused; a burst of 30 responses took 160 s instead of 40, and some
of them failed. A writer waits for its turn, for milliseconds. Prefect begins some of its own transactions so, and says why.

Only the session that asked for a transaction: what is read meanwhile on another one (pausing a queue does that) reads
without, or it would wait for the writer that waits for it.

`python -m flows.doors.engine_process server start ...`: the arguments are those of `prefect`.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.cli import app
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


@asynccontextmanager
async def begin_as_writer(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = False
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    """In place of `AioSqliteConfiguration.begin_transaction`; `with_for_update` is what every one gets."""
    del self, with_for_update
    async with session.begin() as transaction:
        mode = SQLITE_BEGIN_MODE.set("IMMEDIATE")
        try:
            await session.connection()  # here it begins
        finally:
            SQLITE_BEGIN_MODE.reset(mode)
        yield transaction


if __name__ == "__main__":
    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign]
    app()
