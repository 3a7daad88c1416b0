"""What policy pre-authorises begins under the very configuration that lets it begin; after another one people are asked.

What was begun and certainly failed is finished under another one that covers it too, or people are asked.
"""

from typing import Any

import pytest

from runbooks.domain.case import action_rows
from runbooks.domain.configuration import Policy
from runbooks.domain.containment import ContainmentStatus
from runbooks.domain.ledger import EntryType
from tasks.approval import plan_of, requests_of
from tasks.connectors._signals import MaybeDoneError, NotDoneError, SignalError
from tasks.connectors.memory import Memory
from tasks.containment import contain
from tasks.installation import Installation
from tasks.ledger import INSTALLATION, this_process
from tasks.outcome import acts_to_ask_for, acts_to_do_at_once
from tests.steps.desk import Desk
from tests.steps.glass import judged_again, status, written
from tests.steps.test_finished_late import cut
from tests.steps.test_preauthorised_in_time import approve, asked, place, planned

__all__ = ["place"]  # a fixture
TOOL = "refund-tool"


def test_what_another_policy_let_begin_waits_for_people_too(desk: Desk, place: Installation) -> None:
    incident = planned(place, 0)
    assert acts_to_do_at_once(incident) == ["refund-tool"]
    active = place.active()
    other = active.model_copy(update={"policy": active.policy.model_copy(update={"waiver_roles": ("on-call",)})})
    place.activate(other, INSTALLATION, {"proof": "an owner changed something else"})
    assert acts_to_do_at_once(incident) == []
    assert "another configuration was activated" in asked(desk, incident)["refund-tool"]
    approve(desk, incident, "refund-tool")
    assert contain.fn(incident, "refund-tool") == "effective"
    assert acts_to_do_at_once(incident) == ["refund-tool"], "what was claimed is not asked for once more"


def activate(place: Installation, **policy: Any) -> None:
    active = place.active()
    other = active.model_copy(update={"policy": Policy.model_validate(active.policy.model_copy(update=policy))})
    place.activate(other, INSTALLATION, {"proof": "an owner changed it"})


def another(place: Installation) -> None:
    """An owner changes something else: what is pre-authorised stays."""
    activate(place, waiver_roles=("on-call",))


def without(place: Installation) -> None:
    """An owner takes the pre-authorisation out."""
    activate(place, preauthorised=())


def renamed(place: Installation) -> None:
    """Another pre-authorisation covers it now: not the one that it was begun under."""
    (rule,) = place.active().policy.preauthorised
    activate(place, preauthorised=(rule.model_copy(update={"id": "other"}),))


def begun(place: Installation, signal: SignalError) -> str:
    """Policy let it begin, and the far side answered with this."""
    incident = planned(place, 0)

    def answer(*_: Any) -> None:
        raise signal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Memory, "_apply", answer)
        patch.setattr("tasks.connectors._sending.GLANCE_SECONDS", 1000)
        contain.fn(incident, TOOL)
    return incident


REFUSED = NotDoneError("403 quell may not do that here")


def test_what_was_refused_there_is_done_under_another_configuration_that_covers_it_too(
    desk: Desk, place: Installation
) -> None:
    incident = begun(place, REFUSED)
    another(place)
    assert acts_to_do_at_once(incident) == [TOOL]
    assert TOOL not in asked(desk, incident)
    assert contain.fn(incident, TOOL) == "effective"
    assert status(desk) == "off"
    assert judged_again(desk, incident) == []


@pytest.mark.parametrize("change", [without, renamed])
def test_what_was_refused_there_and_is_covered_no_more_is_asked_for(
    desk: Desk, place: Installation, change: Any
) -> None:
    incident = begun(place, REFUSED)
    change(place)
    assert acts_to_do_at_once(incident) == []
    assert contain.fn(incident, TOOL) == "failed", "nobody was asked"
    assert "another configuration was activated" in asked(desk, incident)[TOOL]
    assert contain.fn(incident, TOOL) == "failed", "nobody answered"
    assert status(desk) == "on"
    approve(desk, incident, TOOL)
    assert contain.fn(incident, TOOL) == "effective"
    assert (status(desk), acts_to_ask_for(incident).count(TOOL)) == ("off", 0)
    claims = [e for e in place.store.entries(incident, types=(EntryType.EFFECT_CLAIMED,)) if "request" in e.subject]
    assert [e.body["fence"] for e in claims] == [2], "the consent took over what had failed"
    assert judged_again(desk, incident) == []


def test_what_a_dead_process_claimed_is_asked_for_too(
    desk: Desk, place: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = planned(place, 0)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.ledger.this_process", dead)
        cut(lambda: contain.fn(incident, TOOL), "photographed")
    without(place)
    assert TOOL in asked(desk, incident)
    approve(desk, incident, TOOL)
    assert contain.fn(incident, TOOL) == "effective"


def dead(what: str) -> str:
    """A holder on this machine that is gone: the same process id, started at another time."""
    host, boot, pid, _, _ = this_process(what).split("/", 4)
    return f"{host}/{boot}/{pid}/1/{what}"


@pytest.mark.parametrize("change", [without, renamed])
def test_what_nobody_knows_of_stays_unknown(desk: Desk, place: Installation, change: Any) -> None:
    incident = begun(place, MaybeDoneError("it did not answer"))
    change(place)
    assert contain.fn(incident, TOOL) == "unknown"
    plan, entries = plan_of(place, incident), place.store.entries(incident)
    status_ = next(row.status for row in action_rows(plan, entries) if row.action == TOOL)
    assert status_ is ContainmentStatus.UNKNOWN
    assert not written(desk, incident, EntryType.EFFECT_FAILED)
    assert TOOL not in asked(desk, incident)
    assert TOOL not in [request.step for request in requests_of(place, incident)]
