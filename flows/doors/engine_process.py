"""Prefect's own server, unchanged but for two things, on which a burst of responses would otherwise wait.

**On SQLite, a transaction that is to write begins as a writer.**
Prefect begins them as readers (`BEGIN DEFERRED`). SQLite lets no reader become a writer once somebody else has written
in between: it fails at once, whatever the busy timeout is, and Prefect answers 503. Its clients then pause for 2, 4, 8 s.
Measured: of 120 runs that 12 writers created, 114 were refused; a burst of 30 responses took 160 s instead of 40, and some
of them failed. A writer waits for its turn, for milliseconds. Prefect begins some of its own transactions so, and says why.

Only the session that asked for a transaction: what is read meanwhile on another one (pausing a queue does that) reads
without, or it would wait for the writer that waits for it.

**A deployment's parameter schema is found to be a schema once**, and not anew for each run that is created from it: that
was a quarter of the server's work while thirty runs were started. What a run brings is held against it as ever.

Besides, Python looks for garbage less often here.

`python -m flows.doors.engine_process server start ...`: the arguments are those of `prefect`.
"""

import gc
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from prefect.cli import app
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.utilities.schema_tools import validation
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


MOST_SCHEMAS = 64
COLLECT_AFTER = 10_000, 20, 20
"""Python's own 700 objects are little for a server that makes thousands for each answer."""


def once_per_schema(check: Callable[..., None]) -> Callable[..., None]:
    """In place of a validator's `check_schema`, which raises SchemaError: what it found sound is sound."""
    sound: set[str] = set()

    @wraps(check)
    def remembered(schema: Any, **how: Any) -> None:
        told = json.dumps(schema, sort_keys=True, default=repr)
        if told in sound:
            return
        check(schema, **how)
        if len(sound) < MOST_SCHEMAS:
            sound.add(told)

    return remembered


def remember_schemas() -> None:
    """For the validator that Prefect made for itself; a release that has none of that name checks as it always did."""
    made: Any = getattr(validation, "_VALIDATOR", None)
    if made is not None:
        made.check_schema = once_per_schema(made.check_schema)


if __name__ == "__main__":
    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign]
    remember_schemas()
    gc.set_threshold(*COLLECT_AFTER)
    app()
