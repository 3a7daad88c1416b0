"""What policy pre-authorises begins for a young signal only: at the plan, at the first claim, and whichever way an old one comes."""

import time
from contextlib import closing

import pytest

import tasks.installation
from runbooks.domain.approval import Purpose
from runbooks.domain.configuration import Configuration
from runbooks.domain.correlation import Quiet
from runbooks.domain.errors import GrantRefusedError
from runbooks.domain.incident import Archetype, Origin, Report
from runbooks.domain.instants import instant_from_ns, later
from runbooks.domain.ledger import EntryType
from runbooks.domain.mapping import SignalMapping
from runbooks.domain.signal import Signal, Strength, TriageOutcome
from runbooks.domain.sources import Source
from runbooks.domain.value import digest_of
from tasks.approval import plan_of, requests_of, settle, verdict_on
from tasks.approval_page import approval_pages
from tasks.authority import LedgerAuthority, grant_for
from tasks.containment import contain, plan_again, plan_containment
from tasks.evidence import seal_evidence
from tasks.gate import request_approvals
from tasks.incident import open_incident
from tasks.installation import Installation
from tasks.intake.correlating import Understood
from tasks.intake.dispatching import dispatcher_on
from tasks.intake.receipts import receipt
from tasks.intake.rereading import candidates, read_again
from tasks.intake.understanding import Intake as Reader
from tasks.ledger import INSTALLATION, Pen, clock, door_actor, flow_actor
from tasks.outcome import acts_to_ask_for, acts_to_do_at_once
from tasks.stores import open_spool
from tasks.stores.base import Arrival
from tests.steps.desk import Desk
from tests.steps.glass import at, judged_again, status, written
from tests.steps.intake_ground import Intake, a_classified, a_configuration, a_signal, draft_of

MINUTE, DAY = 60, 86_400
AGENT = a_classified(outcome=TriageOutcome.AGENTIC_MISALIGNMENT, archetype=Archetype.AGENTIC_MISALIGNMENT)


@pytest.fixture
def place(desk: Desk) -> Installation:
    found = desk.installation
    found.activate(a_configuration(found), INSTALLATION, {"proof": "a test's own configuration"})
    return found


def planned(place: Installation, seconds_ago: int) -> str:
    """An incident that a signed signal opened, received so many seconds ago: sealed and planned; its id."""
    report = Report(system="helper", what_happened="it runs", reporter="source monitor", reporter_proven=True,
                    lead="ana", noticed_at=clock())  # fmt: skip
    origin = Origin(
        source="monitor", fresh=True, delivery="DLV-" + "0" * 26, received_at=later(place.now(), -seconds_ago)
    )
    incident = open_incident(place, report, Archetype.AGENTIC_MISALIGNMENT, drill=True, opener=door_actor("test"),
                             material=b"one", origin=origin).id  # fmt: skip
    seal_evidence.fn(incident)
    plan_containment.fn(incident)
    return incident


def asked(desk: Desk, incident: str) -> dict[str, str]:
    """People are asked, as the response does it: act to why."""
    request_approvals.fn(incident, Purpose.CONTAIN, acts_to_ask_for(incident))
    return {request.step: request.why for request in requests_of(desk.installation, incident)}


def approve(desk: Desk, incident: str, step: str) -> None:
    place = desk.installation
    request = next(one for one in requests_of(place, incident) if one.step == step)
    for person in ("ana", "cleo"):
        desk.approve(request.id, person)
    settle(place.pen(flow_actor("test")), request, verdict_on(place, request))


def test_a_young_signal_begins_and_asks_nobody_about_it(desk: Desk, place: Installation) -> None:
    incident = planned(place, 9 * MINUTE)
    assert acts_to_do_at_once(incident) == ["refund-tool"]
    assert contain.fn(incident, "refund-tool") == "effective"
    assert "refund-tool" not in asked(desk, incident)
    assert judged_again(desk, incident) == []


def test_an_old_signal_waits_for_people_who_see_why(desk: Desk, place: Installation) -> None:
    incident = planned(place, 3 * DAY)
    assert acts_to_do_at_once(incident) == []
    why = asked(desk, incident)["refund-tool"]
    assert "It would begin without asking, but the pre-authorisation stop-it needs a younger signal" in why
    assert "3 days ago, limit 10 minutes" in why
    page, form = approval_pages(place, incident, requests_of(place, incident), "")
    assert "3 days ago, limit 10 minutes; so it waits for you" in page
    assert "3 days ago, limit 10 minutes; so it waits for you" in form
    assert "needs a younger signal" in desk("show", incident).out
    assert "needs a younger signal" in str(written(desk, incident, EntryType.APPROVAL_REQUESTED))
    assert contain.fn(incident, "refund-tool") == "failed"
    assert status(desk) == "on"
    approve(desk, incident, "refund-tool")
    assert contain.fn(incident, "refund-tool") == "effective"
    assert judged_again(desk, incident) == []


def test_what_was_planned_in_time_and_not_claimed_waits_for_people_too(
    desk: Desk, place: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = planned(place, 0)
    assert acts_to_do_at_once(incident) == ["refund-tool"]
    at(monkeypatch, desk, 11)
    then = place.now()
    monkeypatch.setattr("tasks.ledger.clock", lambda: then)  # what is asked then is written then
    assert acts_to_do_at_once(incident) == []
    assert contain.fn(incident, "refund-tool") == "failed", "whoever asks the guard all the same is refused"
    assert "needs a younger signal" in str(written(desk, incident, EntryType.EFFECT_REFUSED))
    assert status(desk) == "on"
    assert "11 minutes ago, limit 10 minutes" in asked(desk, incident)["refund-tool"]
    assert "because" in written(desk, incident, EntryType.APPROVAL_REQUESTED)[0]
    approve(desk, incident, "refund-tool")
    assert contain.fn(incident, "refund-tool") == "effective"
    assert judged_again(desk, incident) == []


def claimed(place: Installation, incident: str) -> Pen:
    """The act is claimed by a process that is gone by now, and nothing was sent."""
    writer, action = place.pen(flow_actor("gone")), plan_of(place, incident).action("refund-tool")
    grant = grant_for(place, writer, action, Purpose.CONTAIN)
    place.store.take_claim(
        action.effect_key, incident=incident, grant=grant.digest(), holder="elsewhere/boot/1/1/x", now=later(clock(), -DAY), lease_seconds=1,
        draft=lambda fence, resumed: writer.draft(
            EntryType.EFFECT_CLAIMED, f"claimed/{action.effect_key}/{fence}", incident,
            {"grant": grant.digest(), "action": action.digest()},
            {"effect": action.effect_key, "fence": fence, "resumed": resumed, "holder": "elsewhere"},
        ),
        gone=lambda _: True,
    )  # fmt: skip
    return writer


def test_what_was_claimed_in_time_is_finished_however_late(
    desk: Desk, place: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = planned(place, 0)
    claimed(place, incident)
    at(monkeypatch, desk, 11)
    assert acts_to_do_at_once(incident) == ["refund-tool"]
    assert "refund-tool" not in acts_to_ask_for(incident)
    assert contain.fn(incident, "refund-tool") == "effective"
    assert judged_again(desk, incident) == []


def test_a_fix_that_did_not_hold_takes_away_again_what_began_in_time(
    desk: Desk, place: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = planned(place, 0)
    assert contain.fn(incident, "refund-tool") == "effective"
    at(monkeypatch, desk, 300)
    assert plan_again.fn(incident, ["refund-tool"]) == ["refund-tool-again"]
    assert acts_to_do_at_once(incident) == ["refund-tool", "refund-tool-again"]
    assert contain.fn(incident, "refund-tool-again") == "effective"
    assert judged_again(desk, incident) == []


def test_a_fix_that_did_not_hold_asks_again_about_what_people_had_to_allow(
    desk: Desk, place: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = planned(place, 0)
    at(monkeypatch, desk, 11)
    asked(desk, incident)
    approve(desk, incident, "refund-tool")
    assert contain.fn(incident, "refund-tool") == "effective"
    plan_again.fn(incident, ["refund-tool"])
    assert "refund-tool-again" not in acts_to_do_at_once(incident)
    assert "refund-tool-again" in acts_to_ask_for(incident)
    action = plan_of(place, incident).action("refund-tool-again")
    with pytest.raises(GrantRefusedError, match="nobody was asked about refund-tool-again"):
        grant_for(place, place.pen(flow_actor("test")), action, Purpose.CONTAIN)


def test_the_facts_say_whether_it_began(place: Installation) -> None:
    incident = planned(place, 0)
    writer, action = place.pen(flow_actor("test")), plan_of(place, incident).action("refund-tool")
    grant = grant_for(place, writer, action, Purpose.CONTAIN)
    assert LedgerAuthority(place, writer).facts(grant, action).begun is False
    claimed(place, incident)
    assert LedgerAuthority(place, writer).facts(grant, action).begun is True


# The ways in which an old signal comes.


def begins(place: Installation) -> tuple[str, ...]:
    """What the plan of the one incident that the signals opened lets begin."""
    dispatcher = dispatcher_on(place, lambda _flow, incident, _drill: incident)
    opened = dispatcher.open_all()
    dispatcher.store.close()
    assert len(opened) == 1
    seal_evidence.fn(opened[0])
    plan_containment.fn(opened[0])
    return plan_of(place, opened[0]).preauthorised


def signal(seconds_ago: int) -> Signal:
    return a_signal(received_at=later(clock(), -seconds_ago))


@pytest.fixture
def here(place: Installation) -> Intake:
    return Intake(place)


def take(intake: Intake, one: Signal) -> None:
    intake.correlator.take_in([Understood(one.delivery, ((one, AGENT),))], clock())


@pytest.mark.parametrize(("seconds", "acts"), [(5, ("refund-tool",)), (11 * MINUTE, ())], ids=["in time", "late"])
def test_a_dispatcher_that_was_away(place: Installation, here: Intake, seconds: int, acts: tuple[str, ...]) -> None:
    take(here, signal(seconds))
    assert begins(place) == acts


def test_prefect_that_was_away(place: Installation, here: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The incident stands, taken in at once; its response begins when Prefect is back."""
    take(here, signal(0))
    then = later(clock(), 11 * MINUTE)
    monkeypatch.setattr(tasks.installation, "clock", lambda: then)
    assert begins(place) == ()


def test_the_end_of_a_quiet_window_makes_no_signal_younger(place: Installation, here: Intake) -> None:
    now = clock()
    here.store.keep_quiet(
        Quiet(id="QUIET-1", system="helper", since=later(now, -2 * DAY), until=later(now, 1), maintenance=True,
              person="ana", reason="r")
    )  # fmt: skip
    kept = signal(DAY)
    take(here, kept)
    assert here.incidents() == []
    assert here.correlator.end_quiet(later(now, 1)) == 1
    draft = draft_of(here, here.incidents()[0])
    assert draft.origin is not None
    assert draft.origin.received_at == draft.report.noticed_at == kept.received_at
    assert begins(place) == ()


def readable(place: Installation, kind: str) -> Configuration:
    """The test's configuration with a mapping for the monitor that looks there for the kind."""
    base = a_configuration(place)
    mapping = SignalMapping(name="alert", kind=kind, event_key=("body.id",), system="body.app", archetype="body.what")
    sources = {**base.sources, "monitor": Source(title="monitor", unproven=True, mappings=(mapping,))}
    return base.model_copy(update={"sources": sources})


@pytest.mark.parametrize(("seconds", "acts"), [(5, ("refund-tool",)), (21 * DAY, ())], ids=["at once", "weeks later"])
def test_a_delivery_that_is_read_again_after_its_mapping_was_corrected(
    place: Installation, here: Intake, seconds: int, acts: tuple[str, ...]
) -> None:
    place.activate(readable(place, "body.kind"), INSTALLATION, {"proof": "test"})
    raw, at_ns = b'{"type": "alert", "id": "1", "app": "helper", "what": "agentic_misalignment"}', time.time_ns()
    at_ns -= seconds * 10**9
    with closing(open_spool(place.settings.signals)) as spool:
        spool.append([
            Arrival(receipt(at_ns), "monitor", at_ns, "application/json", (), Strength.SIGNED, at_ns, None, False,
                    bytes.fromhex(digest_of(raw)[7:]), raw)
        ])  # fmt: skip
    with closing(Reader(place)) as reader:
        assert reader.take_in() == (1, [])
        place.activate(readable(place, "body.type"), INSTALLATION, {"proof": "test"})
        read_again(place, candidates(place, None, None, everything=False))
        assert [one.verdict for one in reader.take_in()[1]] == ["opened"]
    origin = draft_of(here, here.incidents()[0]).origin
    assert origin is not None
    assert origin.received_at == instant_from_ns(at_ns)
    assert begins(place) == acts


def test_a_strong_signal_joins_no_incident_that_an_old_one_opened(here: Intake) -> None:
    """What came too late to begin anything must not keep a new one from it."""
    take(here, signal(11 * MINUTE))
    take(here, a_signal("two", received_at=clock()))
    assert len(here.incidents()) == 2
    take(here, a_signal("three", received_at=clock()))
    assert len(here.incidents()) == 2


def test_what_is_read_again_later_is_in_its_place_though_it_grew_old(here: Intake) -> None:
    first = signal(0)
    take(here, first)
    again = first.model_copy(update={"mapping": "sha256:" + "6" * 64})
    batch = [Understood(again.delivery, ((again, AGENT),))]
    assert here.correlator.take_in(batch, later(clock(), DAY)) == []
