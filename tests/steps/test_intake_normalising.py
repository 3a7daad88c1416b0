"""One delivery becomes its signals, the same every time, whatever the delivery holds; or a defect that says why."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.mapping import Scope, SignalMapping
from runbooks.domain.signal import SignalState, Strength
from runbooks.domain.sources import Source
from tasks.intake import cleaning
from tasks.intake.mapping import faults
from tasks.intake.normalising import normalise
from tests.steps.deliveries import RECEIVED, a_delivery, a_source, read

PLAIN: dict[str, Any] = {"name": "plain", "kind": "item.kind", "event_key": ["item.id"]}
ALERTS = {
    **PLAIN, "name": "alerts", "when": "body.alerts", "each": "body.alerts", "system": "item.system",
    "labels": ["item.labels", "item.tag"], "state": "item.state", "severity": "item.severity",
    "occurred_at": "item.at", "text": ["body.title", "item.text"], "alert": ["item.alert"], "entity": "item.model",
    "near_miss": "item.stopped", "environment": "item.place", "archetype": "item.archetype",
}  # fmt: skip


def test_every_field_of_an_item() -> None:
    source = a_source(mappings=[ALERTS], scope={"systems": {"support-bot-eu": "agent"}})
    item = {
        "kind": "Safety Alert", "id": 7, "system": "Support Bot (EU)", "labels": ["Rogue-Agent", "a b"], "tag": "x,y",
        "state": "RESOLVED", "severity": "P1", "at": "2026-11-21T01:59:00.123456789Z", "text": "it\0 ran", "alert": "f1",
        "model": "GPT 5", "stopped": True, "place": "Staging", "archetype": "prompt_injection",
    }  # fmt: skip
    first, second = read({"title": "T", "alerts": [item, {**item, "id": 8, "state": "firing"}]}, source)
    assert (first.kind, first.system, first.environment) == ("safety-alert", "agent", "staging")
    assert first.labels == ("rogue-agent", "a", "b", "x", "y")
    assert (first.state, second.state) == (SignalState.RESOLVED, SignalState.FIRING)
    assert (first.vendor_severity, first.near_miss, first.archetype_label) == ("p1", True, "prompt_injection")
    assert first.occurred_at == "2026-11-21T01:59:00.123456000Z"
    assert first.text == "T\nit\ufffd ran"
    assert first.event_key != second.event_key
    assert first.alert == second.alert is not None
    assert str(first.entity).startswith("gpt-5-")
    assert (first.ordinal, second.ordinal, first.source, first.strength) == (0, 1, "watch", Strength.SIGNED)


def test_what_the_sender_does_not_name_comes_from_the_scope() -> None:
    scope = {"system": "agent", "environment": "staging", "labels": ["eu"], "entity": "item.cohort"}
    (signal,) = read({"kind": "k", "cohort": "a"}, a_source(mappings=[PLAIN], scope=scope))
    assert (signal.system, signal.environment, signal.labels, signal.entity) == ("agent", "staging", ("eu",), "a")
    (bare,) = read({"kind": "k"}, a_source(mappings=[PLAIN]))
    assert (bare.system, bare.environment, bare.labels, bare.entity) == (None, "production", (), None)


def test_a_place_counts_only_where_it_is_listed() -> None:
    source = a_source(mappings=[{**PLAIN, "system": "item.system", "place": "item.repo"}],
                      scope={"system": "other", "systems": {"acme/bot": "agent"}})  # fmt: skip
    found = [read({"kind": "k", **item}, source)[0].system for item in
             ({"repo": "Acme/Bot"}, {"repo": "acme/else"}, {}, {"system": "acme/bot"}, {"system": "x", "repo": "acme/bot"})]  # fmt: skip
    assert found == ["agent", "other", "other", "agent", "x"]


def test_the_same_event_has_the_same_key_and_nothing_else_has() -> None:
    source = a_source(mappings=[{**PLAIN, "event_key": ["item.a", "item.b"]}])

    def key(item: dict[str, Any]) -> str:
        return read({"kind": "k", **item}, source)[0].event_key

    assert key({"a": "x", "b": "y", "other": 1}) == key({"b": "y", "a": "x", "other": 2})
    different: list[dict[str, Any]] = [{"a": "xy"}, {"b": "xy"}, {"a": "x", "b": "y"}, {"a": "x", "b": ""}, {"a": "1"}, {"a": 1}, {"a": [1]},
                 {"a": "[1]"}]  # fmt: skip
    assert len({key(item) for item in different}) == len(different)
    assert key({"c": 1}) == key({"c": 1}) != key({"c": 2})  # none of it is there: the whole item is


def test_a_changed_mapping_is_another_version_and_reads_anew() -> None:
    before, after = a_source(mappings=[PLAIN]), a_source(mappings=[{**PLAIN, "system": "item.app"}])
    (old,), (new,) = read({"kind": "k", "app": "Agent"}, before), read({"kind": "k", "app": "Agent"}, after)
    assert (old.system, new.system) == (None, "agent")
    assert old.mapping != new.mapping
    assert old.event_key == new.event_key
    assert read({"kind": "k"}, after, number=1)[0].mapping == new.mapping


def test_the_first_mapping_that_is_for_it_reads_it() -> None:
    source = a_source(mappings=[ALERTS, {**PLAIN, "when": "headers.\"x-event\" == 'ping'", "skip": "`true`"}, PLAIN])
    assert [s.kind for s in read({"alerts": [{"kind": "a"}], "kind": "b"}, source)] == ["a"]
    assert read({"kind": "b"}, source, {"x-event": "ping"}) == ()
    assert [s.kind for s in read({"kind": "b"}, source, {"x-event": "push"})] == ["b"]


def test_a_text_that_is_json_is_seen_inside() -> None:
    source = a_source(nested="body.Message", mappings=[{**PLAIN, "kind": "nested.kind || 'text'"}])
    assert read({"Message": '{"kind": "alarm"}'}, source)[0].kind == "alarm"
    assert read({"Message": "no json"}, source)[0].kind == "text"


def test_a_form_is_an_object_of_texts() -> None:
    source = a_source(body="form", mappings=[{**PLAIN, "kind": "'report'", "text": ["body.what"], "human": True}])
    (signal,) = read(
        b"what=it+lied%20twice&what=second&empty=", source, content_type="application/x-www-form-urlencoded"
    )
    assert (signal.text, signal.human) == ("it lied twice", True)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "format json"),
        (b"{", "format json"),
        (b'{"a": NaN}', "format json"),
        (b'"\\ud800"', "format json"),
        (b"\xff\xfe", "format json"),
        (b"[" * 100_000, "format json"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "format json"),
        (b"{}", "no mapping"),
        (b'{"alerts": {"a": 1}}', "alerts.each"),
        (b'{"alerts": [{}]}', "alerts.kind"),
        (b'{"alerts": [' + b'{"kind": "k"},' * 10_000 + b'{"kind": "k"}]}', "more than 10000"),
        (b'{"alerts": [{"kind": "k", "id": ' + b"[" * 500 + b"]" * 500 + b"}]}", "too deeply"),
    ],
)
def test_what_cannot_be_read_is_a_defect_that_quotes_nothing(body: bytes, told: str) -> None:
    with pytest.raises(IntakeDefectError, match=told) as caught:
        read(body, a_source(mappings=[ALERTS]))
    assert body[:200].decode("latin-1") not in str(caught.value) or not body


def test_a_name_without_a_plain_letter_is_told_by_its_digest() -> None:
    source = a_source(mappings=[ALERTS])
    names = ["退款异常", "数据泄露", "!!", "退款异常", "Ошибка 5"]
    found = [read({"alerts": [{"kind": name, "model": name}]}, source)[0] for name in names]
    kinds = [signal.kind for signal in found]
    assert kinds[0] == kinds[3] == "alerts-" + hashlib.sha256("退款异常".encode()).hexdigest()[:12]
    assert len(set(kinds)) == 4
    assert kinds[4] == "5", "what has a plain letter or digit is told by these, as ever"
    entities = [signal.entity for signal in found]
    assert len(set(entities)) == 4, "two that differ stay different incidents"
    assert all(entities)
    nothings: tuple[Any, ...] = (None, "", "  ", [], {"a": 1}, True)
    for nothing in nothings:
        with pytest.raises(IntakeDefectError, match=r"alerts\.kind"):
            read({"alerts": [{"kind": nothing}]}, source)


def test_an_item_that_cannot_be_read_keeps_back_no_other() -> None:
    body = json.dumps({"alerts": [{"kind": "a"}, {"id": 1}, {"kind": "b"}, {"kind": None, "id": "hostile"}]}).encode()
    signals, defect = normalise(a_delivery(body), body, a_source(mappings=[ALERTS]))
    assert [(one.kind, one.ordinal) for one in signals] == [("a", 0), ("b", 1)]
    assert defect == (
        "2 of 4 items could not be read, the others were. The first: expected alerts.kind to be there, found nothing."
    )


def test_an_event_of_a_batch_that_cannot_be_read_keeps_back_no_other() -> None:
    sound = {"specversion": "1.0", "type": "tool.abuse", "source": "/a", "id": "1", "data": {"system": "helper"}}
    unknown = {**sound, "type": "other", "id": "2"}
    source = a_source("cloudevents")
    only = source.mappings[0].model_copy(update={"when": "body.type == 'tool.abuse'"})
    body = json.dumps([{"type": "x"}, sound, 7, unknown]).encode()
    signals, defect = normalise(
        a_delivery(body, content_type="application/cloudevents-batch+json"), body,
        source.model_copy(update={"mappings": (only,)}),
    )  # fmt: skip
    assert [(one.kind, one.system) for one in signals] == [("tool.abuse", "helper")]
    assert defect.startswith("3 of 4 items could not be read")
    with pytest.raises(IntakeDefectError, match="no specversion"):
        read(json.dumps([{"type": "x"}]).encode(), source, content_type="application/cloudevents-batch+json")


def test_what_was_cut_off_is_a_defect() -> None:
    with pytest.raises(IntakeDefectError, match="longer than what is kept"):
        read({"kind": "k"}, a_source(mappings=[PLAIN]), truncated=True)


def test_an_expression_that_fails_on_a_delivery_names_the_key_and_no_text() -> None:
    source = a_source(mappings=[{**PLAIN, "text": ["join(', ', item.words)"]}])
    with pytest.raises(IntakeDefectError, match=r"plain\.text cannot be evaluated") as caught:
        read({"kind": "k", "words": "hostile-words"}, source)
    assert "hostile" not in str(caught.value)


def test_keys_that_are_there_twice_and_very_many_keys() -> None:
    assert read(b'{"kind": "a", "kind": "b"}', a_source(mappings=[PLAIN]))[0].kind == "b"
    many = json.dumps({"kind": "k"} | {f"k{n}": n for n in range(100_000)}).encode()
    assert len(read(many, a_source(mappings=[PLAIN]))) == 1


def test_wrong_expressions_are_named_before_anything_arrives() -> None:
    source = a_source(nested="body.[", mappings=[{**PLAIN, "system": "data.app"}], scope={"entity": "items.x"})
    assert [key for key, _ in faults(source)] == ["nested", "scope.entity", "mappings.plain.system"]
    assert not list(faults(a_source(mappings=[ALERTS])))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["alerts", "kind", "id", "system", "labels", "state", "at", "text", "model", "alert", "severity", "stopped"]),
        inner, max_size=8), max_leaves=30,
)  # fmt: skip
BOTH = Source(unproven=True, mappings=(SignalMapping(**ALERTS), SignalMapping(**PLAIN)), scope=Scope())


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_whatever_arrives_becomes_whole_signals_or_a_defect(body: object) -> None:
    raw = json.dumps(body).encode()
    try:
        signals = read(raw, BOTH)
    except IntakeDefectError:
        return
    assert signals
    assert signals == read(raw, BOTH)
    for signal in signals:
        assert type(signal).from_bytes(signal.canonical()) == signal


@settings(max_examples=200, deadline=None)
@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.integers()))
def test_no_time_is_believed_that_cannot_be(value: object) -> None:
    found = cleaning.instant(value, RECEIVED)
    assert found is None or "2000-01-01" <= found[:10] <= "2026-11-22"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2026-11-21T01:58:00Z", "2026-11-21T01:58:00.000000000Z"),
        ("2026-11-21T02:58:00.5+01:00", "2026-11-21T01:58:00.500000000Z"),
        ("2026-11-21T01:58:00.000+0000", "2026-11-21T01:58:00.000000000Z"),
        (1795226280, "2026-11-21T01:58:00.000000000Z"),
        ("1795226280", "2026-11-21T01:58:00.000000000Z"),
        (1795226280000, "2026-11-21T01:58:00.000000000Z"),
        (1795226280000000000, "2026-11-21T01:58:00.000000000Z"),
        ("2026-11-21T01:58:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("2026-11-23T01:58:00Z", None),
        ("yesterday", None),
        ("9" * 400, None),
        (True, None),
    ],
)
def test_times(value: object, found: str | None) -> None:
    assert cleaning.instant(value, RECEIVED) == found
