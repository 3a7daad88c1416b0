"""Prefect's own server, unchanged but for one word: on SQLite, a transaction that may write begins as a writer.

Prefect begins them as readers (`BEGIN DEFERRED`). SQLite lets no reader become a writer once somebody else has written
in between: it fails at once, whatever the busy timeout is, and Prefect answers 503. Its clients then pause for 2, 4, 8 s.
Measured: of 120 runs that 12 writers created, 114 were refused; a burst of 30 responses took 160 s instead of 40, and some
of them failed. A writer waits for its turn, for milliseconds. Prefect begins some of its own transactions so, and says why.

`python -m flows.doors.engine_process server start ...`: the arguments are those of `prefect`.
"""

from typing import Any

from prefect.cli import app
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def begin_as_writer(conn: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    del conn, cursor
    return ("BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement), parameters


if __name__ == "__main__":
    app()
