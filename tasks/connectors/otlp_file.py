"""Traces in OTLP/JSON files, one export request a line, as OpenTelemetry's file exporter writes them.

Every line is handed over exactly as it lies there, whatever it holds: it is evidence. Only its spans' times, operation
names and dropped counts are looked at; a line that cannot be understood is handed over too, and counted. A file is read
up to the length that it had when it was opened, so that one that grows for ever ends. Memory: one line.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from runbooks.domain.instants import Instant, instant_from_ns
from tasks.connectors._collected import Collected, Facts
from tasks.connectors._paths import pick
from tasks.connectors._signals import Limits, MissingError, NotDoneError, Place, shown
from tasks.connectors.base import Connector

OPERATIONS = {"tool_calls": {"execute_tool"}, "documents": {"retrieval"}}
"""What a line must hold a span of (`gen_ai.operation.name`) to belong to a selection; `prompts` and `all` take every line."""
SPANS = "resourceSpans.*.scopeSpans.*.spans.*"
DROPPED = ("droppedAttributesCount", "droppedEventsCount", "droppedLinksCount")


class Settings(Limits):
    """`directory` and the files in it; links that lead out of it are refused."""

    directory: Path
    pattern: Annotated[str, Field(pattern=r"^[^/]+$")] = "*.jsonl"
    largest_bytes: int = Field(default=1_000_000_000, gt=0)
    """Of all files together; beyond it the collection ends with an error, which becomes a named gap."""
    largest_line_bytes: int = Field(default=16_000_000, gt=0)


class OtlpFile(Connector):
    """Evidence only: `prompts` (all lines), `tool_calls`, `documents`, `all`."""

    def __init__(self, place: Place, settings: Settings) -> None:
        super().__init__(place, settings)
        self._settings = settings

    def _collect(self, what: str, since: Instant, until: Instant) -> Collected:
        if what not in {"prompts", "all", *OPERATIONS}:
            raise MissingError(f"there is no selection {shown(what)}: expected prompts, tool_calls, documents or all")
        files = self._files()
        facts = Facts("application/json", dropped=0)
        return Collected(self._lines(files, OPERATIONS.get(what), since, until, facts), facts)

    def _check(self) -> list[str]:
        self._files()
        return []

    def _files(self) -> list[Path]:
        """The files, oldest name first; there must be one, and all must lie in the directory."""
        root = self._settings.directory.resolve()
        files = sorted(root.glob(self._settings.pattern))
        if not files:
            raise MissingError(f"no file {self._settings.pattern} in {root}")
        outside = [file.name for file in files if not file.resolve().is_relative_to(root) or not file.is_file()]
        if outside:
            raise NotDoneError(f"{', '.join(map(shown, outside))}: expected files that lie in {root}")
        return files

    def _lines(
        self, files: list[Path], operations: set[str] | None, since: Instant, until: Instant, facts: Facts
    ) -> Iterator[bytes]:
        budget = self._settings.largest_bytes
        for file in files:
            with file.open("rb") as opened:
                left = os.fstat(opened.fileno()).st_size
                if left > budget:
                    raise NotDoneError(f"{file.name}: the files hold more than {self._settings.largest_bytes} bytes")
                budget -= left
                while left > 0 and (line := opened.readline(min(left, self._settings.largest_line_bytes + 1))):
                    if self.deadline.given_up:
                        raise NotDoneError(f"{file.name}: it took too long; the rest was not read")
                    left -= len(line)
                    if len(line) > self._settings.largest_line_bytes:
                        raise NotDoneError(f"{file.name}: a line longer than {self._settings.largest_line_bytes} bytes")
                    item = line.rstrip(b"\r\n")
                    if item and _belongs(item, operations, since, until, facts):
                        yield item


def _belongs(line: bytes, operations: set[str] | None, since: Instant, until: Instant, facts: Facts) -> bool:
    """Whether the line is asked for; what cannot be understood is. Counts what the source says it dropped."""
    try:
        document = json.loads(line)
        spans = [span for span in pick(document, SPANS) if isinstance(span, dict)]
        inside = any(_start(span) <= until and _end(span) >= since for span in spans)
    except (ValueError, TypeError, OverflowError, RecursionError):
        spans = []
    if not spans:
        facts.unreadable += 1
        return True
    if not inside:
        return False
    if operations is not None and not operations & {_operation(span) for span in spans}:
        return False
    facts.dropped = (facts.dropped or 0) + sum(
        _dropped(one) for one in [*spans, *pick(document, "resourceSpans.*.resource")]
    )
    for url in pick(document, "resourceSpans.*.scopeSpans.*.schemaUrl"):
        facts.schema_url = shown(url)
    return True


def _start(span: dict[str, Any]) -> Instant:
    return instant_from_ns(int(span.get("startTimeUnixNano", 0)))


def _end(span: dict[str, Any]) -> Instant:
    return instant_from_ns(int(span["endTimeUnixNano"])) if "endTimeUnixNano" in span else _start(span)


def _operation(span: dict[str, Any]) -> str:
    for attribute in pick(span, "attributes.*"):
        if isinstance(attribute, dict) and attribute.get("key") == "gen_ai.operation.name":
            return str((attribute.get("value") or {}).get("stringValue"))
    return ""


def _dropped(one: Any) -> int:
    counts = [one.get(name, 0) for name in DROPPED] if isinstance(one, dict) else []
    return sum(count for count in counts if isinstance(count, int) and count > 0)


connect = OtlpFile
