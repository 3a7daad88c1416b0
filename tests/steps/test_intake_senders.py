"""Every shipped sender: a sample of each shape that it sends becomes the signals that it should, and is classified.

Samples are built from the senders' own documentation and source; none holds anybody's data.
"""

import json
import tomllib
from typing import Any

import pytest

from runbooks.domain.classification import classify, rules_of
from runbooks.domain.errors import IntakeDefectError
from runbooks.domain.signal import SignalState
from runbooks.domain.sources import Source
from runbooks.domain.value import Json
from runbooks.loader import load_book
from tasks.intake.mapping import faults
from tasks.intake.normalising import mapping_version
from tasks.settings import KEYWORDS, ROOT, SENDERS
from tests.domain.cast import a_configuration
from tests.steps.deliveries import a_source, read

SAMPLES = ROOT / "tests" / "data" / "deliveries"
SHIPPED = sorted(file.stem for file in SENDERS.glob("*.toml"))
CASES = [
    pytest.param(file.stem, sample, id=f"{file.stem}: {sample['what']}")
    for file in sorted(SAMPLES.glob("*.json"))
    for sample in json.loads(file.read_text())
]


def _source(sender: str, sample: dict[str, Any]) -> Source:
    return a_source(sender, scope={"systems": sample.get("systems", {}), "system": sample.get("system")})


def _read(sender: str, sample: dict[str, Any], **changes: object) -> Any:
    source = _source(sender, sample)
    body: Json | bytes = sample["raw"].encode() if "raw" in sample else sample["body"]
    told = {"content_type": sample["content_type"]} if "content_type" in sample else {}
    return read(body, source, sample.get("headers"), **told, **changes)


@pytest.mark.parametrize(("sender", "sample"), CASES)
def test_a_sample_is_read_and_classified(sender: str, sample: dict[str, Any]) -> None:
    if "defect" in sample:
        with pytest.raises(IntakeDefectError, match=sample["defect"]):
            _read(sender, sample)
        return
    signals = _read(sender, sample)
    expected = sample["signals"]
    found = [{key: signal.as_json()[key] for key in wanted} for signal, wanted in zip(signals, expected, strict=False)]
    assert (len(signals), found) == (len(expected), expected)
    assert len({signal.event_key for signal in signals}) == len(signals)
    if "outcome" in sample:
        configuration = a_configuration(
            rules=sample.get("rules", []), sources={"watch": _source(sender, sample)},
            keywords=tomllib.loads((ROOT / "config" / KEYWORDS).read_text())["keywords"],
        )  # fmt: skip
        classified = classify(signals[0], rules_of(configuration, load_book()))
        assert (classified.outcome, classified.basis) == (sample["outcome"], sample["basis"])
        assert classified.severity.severity == sample.get("severity", classified.severity.severity)


@pytest.mark.parametrize("sender", SHIPPED)
def test_a_shipped_sender_can_be_read_and_has_samples(sender: str) -> None:
    source = a_source(sender)
    assert not list(faults(source))
    shown = {mapping.name for mapping in source.mappings if mapping.skip == "`true`"}
    for sample in json.loads((SAMPLES / f"{sender}.json").read_text()):
        made = {signal.mapping for signal in _read(sender, sample)} if "defect" not in sample else set()
        as_read = _source(sender, sample)
        shown |= {mapping.name for mapping in as_read.mappings if mapping_version(as_read, mapping) in made}
    assert shown == {mapping.name for mapping in source.mappings}


@pytest.mark.parametrize(("sender", "sample"), CASES)
def test_the_same_event_again_has_the_same_key(sender: str, sample: dict[str, Any]) -> None:
    if "defect" in sample:
        return
    again = _read(sender, sample, number=7, received_at="2026-11-21T03:00:00.000000000Z")
    assert [one.event_key for one in again] == [one.event_key for one in _read(sender, sample)]


def test_high_availability_twins_and_a_new_firing() -> None:
    group = json.loads((SAMPLES / "alertmanager.json").read_text())[0]["body"]
    source = a_source("alertmanager")
    twin = {**group, "receiver": "other", "externalURL": "http://twin.example", "alerts": group["alerts"][:1]}
    first, over = read(group, source)
    (second,) = read(twin, source)
    assert first.event_key == second.event_key != over.event_key
    assert first.alert == over.alert
    anew = {**twin, "alerts": [{**twin["alerts"][0], "startsAt": "2026-11-21T01:59:30Z"}]}
    (third,) = read(anew, source)
    assert third.event_key != first.event_key
    assert (third.alert, third.state) == (first.alert, SignalState.FIRING)


def test_a_metric_alert_of_sentrys_that_is_critical_again_is_another_event() -> None:
    sample = json.loads((SAMPLES / "sentry.json").read_text())[0]
    steps = (("critical", "900 in 5 minutes"), ("warning", "400 in 5 minutes"), ("critical", "950 in 5 minutes"))
    bodies = [
        {"action": action, "data": {**sample["body"]["data"], "description_text": measured}}
        for action, measured in (*steps, steps[0])
    ]
    found = [read(body, a_source("sentry"), sample["headers"])[0] for body in bodies]
    first, second, third, sent_again = (one.event_key for one in found)
    assert len({first, second, third}) == 3
    assert sent_again == first
    assert len({one.alert for one in found}) == 1


def test_a_ticket_that_is_named_is_another_event_only_with_other_tags_or_priority() -> None:
    body = json.loads((SAMPLES / "zendesk.json").read_text())[0]["body"]
    (named,) = read(body, a_source("zendesk"))
    solved = {**body, "id": "01JA", "type": "zen:event-type:ticket.status_changed", "time": "2026-11-24T01:58:00Z"}
    (later,) = read(solved, a_source("zendesk"))
    assert later.event_key == named.event_key
    tags = body["detail"]["tags"]
    (turned,) = read({**body, "detail": {**body["detail"], "tags": tags[::-1]}}, a_source("zendesk"))
    assert turned.event_key == named.event_key
    for change in ({"id": "8820"}, {"tags": [*tags, "data-exfiltration"]}, {"priority": "LOW"}):
        (other,) = read({**body, "detail": {**body["detail"], **change}}, a_source("zendesk"))
        assert other.event_key != named.event_key


@pytest.mark.parametrize("place", ["annotations", "labels"])
def test_hostile_words_stay_words(place: str) -> None:
    hostile = "{{ flow_run.name }} <script>alert(1)</script> __prefect_kind"
    group = json.loads((SAMPLES / "alertmanager.json").read_text())[0]["body"]
    alert = {**group["alerts"][0], place: dict.fromkeys(group["alerts"][0][place], hostile)}
    (signal,) = read({**group, "alerts": [alert]}, a_source("alertmanager"))
    shown = signal.as_json()
    assert (place == "annotations") == (shown.pop("text") == f"{hostile}\n{hostile}")
    assert not any(mark in json.dumps(shown) for mark in ("{{", "<script", "alert(1"))
