"""Evidence from a URL of the system: rows as JSON lines, or as a JSON array somewhere in an answer.

Each row is handed over as exactly the bytes that arrived: a line, or the slice of the array that holds it. Nothing is
serialised again. A `Date` header is the source's clock.
"""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from runbooks.domain.instants import Instant, instant_from, milliseconds_between, moment
from runbooks.domain.reference import SecretReference
from runbooks.domain.value import Json
from tasks.connectors._collected import Collected, Facts
from tasks.connectors._http import Answer, BaseUrl, Http, Network, demand_success
from tasks.connectors._paths import pick
from tasks.connectors._signals import MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector

MOST_PAGES = 10_000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Paging(_Frozen):
    """The next page's `parameter` is the value of `field` in this one; an empty page is the last."""

    field: str
    parameter: str


class Source(_Frozen):
    """One thing that can be collected."""

    path: Annotated[str, Field(pattern=r"^/[^?#\s]*$")]
    query: dict[str, str] = Field(default={})
    rows: str = ""
    """Dotted path of the array in the answer; empty when the answer is the array itself, or lines."""
    lines: bool = False
    time: str | None = None
    """Dotted path of a row's time (ISO 8601). Without it every row is taken; a row without one is taken too."""
    pages: Paging | None = None


class Settings(Network):
    """`sources` by name: the name is what an evidence source selects with `what`."""

    base_url: BaseUrl
    bearer: SecretReference | None = None
    sources: Annotated[dict[str, Source], Field(min_length=1)]
    largest_answer_bytes: int = Field(default=64_000_000, gt=0)
    """Of one answer; one answer is held in memory."""


class HttpSource(Connector):
    """Evidence only."""

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._settings = settings
        self._http = Http(settings.base_url, settings, self.deadline)

    def _collect(self, what: str, since: Instant, until: Instant) -> Collected:
        source = self._settings.sources.get(what)
        if source is None:
            raise MissingError(f"settings.sources has no {shown(what)}")
        facts = Facts("application/json")
        first = self._get(source, dict(source.query), facts)  # an unreachable source fails here, not midway
        return Collected(self._rows(source, first, since, until, facts), facts)

    def _check(self) -> list[str]:
        for source in self._settings.sources.values():
            self._get(source, dict(source.query), Facts("application/json"))
        return []

    def _rows(self, source: Source, answer: Answer, since: Instant, until: Instant, facts: Facts) -> Iterator[bytes]:
        query, seen = dict(source.query), {json.dumps(source.query)}
        for _ in range(MOST_PAGES):
            items = _split(answer, source)
            for item in items:
                if _inside(item, source.time, since, until, facts):
                    yield item
            if source.pages is None or not items:
                return
            found = pick(answer.json(), source.pages.field)
            if len(found) != 1 or isinstance(found[0], dict | list | bool) or found[0] in {None, ""}:
                return
            query[source.pages.parameter] = str(found[0])
            if json.dumps(query) in seen:
                return
            seen.add(json.dumps(query))
            self.deadline.restart(self._settings.deadline_seconds)
            answer = self._get(source, query, facts)
        raise NotDoneError(f"{source.path}: more than {MOST_PAGES} pages")

    def _get(self, source: Source, query: dict[str, str], facts: Facts) -> Answer:
        headers = (
            {}
            if self._settings.bearer is None
            else {"Authorization": f"Bearer {self.place.secret(self._settings.bearer)}"}
        )
        started, before = time.monotonic(), self.place.now()
        answer = self._http.call("GET", source.path, query=query or None, headers=headers)
        demand_success(answer, f"GET {source.path}", (200,))
        facts.source_clock = answer.headers.get("Date")
        facts.clock_offset_ms = _offset(facts.source_clock, before, round((time.monotonic() - started) * 1000))
        return answer


def _offset(date: str | None, before: Instant, took_ms: int) -> int | None:
    """Source clock minus ours at the middle of the call; the header has whole seconds, so it is good to one second."""
    try:
        return milliseconds_between(before, instant_from(parsedate_to_datetime(date or ""))) - took_ms // 2
    except (ValueError, TypeError):
        return None


def _split(answer: Answer, source: Source) -> list[bytes]:
    if source.lines:
        return [line for line in answer.body.split(b"\n") if line.strip()]
    try:
        text = answer.body.decode("utf-8")
        start = _find(text, _skip(text, 0), source.rows.split(".") if source.rows else [])
        return [text[begin:end].encode() for begin, end in _elements(text, start)]
    except (ValueError, IndexError, RecursionError):
        raise NotDoneError(f"{source.path}: expected a JSON array at {source.rows or 'the top'}") from None


def _find(text: str, at: int, path: list[str]) -> int:
    """Where the value at `path` begins; ValueError when there is none."""
    for part in path:
        at = next(begin for key, begin in _members(text, at) if key == part)
    return at


def _members(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Each key of the object that begins at `at`, and where its value begins."""
    decode = json.JSONDecoder().raw_decode
    if text[at] != "{":
        raise ValueError("no object")
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        yield key, at
        _, at = decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
    raise ValueError("no such key")


def _elements(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Where each element of the array that begins at `at` begins and ends."""
    decode = json.JSONDecoder().raw_decode
    if text[at] != "[":
        raise ValueError("no array")
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = decode(text, at)
        yield at, end
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _inside(item: bytes, path: str | None, since: Instant, until: Instant, facts: Facts) -> bool:
    try:
        row: Json = json.loads(item)
    except (ValueError, RecursionError):
        facts.unreadable += 1
        return True
    found = pick(row, path) if path else []
    try:
        at = datetime.fromisoformat(str(found[0])) if found else None
        return at is None or moment(since) <= at <= moment(until)
    except (ValueError, TypeError):
        facts.unreadable += 1
        return True


connect = HttpSource
