"""What attacks were seen to do, on its way from the process that performed them to the end of the run."""

from collections.abc import Iterable

ROW = "attack"
"""The property under which a test records its row."""


def table(rows: Iterable[str]) -> str:
    """The table, as markdown."""
    return "\n".join(["| Attack | Expected | Seen |", "|---|---|---|", *rows])
