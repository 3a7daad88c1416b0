"""Any HTTP API: what a target, an answer or a far side may try, and what then holds. Each case was a way to be fooled."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runbooks.domain.containment import Reversibility, Verb
from runbooks.domain.errors import ConfigurationError, ContainmentError, Outcome
from tests.contracts.connectors.case import Case, perform_on
from tests.contracts.connectors.far_side import FarSide
from tests.contracts.connectors.wire import Canned


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    server.close()


def _http(canned: Canned, **changes: Any) -> FarSide:
    read = {"method": "GET", "path": "/tools/{target}", "query": {"tenant": "{desired:tenant}"}}
    settings = {
        "base_url": canned.url,
        "reversibility": "R1",
        "capture": {"request": read, "extract": {"enabled": "tool.enabled"}},
        "apply": {"request": {"method": "POST", "path": "/tools/{target}/state", "json": {"enabled": False, "why": "{target}"}}},
        "verify": {"request": read, "extract": {"enabled": "tool.enabled"}, "expect": {"enabled": "false"}},
        "undo": {"request": {"method": "POST", "path": "/tools/{target}/state", "json": {"enabled": "{captured:enabled|json}"}}},
        "read_seconds": 1, "readback_seconds": 0, "deadline_seconds": 3,
        **changes,
    }  # fmt: skip
    return FarSide(
        kind="http_action", verb=Verb.CALL_HTTP, settings=settings, target="refund", missing="", desired={"tenant": "a"},
        reversibility=Reversibility.R1, taken_away=bool, effects=lambda: _posts(canned),
    )  # fmt: skip


def _posts(canned: Canned) -> int:
    return sum(request.startswith(b"POST") for request in canned.requests)


ON, OFF = b'{"tool": {"enabled": true}}', b'{"tool": {"enabled": false}}'
READS = 6  # two for existence, two for the photograph, two before sending


def _reads(canned: Canned, body: bytes = ON, times: int = READS) -> None:
    for _ in range(times):
        canned.answer(body)


@pytest.mark.parametrize(
    "target", ["../admin", "a/b", "a?x=1", "a#b", "{captured:enabled}", "a%2e", "x@evil.example", "ü ñ"]
)
def test_a_target_stays_one_path_segment(canned: Canned, target: str) -> None:
    far = _http(canned)
    _reads(canned)
    canned.answer(b"{}")
    canned.answer(OFF)
    perform_on(far, target=target, desired={"tenant": "a&b=c"})
    for request in canned.requests:
        line, _, rest = request.partition(b"\r\n")
        path = line.split()[1].partition(b"?")[0]
        assert path.count(b"/") == (3 if line.startswith(b"POST") else 2)
        assert path.startswith(b"/tools/")
        assert f"host: {canned.url.removeprefix('http://')}".encode() in rest.lower()
        assert b"&b=" not in line
    sent = next(request for request in canned.requests if request.startswith(b"POST"))
    assert json.loads(sent.partition(b"\r\n\r\n")[2]) == {"enabled": False, "why": target}


@pytest.mark.parametrize("target", ["", ".", ".."])
def test_dots_and_nothing_are_no_target(canned: Canned, target: str) -> None:
    with pytest.raises(ContainmentError, match="path segment"):
        perform_on(_http(canned), target=target)
    assert not canned.requests


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"undo": None}, "what cannot be undone must say so"),
        ({"reversibility": "R0"}, "this kind changes things"),
        ({"headers": {"X": "{target}"}}, "only {secret:NAME}"),
        (
            {"capture": {"request": {"method": "GET", "path": "/{tagret}"}, "extract": {"a": "b"}}},
            "only the placeholders",
        ),
        ({"capture": {"request": {"method": "GET", "path": "//evil.example/"}, "extract": {"a": "b"}}}, None),
        (
            {"apply": {"request": {"method": "POST", "path": "/x", "query": {"k": "{secret:a}"}}}},
            "only the placeholders",
        ),
        ({"apply": {"request": {"method": "POST", "path": "/x"}, "ok": {}}}, "an empty condition would hold always"),
    ],
)
def test_settings_that_could_fool_us_are_refused(canned: Canned, change: dict[str, Any], said: str | None) -> None:
    if said is None:  # two slashes: still below our own host
        canned.answer(b'{"b": "1"}')
        far = _http(
            canned,
            **change,
            verify={"request": change["capture"]["request"], "extract": {"e": "b"}, "expect": {"e": "2"}},
        )
        case = Case(far)
        case.connector().observe(case.action)
        assert canned.requests[0].startswith(b"GET //evil.example/ ")
        return
    with pytest.raises(ConfigurationError, match=said):
        Case(_http(canned, **change)).connector()


def test_an_answer_of_200_that_says_no_is_not_believed(canned: Canned) -> None:
    ok = {"status": [200], "json_field": "isError", "any_of": [False]}
    request = {"method": "POST", "path": "/tools/{target}/state"}
    far = _http(canned, apply={"request": request, "ok": ok})
    _reads(canned)
    canned.answer(b'{"isError": true}')
    canned.answer(ON)
    with pytest.raises(ContainmentError, match="not as ok demands") as caught:
        perform_on(far)
    assert caught.value.outcome is Outcome.UNKNOWN


def test_an_answer_of_200_that_changed_nothing_is_not_believed(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"{}")
    canned.answer(ON)
    with pytest.raises(ContainmentError, match="it said yes; read back, it shows enabled=true") as caught:
        perform_on(_http(canned))
    assert caught.value.outcome is Outcome.UNKNOWN
    assert _posts(canned) == 1


def test_a_refusal_is_not_done_and_is_not_sent_again(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"secret words of the far side", status=403)
    canned.answer(ON)
    case = Case(_http(canned))
    with pytest.raises(ContainmentError, match="answered 403") as caught:
        case.perform()
    assert caught.value.outcome is Outcome.NOT_DONE
    assert _posts(canned) == 1
    assert "secret words" not in caught.value.diagnostics() + str(case.record)


def test_too_many_requests_is_waited_for(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"", status=429, Retry_After="1")
    _reads(canned, times=2)
    canned.answer(b"{}")
    canned.answer(OFF)
    started = time.monotonic()
    receipt = perform_on(_http(canned))
    assert time.monotonic() - started >= 1
    assert not receipt.recovered
    assert _posts(canned) == 2


def test_a_wait_beyond_the_deadline_is_not_begun(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"", status=429, Retry_After="3600")
    canned.answer(ON)
    started = time.monotonic()
    with pytest.raises(ContainmentError, match="429") as caught:
        perform_on(_http(canned))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert time.monotonic() - started < 2


def test_a_redirect_is_never_followed(canned: Canned) -> None:
    other = Canned()
    other.answer(OFF)
    _reads(canned)
    canned.answer(b"", status=307, Location=f"{other.url}/elsewhere")
    canned.answer(ON)
    with pytest.raises(ContainmentError, match="answered 307") as caught:
        perform_on(_http(canned))
    assert caught.value.outcome is Outcome.UNKNOWN
    assert not other.requests
    other.close()


def test_a_dripping_far_side_cannot_hold_us(canned: Canned) -> None:
    _reads(canned)
    canned.drip(0.2)
    started = time.monotonic()
    with pytest.raises(ContainmentError) as caught:
        perform_on(_http(canned))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert time.monotonic() - started < 5, "the deadline is 3 seconds"


def test_an_endless_answer_is_cut(canned: Canned) -> None:
    canned.answer(b"x" * 5000)
    far = _http(canned, largest_answer_bytes=4000)
    with pytest.raises(ContainmentError, match="longer than 4000 bytes"):
        perform_on(far)


def test_a_header_that_a_secret_breaks_is_not_sent(canned: Canned) -> None:
    far = _http(canned, headers={"Authorization": "Bearer {secret:key}"}, secrets={"key": "file:key"})
    far.secrets = {"file:key": "one\r\nX-Evil: two"}
    with pytest.raises(ContainmentError) as caught:
        perform_on(far)
    assert caught.value.outcome is Outcome.NOT_DONE
    assert not any(canned.requests), "a connection may be opened, and nothing is said on it"
    assert "Evil" not in caught.value.diagnostics()
