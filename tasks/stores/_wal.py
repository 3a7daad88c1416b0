"""Write-ahead logging of a SQLite file, switched on by whoever comes first."""

import sqlite3
import time


def make_wal(base: sqlite3.Connection, busy_seconds: float) -> None:
    """Two who open a new file at the same instant: SQLite refuses one of them at once, without its busy timeout."""
    until = time.monotonic() + busy_seconds
    while True:
        try:
            base.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                base.close()
                raise
            time.sleep(0.01)
        else:
            return
