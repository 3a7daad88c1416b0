"""Rights and pre-authorisations: what none covers nobody may; what cannot be undone always waits."""

import pytest
from pydantic import ValidationError

from runbooks.domain.configuration import Policy, Right
from runbooks.domain.containment import Reversibility, Verb
from runbooks.domain.incident import Archetype
from runbooks.domain.preauthorisation import Preauthorisation
from runbooks.domain.severity import Severity
from tests.domain.cast import PREAUTHORISED, a_configuration, a_control, a_system, an_incident

ASKED = {"purpose": "contain", "verb": Verb.DISABLE_TOOL, "reversibility": Reversibility.R1, "severity": Severity.SEV1,
         "system": "agent"}  # fmt: skip


def right_for(*rights: Right, **changes: object) -> Right | None:
    configuration = a_configuration(policy=Policy(rights=rights))
    return configuration.right_for(**(ASKED | changes))  # type: ignore[arg-type]


def test_no_right_is_no() -> None:
    assert right_for() is None
    assert right_for(Right(roles=("security",), severities=(Severity.SEV2,))) is None


def test_the_first_that_matches_holds() -> None:
    narrow, wide = Right(roles=("on-call",), verbs=(Verb.DISABLE_TOOL,)), Right(roles=("security",))
    assert right_for(narrow, wide) == narrow
    assert right_for(wide, narrow) == wide
    assert right_for(narrow, wide, verb=Verb.BLOCK_CLIENT) == wide


@pytest.mark.parametrize(
    ("limit", "other"),
    [({"purposes": ("undo",)}, {"purpose": "undo"}), ({"verbs": (Verb.REVOKE_TOKEN,)}, {"verb": Verb.REVOKE_TOKEN}),
     ({"reversibilities": (Reversibility.R3,)}, {"reversibility": Reversibility.R3}),
     ({"severities": (Severity.SEV4,)}, {"severity": Severity.SEV4}), ({"systems": ("other",)}, {"system": "other"})],
)  # fmt: skip
def test_every_limit_limits(limit: dict[str, object], other: dict[str, object]) -> None:
    right = Right.model_validate({"roles": ("security",), **limit})
    assert right_for(right) is None
    assert right_for(right, **other) == right


def test_a_right_for_verbs_does_not_cover_what_has_none() -> None:
    assert right_for(Right(roles=("security",), verbs=(Verb.DISABLE_TOOL,)), verb=None) is None
    assert right_for(Right(roles=("security",)), verb=None) is not None


@pytest.mark.parametrize("verb", [Verb.REVOKE_TOKEN, Verb.DENY_SESSIONS])
def test_what_cannot_be_undone_at_once_is_never_preauthorised(verb: Verb) -> None:
    with pytest.raises(ValidationError, match="always waits for people"):
        Preauthorisation.model_validate({**PREAUTHORISED.model_dump(), "verbs": [verb]})
    for reversibility in (Reversibility.R2, Reversibility.R3):
        rules = a_configuration().preauthorisations_for(
            archetype=Archetype.AGENTIC_MISALIGNMENT, verb=Verb.CALL_HTTP, reversibility=reversibility,
            severity=Severity.SEV1, system="agent", origin=an_incident().origin,
        )  # fmt: skip
        assert rules == ()


def test_two_controls_of_one_name_are_refused() -> None:
    """The plan would hold only one of them, and say nothing."""
    with pytest.raises(ValidationError, match="two controls are named disable-tool"):
        a_system(a_control(Verb.DISABLE_TOOL), a_control(Verb.DISABLE_TOOL, target="another"))


@pytest.mark.parametrize("secret", ["hunter2", "file:", "env:", "https://x", ""])
def test_a_secret_is_a_reference(secret: str) -> None:
    from runbooks.domain.configuration import Person

    with pytest.raises(ValidationError):
        Person(name="A", roles=(), code_secret=secret)
