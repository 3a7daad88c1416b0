"""What a person reads (a terminal, 2 a.m.) and what a program reads (one JSON object on standard output)."""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runbooks.domain.instants import Instant, milliseconds_between
from runbooks.domain.value import Json

LONGEST = 2000
SHORT = 18
"""Letters of a cell that is never broken."""


def plain(text: object, longest: int = LONGEST) -> str:
    """Text that may be hostile, as one harmless piece: no control or direction characters, bounded."""
    kept = "".join(c if c.isprintable() else ("\n" if c == "\n" else "\N{MIDDLE DOT}") for c in str(text))
    return kept if len(kept) <= longest else kept[:longest] + f" … ({len(kept) - longest} more)"


def ago(then: Instant, now: Instant) -> str:
    """How long ago, as people say it: `40 s ago`, `12 min ago`, `3 h 5 min ago`, `2 d ago`."""
    seconds = milliseconds_between(then, now) // 1000
    return f"{duration(seconds)} ago" if seconds > 0 else "just now"


def duration(seconds: int) -> str:
    """A number of seconds, in the units that say it."""
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86400} d"


class Say:
    """Two audiences. With JSON wanted only `result` writes to standard output; notices always go to standard error."""

    def __init__(self, *, wants_json: bool) -> None:
        self.wants_json = wants_json
        self._out = Console(highlight=False, markup=False, emoji=False)
        self._err = Console(highlight=False, markup=False, emoji=False, stderr=True)

    def line(self, text: str = "", style: str | None = None) -> None:
        """One line for the person."""
        if not self.wants_json:
            self._out.print(Text(plain(text), style=style or ""), soft_wrap=True)

    def head(self, text: str) -> None:
        """A heading for the person."""
        self.line()
        self.line(text, "bold")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str = "none") -> None:
        """A table for the person; `empty` when it has no rows."""
        if self.wants_json:
            return
        headed = any(columns)
        shown = [[plain(cell) for cell in row] for row in rows]
        if not shown:
            self.line(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), show_header=headed)
        for number, column in enumerate(columns):
            longest = max(len(column), *(len(row[number]) for row in shown))
            table.add_column(Text(column), overflow="fold", no_wrap=longest <= SHORT or (not headed and number == 0))
        if not headed:
            table.columns[0].style = "dim"
        for row in shown:
            table.add_row(*map(Text, row))
        self._out.print(table)

    def pairs(self, rows: Iterable[tuple[str, object]]) -> None:
        """Names and values that somebody will copy: never broken, whatever the width."""
        for name, value in rows:
            self.line(f"{name:10}  {plain(value)}")

    def notice(self, text: str) -> None:
        """Something that a person should know, never in the way of the result."""
        if not self.wants_json:
            self._err.print(Text(plain(text)), soft_wrap=True)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """A spinner while something takes time; silent when nobody watches."""
        if self.wants_json or not self._err.is_terminal:
            yield
            return
        with self._err.status(Text(text)):
            yield

    def result(self, value: dict[str, Json], code: int = 0) -> int:
        """The one JSON object, if wanted; `ok` says whether the exit code is 0. Returns the exit code."""
        if self.wants_json:
            print(json.dumps({"ok": code == 0, **value}, indent=2))
        return code


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
