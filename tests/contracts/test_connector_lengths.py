"""A source that lies about the length of its answer: more than it sends is an error, less is what could not be read."""

from collections.abc import Iterator
from typing import Any

import pytest

from runbooks.domain.errors import EvidenceError
from tests.contracts.connectors.wire import Canned
from tests.contracts.test_connector_sources import SINCE, UNTIL, _source

LINES = b'{"a": 1}\n{"a": 2}\n{"a": 3}\n'
ROWS = b'[{"a": 1}, {"a": 2}, {"a": 3}]'


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    server.close()


@pytest.mark.parametrize(("body", "kind"), [(LINES, {"lines": True}), (ROWS, {})], ids=["lines", "rows"])
def test_more_than_was_sent_is_an_error_and_never_a_whole_answer(
    canned: Canned, body: bytes, kind: dict[str, Any]
) -> None:
    canned.answer(body, Content_Length=str(len(body) + 1000))
    with pytest.raises(EvidenceError, match="the connection broke"):
        list(_source(canned, **kind).collect("calls", SINCE, UNTIL))


def test_less_than_was_sent_cuts_a_row_which_is_counted_as_unreadable(canned: Canned) -> None:
    canned.answer(LINES, Content_Length="20")
    collected = _source(canned, lines=True).collect("calls", SINCE, UNTIL)
    assert list(collected) == [b'{"a": 1}', b'{"a": 2}', b'{"']
    assert collected.facts.unreadable == 1


def test_less_than_was_sent_of_an_array_is_an_error(canned: Canned) -> None:
    canned.answer(ROWS, Content_Length="20")
    with pytest.raises(EvidenceError, match="expected a JSON array"):
        list(_source(canned).collect("calls", SINCE, UNTIL))
