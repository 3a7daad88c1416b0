"""`quell up` shows that it works while it starts, and stops showing it when it is up."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flows.doors.commands._say import Say
from flows.doors.commands.serve import spinning_until_up


class Watched(Say):
    """Somebody watches: whether something moves now."""

    moves = False

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        assert "starting" in text
        self.moves = True
        yield
        self.moves = False


def test_something_moves_until_it_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    say, seen = Watched(wants_json=False), []
    lines = ["Starting the Prefect server.", "quell is up after 9.1 s, with 5 deployments.", "Stopping."]
    with spinning_until_up(say, watched=True) as out:
        for line in lines:
            out(line)
            seen.append(say.moves)
    assert seen == [True, False, False]
    assert capsys.readouterr().out.splitlines() == lines


def test_into_a_file_nothing_moves() -> None:
    say = Watched(wants_json=False)
    with spinning_until_up(say, watched=False):
        assert not say.moves
