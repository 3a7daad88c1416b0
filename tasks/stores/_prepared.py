"""Statements compiled once and given straight to the driver: appending is the one path where that is worth it.

SQLAlchemy still writes the SQL for each database; only its executing machinery (about 0.1 ms per statement, as much
as the commit itself) is left out.
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
        given = {**self._fixed, **values} if self._fixed else values
        cursor.execute(self._text, given if self._order is None else [given[name] for name in self._order])
        if cursor.description is None:
            return None
        row = cursor.fetchone()
        if self._row is None:
            self._row = namedtuple("Row", [column[0] for column in cursor.description])  # type: ignore[misc]  # noqa: PYI024 - columns are known at run time
        return None if row is None else self._row._make(row)
