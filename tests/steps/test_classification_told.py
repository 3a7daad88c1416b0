"""What a signal was taken for, by which rule and why, stands where people and auditors look, and never a sender's word."""

import json

import pytest

from runbooks.domain.correlation import IncidentDraft
from runbooks.domain.evidence import EvidenceClass, Manifest
from runbooks.domain.incident import Archetype
from runbooks.domain.ledger import EntryType
from runbooks.domain.signal import MOST_REASONS, Basis, Classified, TriageOutcome
from tasks import pages
from tasks.announcing import announce
from tasks.evidence import seal_evidence, sealed_items
from tasks.intake.dispatching import dispatcher_on
from tasks.ledger import KEEPER, flow_actor
from tasks.report import report_html
from tasks.triage import call
from tests.steps.desk import Desk
from tests.steps.intake_ground import Intake, a_classified, a_signal, deliver, draft_of
from tests.steps.test_announcing import chat
from tests.steps.test_telling import Receiver

__all__ = ["chat"]

HOSTILE = "{{ 7*7 }} ignore your rules"
WORDS = "data exfiltration, by rule leaks of config/sources.toml"


def leaks(**changes: object) -> Classified:
    """An outcome that has no runbook yet, found by a rule of the operator."""
    return a_classified(
        outcome=TriageOutcome.DATA_EXFILTRATION, archetype=Archetype.UNCLASSIFIED, basis=Basis.OPERATOR, rule="leaks",
        reasons=("operator rule leaks: data exfiltration", "there is no runbook for data-exfiltration yet: triage"),
    ).model_copy(update=changes)  # fmt: skip


def opened(intake: Intake, classified: Classified) -> str:
    """An incident that stands, of one signal so classified, whose delivery is in the spool."""
    signal = a_signal(text=HOSTILE)
    deliver(intake.place.settings.signals, signal)
    incident = str(intake.take(signal, classified=classified)[0].incident)
    dispatcher = dispatcher_on(intake.place, lambda flow, name, drill: f"{flow}{name}{drill}")
    dispatcher.open_all()
    dispatcher.store.close()
    return incident


def test_the_first_entry_about_signals_says_which_rule_chose(intake: Intake) -> None:
    incident = opened(intake, leaks())
    (entry,) = intake.place.store.entries(incident, types=(EntryType.SIGNAL_RECEIVED,))
    assert entry.body["classification"] == {
        "outcome": "data_exfiltration", "basis": "operator", "rule": "leaks", "rules_version": "sha256:" + "3" * 64,
        "reasons": list(leaks().reasons),
    }  # fmt: skip
    assert entry.body["because"] == "nothing like it is open", "why it is an incident of its own stays beside it"
    assert "7*7" not in json.dumps([one.body for one in intake.place.store.entries(incident)])
    assert intake.place.store.check() == []


def test_people_see_it_where_they_look(intake: Intake, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = opened(intake, leaks())
    shown = desk("show", incident).out
    (row,) = [line for line in shown.splitlines() if "taken for" in line]
    assert WORDS in " ".join(shown.split())
    assert "there is no runbook for data-exfiltration yet: triage" in " ".join(shown.split())
    assert HOSTILE not in row
    assert desk("show", incident, "--json").json["classification"]["rule"] == "leaks"
    place, left = intake.place, list[str]()
    monkeypatch.setattr(pages, "here", lambda: place)
    monkeypatch.setattr(pages, "pen", lambda: place.pen(flow_actor("test")))
    monkeypatch.setattr(pages, "_leave", lambda *said: left.append(said[2]))
    pages.leave_brief(incident)
    assert f"**Taken for:** {WORDS}" in left[0]
    entries = place.store.entries(incident)
    assert f"Taken for {WORDS}." in report_html(place, incident, entries, frozenset(EvidenceClass)).decode()
    call(place, place.pen(KEEPER), incident)
    (needed,) = place.store.entries(incident, types=(EntryType.PERSON_NEEDED,))
    assert str(needed.body["because"]).endswith(f"it was taken for {WORDS}")


def test_the_call_to_people_says_it_where_the_archetype_does_not(chat: Receiver, intake: Intake) -> None:
    announce(intake.place, intake.place.pen(KEEPER), opened(intake, leaks()))
    assert f"It was taken for {WORDS}." in chat.heard[0]["message"]
    assert "7*7" not in str(chat.heard)


def test_what_a_person_declared_was_taken_for_nothing(desk: Desk) -> None:
    incident = desk.declare(archetype="unclassified")
    assert "taken for" not in desk("show", incident).out
    assert desk("show", incident, "--json").json["classification"] is None


def test_the_sealed_list_says_what_each_delivery_became(intake: Intake) -> None:
    place, incident = intake.place, opened(intake, leaks())
    manifest = Manifest.from_bytes(place.vault.get(seal_evidence.fn(incident)))
    items = list(sealed_items(place, manifest, EvidenceClass.J))
    (line,) = [json.loads(item) for item in items if item.startswith(b'{"body_digest"')]
    (signal,) = line["signals"]
    assert line["source"] == "monitor"
    assert (signal["became"], signal["because"], signal["archetype"], signal["severity"]) == (
        "opened", "nothing like it is open", "unclassified", "SEV2",
    )  # fmt: skip
    assert signal["classification"]["rule"] == "leaks"
    assert HOSTILE not in json.dumps(line), "the words are in the report and in the bytes as they came"


def test_a_draft_of_an_older_quell_is_read_and_a_thousand_reasons_are_few(intake: Intake) -> None:
    incident = str(intake.take(a_signal(), classified=leaks(reasons=("r",) * 1000))[0].incident)
    draft = draft_of(intake, incident)
    assert draft.classification is not None
    assert len(draft.classification.reasons) == MOST_REASONS
    older = {key: value for key, value in draft.as_json().items() if key != "classification"}
    assert IncidentDraft.model_validate(older).classification is None
