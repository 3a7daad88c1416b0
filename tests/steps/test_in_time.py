"""A source is cut when its time is over, also while it hands over nothing; containment never waits longer for it."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from runbooks.domain.errors import EvidenceError, UnreachableError
from runbooks.domain.evidence import Captured, EvidenceClass, Manifest
from tasks.connectors import open_connector, otlp_file
from tasks.evidence import seal_now
from tasks.in_time import InTime
from tasks.installation import Installation
from tasks.ledger import clock, flow_actor
from tests.flows.people import until
from tests.steps.desk import Desk

NAME = "a source of evidence"
ALWAYS = ("2000-01-01T00:00:00.000000000Z", "2100-01-01T00:00:00.000000000Z")


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


@pytest.fixture(autouse=True)
def _nobody_reads_on() -> Iterator[None]:
    yield
    until(lambda: not readers(), 10, what="whoever read a source is gone")


class Told:
    """Whether the source was told that nobody waits any more."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def passing_over(self, *first: bytes) -> Iterator[bytes]:
        """These items, then much of which nothing is asked for."""
        yield from first
        while not self.over.wait(0.01):
            pass

    def hanging(self, *first: bytes) -> Iterator[bytes]:
        """These items, then one read that does not come back."""
        yield from first
        self.over.wait(60)


@pytest.mark.parametrize("kind", ["passing_over", "hanging"])
def test_a_source_that_hands_over_nothing_more_is_cut(kind: str) -> None:
    told, began = Told(), time.monotonic()
    items = InTime(getattr(told, kind)(b"one", b"two"), 0.5, told.over.set)
    taken = iter(items)
    assert [next(taken), next(taken)] == [b"one", b"two"]
    with pytest.raises(EvidenceError, match=r"it had not ended after 0.5 s \(evidence_source_deadline_seconds\)"):
        next(taken)
    assert items.cut
    assert 0.4 < time.monotonic() - began < 5


def test_a_source_without_end_is_cut_though_it_never_pauses() -> None:
    told = Told()
    items = InTime((b"{}" for _ in iter(told.over.is_set, True)), 0.3, told.over.set)
    with pytest.raises(EvidenceError, match="had not ended"):
        sum(1 for _ in items)
    assert items.cut


def test_what_ended_in_time_is_whole_however_slow_whoever_takes_it_is() -> None:
    items = InTime(iter([b"one", b"two", b"three"]), 0.2, lambda: None)
    slowly = iter(items)
    taken = [next(slowly)]
    time.sleep(0.4)
    assert [*taken, *slowly] == [b"one", b"two", b"three"]
    assert not items.cut


def test_what_the_source_says_of_its_failure_is_passed_on() -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise UnreachableError("it is away.", now="nothing", next_step="wait")

    items = InTime(broken(), 30, lambda: None)
    with pytest.raises(UnreachableError, match="it is away"):
        list(items)
    assert not items.cut


def test_so_much_is_read_ahead_and_no_more() -> None:
    told, read, size = Told(), list[int](), 100_000

    def source() -> Iterator[bytes]:
        for number in range(50):
            read.append(number)
            yield bytes(size)

    items = iter(InTime(source(), 60, told.over.set))
    next(items)
    time.sleep(0.3)
    assert size * len(read) < 3 << 20
    assert sum(1 for _ in items) == 49


def test_empty_items_take_room_too() -> None:
    told, read = Told(), list[int]()

    def source() -> Iterator[bytes]:
        for number in range(100_000):
            read.append(number)
            yield b""

    items = iter(InTime(source(), 60, told.over.set))
    next(items)
    time.sleep(0.5)
    assert len(read) < 50_000
    assert sum(1 for _ in items) == 99_999


def test_time_is_looked_at_for_each_item_that_is_taken() -> None:
    told, taken = Told(), 0
    with pytest.raises(EvidenceError, match="had not ended"):  # noqa: PT012
        for _ in InTime(told.passing_over(*(b"x",) * 500), 0.2, told.over.set):
            taken += 1
            time.sleep(0.002)
            assert told.over.is_set() or taken < 150, "the source is told while what came is still being taken"
    assert taken == 500, "what came in time is handed on"


def test_whoever_stops_taking_leaves_nobody_reading() -> None:
    told = Told()
    for _ in InTime((b"{}" for _ in iter(told.over.is_set, True)), 30, told.over.set):
        break
    until(lambda: not readers(), 5, what="nobody reads")
    assert told.over.is_set()


class Book(BaseHTTPRequestHandler):
    """Rows of years ago, page by page, whatever is asked for."""

    asked: list[int] = []

    def do_GET(self) -> None:
        page = int(parse_qs(urlsplit(self.path).query).get("since", ["0"])[0])
        self.asked.append(page)
        time.sleep(0.02)
        body = json.dumps({"rows": [{"at": "2019-01-01T00:00:00Z"}] * 3, "last": page + 1}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def book() -> Iterator[str]:
    Book.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Book)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


def hurried(desk: Desk) -> Installation:
    limits = desk.installation.settings.limits.model_copy(update={"evidence_source_deadline_seconds": 1})
    return Installation(desk.installation.settings.model_copy(update={"limits": limits}))


def sealed_g(desk: Desk) -> tuple[Captured, str]:
    """How the class of the source in question stands after sealing under a limit of one second."""
    incident, place, began = desk.declare(), hurried(desk), time.monotonic()
    manifest = Manifest.from_bytes(place.vault.get(seal_now(place, place.pen(flow_actor("test")), incident)))
    assert time.monotonic() - began < 40
    (standing,) = (one for one in manifest.standings if one.evidence_class is EvidenceClass.G)
    return standing.captured, standing.reason


def source(desk: Desk, kind: str, settings: str, what: str) -> None:
    """Class G comes from such a source."""
    desk.change("systems.toml", 'evidence_class = "G"\nconnector = "side"\nwhat = "effects"',
                f'evidence_class = "G"\nconnector = "odd"\nwhat = "{what}"')  # fmt: skip
    desk.change("systems.toml", "[systems.helper.connections.side]\n",
                f'[systems.helper.connections.odd]\nkind = "{kind}"\n{settings}\n[systems.helper.connections.side]\n')  # fmt: skip


def test_pages_of_which_no_row_is_asked_for_are_cut_and_partial(desk: Desk, book: str) -> None:
    source(desk, "http_source", f"""[systems.helper.connections.odd.settings]
base_url = "{book}"
[systems.helper.connections.odd.settings.sources.calls]
path = "/book"
rows = "rows"
time = "at"
query = {{since = "0"}}
pages = {{field = "last", parameter = "since"}}
""", "calls")  # fmt: skip
    captured, reason = sealed_g(desk)
    assert captured is Captured.PARTIAL
    assert "it had not ended after 1 s" in reason
    assert len(Book.asked) > 2
    until(lambda: not readers(), 5, what="the source is left alone")
    seen = len(Book.asked)
    time.sleep(0.3)
    assert len(Book.asked) == seen, "the next page is not asked for"


def a_line() -> bytes:
    """A line of traces of years ago."""
    span = {"startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode() + b"\n"


def test_lines_of_which_none_is_asked_for_are_cut_and_partial(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "old.jsonl").write_bytes(a_line() * 10_000)
    source(desk, "otlp_file", f'[systems.helper.connections.odd.settings]\ndirectory = "{tmp_path}/traces"\n', "all")
    looked, belongs = list[float](), otlp_file._belongs

    def slowly(*args: object) -> bool:
        looked.append(time.monotonic())
        time.sleep(0.005)
        return belongs(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(otlp_file, "_belongs", slowly)
    captured, reason = sealed_g(desk)
    assert captured is Captured.PARTIAL
    assert "it had not ended after 1 s" in reason
    until(lambda: not readers(), 5, what="the file is closed")
    assert 2 < len(looked) < 10_000, "the next line is not looked at"


def test_a_connector_that_was_given_up_stays_so(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_bytes(a_line() * 3)
    connector = open_connector("otlp_file", "odd", "helper", {"directory": str(tmp_path)}, str, clock)
    connector.give_up()
    with pytest.raises(EvidenceError, match="it took too long; the rest was not read"):
        list(connector.collect("all", *ALWAYS))
    assert connector.deadline.left() <= 0
