"""Statements compiled once and given straight to the driver: for appending, and for the reads that a response repeats.

SQLAlchemy still writes the SQL for each database; only its executing machinery (about 0.1 ms per statement, as much
as the commit itself; 0.3 ms with the transaction around a read, of which a response makes 80 before its first act is
proven) is left out.
"""

from collections import namedtuple
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement, Dialect


class Prepared:
    """One statement of one dialect. Give it values under the statement's own parameter names."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, columns: tuple[str, ...] | None = None) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        self._text = str(compiled)
        self._order: list[str] | None = compiled.positiontup
        self._fixed: dict[str, Any] = {name: value for name, value in compiled.params.items() if value is not None}
        self._row: Any = None

    def run(self, cursor: Any, values: Mapping[str, Any]) -> Any:
        """Execute on a driver's cursor; the first row with its columns as attributes, or None."""
        self._execute(cursor, values)
        row = None if cursor.description is None else cursor.fetchone()
        return None if row is None else self._row._make(row)

    def all(self, cursor: Any, values: Mapping[str, Any]) -> list[Any]:
        """Execute on a driver's cursor; every row, as above."""
        self._execute(cursor, values)
        return [self._row._make(row) for row in cursor.fetchall()]

    def _execute(self, cursor: Any, values: Mapping[str, Any]) -> None:
        given = {**self._fixed, **values} if self._fixed else values
        cursor.execute(self._text, given if self._order is None else [given[name] for name in self._order])
        if self._row is None and cursor.description is not None:
            self._row = namedtuple("Row", [column[0] for column in cursor.description])  # type: ignore[misc]  # noqa: PYI024 - columns are known at run time
