"""What policy pre-authorises begins under the very configuration that lets it begin; after another one people are asked."""

from tasks.containment import contain
from tasks.installation import Installation
from tasks.ledger import INSTALLATION
from tasks.outcome import acts_to_do_at_once
from tests.steps.desk import Desk
from tests.steps.test_preauthorised_in_time import approve, asked, place, planned

__all__ = ["place"]  # a fixture


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
