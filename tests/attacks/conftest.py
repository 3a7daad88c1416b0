"""The table of attacks at the end of whatever run they were part of."""

import pytest

from tests.attacks.table import SHOWN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Attack, expected, seen."""
    for table in SHOWN:
        terminalreporter.section("attacks on a running installation")
        terminalreporter.write_line(table)
