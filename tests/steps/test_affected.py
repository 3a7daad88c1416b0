"""Whom the harm reached: done, real effects of harmful tools since it began; a fact where a sealed trace shows it too."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import tasks.evidence
from runbooks.domain.evidence import EvidenceClass
from runbooks.domain.incident import AffectedRecord, AffectedRecords, Standing
from runbooks.domain.instants import later
from runbooks.domain.ledger import EntryType
from tasks.evidence import list_affected, seal_evidence
from tasks.ledger import clock
from tests.steps.desk import Desk

TOOL = "issue_refund"


def row(trace: str, order: str, at: str, **more: Any) -> dict[str, Any]:
    """A line of the tool server's book."""
    told = {"order_id": order, "amount": "50.00"}
    return {"tool": TOOL, "outcome": "done", "trace_id": trace, "arguments": told, "at": at} | more


def trace(trace_id: str, **more: Any) -> bytes:
    """One sealed conversation in which the tool was called."""
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": TOOL} | more
    told = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    spans = [{"traceId": trace_id, "attributes": told, "status": {"code": 1}}]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


@pytest.fixture
def listed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, tuple[AffectedRecord, ...]]]:
    """The incident, and its register as it is kept, from these sealed traces and lines of the book."""
    desk.change(
        "systems.toml", 'title = "Helper (practice)"', f'title = "Helper (practice)"\nharmful_tools = ["{TOOL}"]'
    )

    def register(
        traces: list[bytes], book: list[dict[str, Any] | bytes], *more: str
    ) -> tuple[str, tuple[AffectedRecord, ...]]:
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in book]
        sealed: dict[EvidenceClass, Iterable[bytes]] = {EvidenceClass.A: traces, EvidenceClass.G: lines}
        incident = desk.declare(*more)
        seal_evidence.fn(incident)
        monkeypatch.setattr(tasks.evidence, "sealed_items", lambda _, __, wanted: sealed[wanted])
        count = list_affected.fn(incident)
        (entry,) = desk.installation.store.entries(incident, types=(EntryType.AFFECTED_LISTED,))
        records = AffectedRecords.from_bytes(desk.installation.vault.get(entry.subject["affected"])).records
        facts = sum(record.standing is Standing.FACT for record in records)
        assert (count, entry.body) == (len(records), {"records": len(records), "facts": facts})
        assert list_affected.fn(incident) == count, "listed once"
        return incident, records

    return register


def test_a_fact_where_a_trace_shows_it_and_else_a_hypothesis(desk: Desk, listed: Callable[..., Any]) -> None:
    now = clock()
    incident, records = listed(
        [trace("t1"), trace("t3", **{"quell.trial": "yes"})],
        [
            row("t1", "ORD-1", now),
            row("t2", "ORD-2", now, arguments=json.dumps({"to": "x@example.com"})),
            row("t3", "ORD-3", now),
        ],
    )
    assert [(record.reference, record.standing) for record in records] == [
        ("ORD-1", Standing.FACT), ("x@example.com", Standing.HYPOTHESIS), ("ORD-3", Standing.HYPOTHESIS),
    ]  # fmt: skip
    assert [(record.kind, record.what, record.seen_at) for record in records[:2]] == [
        (TOOL, f"{TOOL} of 50.00", now), (TOOL, TOOL, now),
    ]  # fmt: skip
    assert desk("show", incident, "--json").json["affected"] == {"records": 3, "facts": 1}
    assert "3 records, 1 of them facts" in desk("show", incident).out


@pytest.mark.parametrize(
    "more",
    [
        {"canary": True},
        {"trial": "INC-1-attack-1"},
        {"outcome": "refused"},
        {"tool": "lookup_order"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_harmed_nobody_is_not_listed(listed: Callable[..., Any], more: dict[str, Any]) -> None:
    _, records = listed([trace("t1")], [row("t1", "ORD-1", clock(), **more), row("t1", "ORD-2", clock())])
    assert [record.reference for record in records] == ["ORD-2"]


def test_what_was_done_before_it_began_is_not_listed(listed: Callable[..., Any]) -> None:
    began, earlier = later(clock(), -600), later(clock(), -602)
    book = [row("t1", "ORD-1", earlier), row("t1", "ORD-2", began)]
    _, records = listed([trace("t1")], book, "--began-at", began[:19] + "+00:00")
    assert [record.reference for record in records] == ["ORD-2"]


def test_when_nobody_said_when_it_began_an_hour_counts(listed: Callable[..., Any]) -> None:
    now = clock()
    _, records = listed([], [row("t1", "ORD-1", later(now, -3700)), row("t1", "ORD-2", later(now, -3000))])
    assert [record.reference for record in records] == ["ORD-2"]


def test_lines_that_cannot_be_read_stop_nothing(listed: Callable[..., Any]) -> None:
    _, records = listed([b"{", trace("t1")], [b"not json", b"[]", row("t1", "ORD-1", clock())])
    assert [(record.reference, record.standing) for record in records] == [("ORD-1", Standing.FACT)]


@pytest.mark.parametrize(
    ("more", "reference"),
    [
        ({"arguments": "50.00 to somebody", "seq": 7}, "7"),
        ({"arguments": "[" * 60_000, "seq": 7}, "7"),
        ({"arguments": ["ORD-1"], "seq": 7}, "7"),
        ({"arguments": '{"order_id": "\\ud800"}'}, "?"),
        ({"arguments": '{"order_id": {"a": 1}, "amount": [1]}', "trace_id": ["t1"]}, "unknown"),
    ],
    ids=["no JSON", "deep", "a list", "lone surrogate", "objects"],
)
def test_a_done_effect_is_listed_whatever_its_arguments_are(
    listed: Callable[..., Any], more: dict[str, Any], reference: str
) -> None:
    odd = [b"[" * 60_000, b'{"tool": ["issue_refund"], "outcome": "done"}', row("t1", "ORD-1", clock(), **more)]
    _, records = listed([b"[" * 60_000], odd)
    assert [record.reference for record in records] == [reference]
    assert records[0].kind == TOOL
