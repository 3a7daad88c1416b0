"""What was sent and has no outcome is read back and finished, however late; without a right to that nobody calls it failed."""

from collections.abc import Callable
from typing import Any

import pytest

from runbooks.domain.approval import Purpose
from runbooks.domain.case import action_rows
from runbooks.domain.containment import ContainmentStatus
from runbooks.domain.ledger import EntryType
from tasks import giving_back
from tasks.approval import plan_of, requests_of, settle, verdict_on
from tasks.authority import LedgerAuthority
from tasks.connectors._signals import MaybeDoneError, MissingError, NotDoneError, SignalError
from tasks.connectors.memory import Memory
from tasks.containment import contain
from tasks.giving_back import give_back
from tasks.installation import Installation
from tasks.ledger import flow_actor
from tasks.review import close_incident
from tests.steps.desk import Desk
from tests.steps.glass import judged_again, late, status, written
from tests.steps.test_giving_back import asked_back, contained
from tests.steps.test_preauthorised_in_time import place, planned

__all__ = ["place"]  # a fixture
TOOL = "refund-tool"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_back, "MARGIN_SECONDS", 0)
    for module in ("ledger", "effects"):
        monkeypatch.setattr(f"tasks.{module}.is_gone", lambda _: True)  # whoever claimed before is dead


class DiedError(BaseException):
    """As if the process were gone."""


def dies(*_: Any) -> None:
    raise DiedError


def cut(act: Callable[[], object], at_: str = "done") -> None:
    """The process dies right after the far side did it, before the receipt; or where `at_` says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LedgerAuthority, at_, dies)
        with pytest.raises(DiedError):
            act()


@pytest.fixture
def sent(desk: Desk) -> str:
    """Two people consented; it was sent and done, and the process died before it could say so."""
    incident = desk.declare()
    desk.respond(incident)
    for request in requests_of(desk.installation, incident):
        for person in ("ana", "cleo"):
            desk.approve(request.id, person)
        settle(desk.installation.pen(flow_actor("test")), request, verdict_on(desk.installation, request))
    cut(lambda: contain.fn(incident, TOOL))
    assert status(desk) == "off"
    return incident


def stands(desk: Desk, incident: str) -> ContainmentStatus:
    rows = action_rows(plan_of(desk.installation, incident), desk.installation.store.entries(incident))
    return next(row.status for row in rows if row.action == TOOL)


def finished(desk: Desk, incident: str) -> None:
    assert contain.fn(incident, TOOL) == "effective"
    (applied,) = written(desk, incident, EntryType.EFFECT_APPLIED)
    assert applied["recovered"] is True
    assert len(written(desk, incident, EntryType.EFFECT_SENDING)) == len(desk.world["effects"]) == 1
    assert not written(desk, incident, EntryType.EFFECT_FAILED)
    assert judged_again(desk, incident) == []


def test_what_was_sent_under_consent_is_finished_after_the_request_expired(
    desk: Desk, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(monkeypatch, desk, 241)
    finished(desk, sent)
    line = desk("undo", sent, "--action", TOOL, "--json").json["acts"][0]
    assert line["outcome"] == "waiting", "it stands, so it can be given back"


def test_what_was_sent_under_a_preauthorisation_is_finished_after_its_day(
    desk: Desk, place: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = planned(place, 0)
    cut(lambda: contain.fn(incident, TOOL))
    late(monkeypatch, desk, 25 * 60)
    finished(desk, incident)


def test_what_was_claimed_and_never_let_through_expires(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can have been sent before the photograph, so nothing has to be finished."""
    incident = desk.declare()
    desk.respond(incident)
    for request in requests_of(desk.installation, incident):
        for person in ("ana", "cleo"):
            desk.approve(request.id, person)
    cut(lambda: contain.fn(incident, TOOL), "photographed")
    late(monkeypatch, desk, 241)
    assert contain.fn(incident, TOOL) == "failed"
    assert "the grant expired" in str(written(desk, incident, EntryType.EFFECT_REFUSED))
    assert status(desk) == "on"


def test_a_give_back_that_was_sent_is_finished_under_its_own_consent(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = contained(desk)
    approve(desk, undo(desk, incident)["request"])
    cut(lambda: undo(desk, incident))
    assert status(desk) == "on"
    late(monkeypatch, desk, 24 * 60)
    assert (undo(desk, incident)["outcome"], len(requests_of(desk.installation, incident))) == ("undone", 3)
    assert written(desk, incident, EntryType.EFFECT_UNDONE)[0]["recovered"] is True
    assert judged_again(desk, incident) == []


def undo(desk: Desk, incident: str) -> dict[str, Any]:
    line: dict[str, Any] = desk("undo", incident, "--action", TOOL, "--json").json["acts"][0]
    return line


def approve(desk: Desk, request: str) -> None:
    for person in ("dora", "cleo"):
        assert desk.approve(request, person).code == 0


def test_a_give_back_that_never_was_let_through_is_done_under_the_consent_in_its_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = contained(desk)
    old = undo(desk, incident)["request"]
    approve(desk, old)
    cut(lambda: undo(desk, incident), "photographed")
    late(monkeypatch, desk, 24 * 60)
    new = undo(desk, incident)["request"]
    assert new != old
    approve(desk, new)
    assert undo(desk, incident)["outcome"] == "undone"
    assert status(desk) == "on"


def test_a_give_back_that_may_have_arrived_is_finished_under_the_consent_that_it_was_sent_under(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though people consented once more since: that consent takes over nothing that may be done."""
    incident = contained(desk)
    approve(desk, undo(desk, incident)["request"])

    def refuse(*_: Any) -> None:
        raise NotDoneError("503 service unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "_restore", refuse)
        assert undo(desk, incident)["outcome"] == "failed"
    late(monkeypatch, desk, 24 * 60)
    new = undo(desk, incident)["request"]
    cut(lambda: give_back.fn(incident, TOOL, Purpose.UNDO))
    approve(desk, new)
    assert undo(desk, incident)["outcome"] == "undone"
    assert len(desk.world["effects"]) == 3, "two acts, one of them given back once"


def test_a_re_enabling_that_was_sent_is_finished_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = contained(desk)
    asked_back(desk, incident)
    cut(lambda: give_back.fn(incident, TOOL))
    late(monkeypatch, desk, 24 * 60)
    assert desk("undo", incident, "--action", TOOL, "--json").json["acts"][0]["outcome"] == "undone"
    assert give_back.fn(incident, TOOL, Purpose.RE_ENABLE) == "undone"


def stays_unknown(desk: Desk, incident: str) -> None:
    assert contain.fn(incident, TOOL) == contain.fn(incident, TOOL) == "unknown"
    assert stands(desk, incident) is ContainmentStatus.UNKNOWN
    assert not written(desk, incident, EntryType.EFFECT_FAILED)
    (unknown,) = written(desk, incident, EntryType.EFFECT_UNKNOWN)
    assert "it was sent before and may have been done" in str(unknown["because"])
    assert "nobody knows whether refund-tool was done" in str(written(desk, incident, EntryType.PERSON_NEEDED))
    assert desk("undo", incident, "--action", TOOL, "--json").json["acts"][0]["outcome"] == "unknown"


def test_what_was_sent_is_not_called_failed_when_the_right_is_refused(desk: Desk, sent: str) -> None:
    close_incident.fn(sent, "not_contained")
    stays_unknown(desk, sent)
    assert "is closed" in str(written(desk, sent, EntryType.EFFECT_REFUSED))


def test_what_was_sent_is_not_called_failed_when_the_far_side_cannot_be_read(
    desk: Desk, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise MissingError("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "_observe", away)
        stays_unknown(desk, sent)
    finished(desk, sent)


def test_what_was_lost_is_not_called_failed_when_it_is_refused_the_next_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = planned_and_refused(desk, monkeypatch, MaybeDoneError("it did not answer"), "unknown")
    planned_and_refused(desk, monkeypatch, NotDoneError("403 forbidden"), "unknown", incident)
    assert stands(desk, incident) is ContainmentStatus.UNKNOWN
    assert contain.fn(incident, TOOL) == "effective", "the same consent goes on"


def test_what_was_refused_there_and_is_refused_here_has_failed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can have arrived, so nobody has to look."""
    incident = planned_and_refused(desk, monkeypatch, NotDoneError("403 forbidden"), "failed")
    close_incident.fn(incident, "not_contained")
    assert contain.fn(incident, TOOL) == "failed"
    assert stands(desk, incident) is ContainmentStatus.FAILED
    assert not written(desk, incident, EntryType.EFFECT_UNKNOWN)


def planned_and_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, signal: SignalError, status_: str, incident: str = ""
) -> str:
    """People consented, and the far side answers with this; then the act has this status."""
    if not incident:
        incident = desk.declare()
        desk.respond(incident)
        for request in requests_of(desk.installation, incident):
            for person in ("ana", "cleo"):
                desk.approve(request.id, person)

    def refuse(*_: Any) -> None:
        raise signal

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "_apply", refuse)
        patch.setattr("tasks.connectors._sending.GLANCE_SECONDS", 1000)
        assert contain.fn(incident, TOOL) == status_
    return incident


def test_a_give_back_that_may_have_arrived_is_not_said_to_stay_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = contained(desk)
    asked_back(desk, incident)
    cut(lambda: give_back.fn(incident, TOOL))

    def away(*_: Any) -> None:
        raise MissingError("it is away")

    monkeypatch.setattr(Memory, "_observe", away)
    assert give_back.fn(incident, TOOL) == "failed"
    needed = [str(one.get("needed")) for one in written(desk, incident, EntryType.PERSON_NEEDED)]
    assert "nobody knows whether it came back" in needed[-1]
