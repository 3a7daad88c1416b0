"""What a policy may not say, and the exact words of the complaint."""

import pytest
from pydantic import ValidationError

from runbooks.domain.configuration import BreakGlassRule, Policy, ProofKind, Right
from runbooks.domain.containment import Reversibility, Verb
from runbooks.domain.tightness import policy_faults
from tests.domain.cast import PREAUTHORISED, a_configuration

GENERAL = Right(roles=("security", "on-call"), people=2, expires_minutes=60)


def keys(*rights: Right) -> list[str]:
    return [fault.key for fault in policy_faults(Policy(rights=rights))]


def test_a_right_for_one_system_may_tighten() -> None:
    assert keys(GENERAL.model_copy(update={"systems": ("agent",), "people": 3, "roles": ("security",)}), GENERAL) == []
    assert keys(Right(systems=("agent",), roles=("anybody",))) == [], "nothing general is there to be loosened"


@pytest.mark.parametrize(
    ("change", "key"),
    [({"people": 1}, "people"), ({"roles": ("security", "sales")}, "roles"), ({"expires_minutes": 61}, "expires_minutes"),
     ({"proofs": (ProofKind.SSH, ProofKind.CODE), "reversibilities": (Reversibility.R1,)}, "proofs")],
)  # fmt: skip
def test_a_loosening_one_is_named_with_both_lines(change: dict[str, object], key: str) -> None:
    other = Right(roles=("security",), verbs=(Verb.DENY_SESSIONS,), people=2, expires_minutes=60)
    loose = GENERAL.model_copy(update={"systems": ("agent",), **change})
    (fault,) = policy_faults(Policy(rights=(loose, GENERAL, other)))
    assert fault.key == f"[[rights]] no. 1, {key}"
    assert f"[[rights]] no. 2, {key}, of policy.toml" in fault.expected


def test_a_right_for_one_system_lets_nobody_decide_whom_the_general_one_never_lets() -> None:
    never = GENERAL.model_copy(update={"never": ("dora", "system-owner")})
    assert keys(never.model_copy(update={"systems": ("agent",), "never": ("dora", "system-owner", "bob")}), never) == []
    (fault,) = policy_faults(
        Policy(rights=(never.model_copy(update={"systems": ("agent",), "never": ("dora",)}), never))
    )
    assert fault.key.endswith("never")
    assert "dora, system-owner" in fault.expected


def test_a_right_that_never_holds_is_not_complained_about() -> None:
    loose = GENERAL.model_copy(update={"systems": ("agent",), "people": 1})
    assert keys(GENERAL, loose) == []


def test_a_code_for_what_is_hard_to_undo_must_be_meant() -> None:
    both = Right(roles=("security",), proofs=(ProofKind.SSH, ProofKind.CODE))
    assert set(keys(both)) == {"[[rights]] no. 1, proofs"}
    assert keys(both.model_copy(update={"code_for_irreversible": True})) == []
    first = Right(roles=("security",), reversibilities=(Reversibility.R2, Reversibility.R3))
    assert keys(first, both) == []


def test_break_glass_never_for_what_cannot_be_undone() -> None:
    rule = {"roles": ("security",), "systems": ("agent",), "max_minutes": 30}
    with pytest.raises(ValidationError, match="cannot be undone"):
        BreakGlassRule.model_validate({**rule, "verbs": (Verb.REVOKE_TOKEN,)})
    glass = BreakGlassRule.model_validate({**rule, "verbs": (Verb.CALL_HTTP, Verb.DISABLE_TOOL)})
    place = a_configuration(policy=Policy(rights=(GENERAL,), break_glass=(glass,)))
    asked = {"roles": ("security",), "verb": Verb.CALL_HTTP, "reversibility": Reversibility.R1, "system": "agent"}
    assert place.break_glass_for(**asked) == glass  # type: ignore[arg-type]
    for change in (
        {"reversibility": Reversibility.R3},
        {"roles": ("sales",)},
        {"verb": Verb.BLOCK_CLIENT},
        {"system": "x"},
    ):
        assert place.break_glass_for(**(asked | change)) is None  # type: ignore[arg-type]


def test_a_preauthorisation_may_not_lengthen_the_policys_time() -> None:
    def found(minutes: int | None) -> list[str]:
        rule = PREAUTHORISED.model_copy(update={"fresh_minutes": minutes})
        return [fault.key for fault in policy_faults(Policy(preauthorised=(rule,), fresh_minutes=5))]

    assert [found(minutes) for minutes in (None, 1, 5)] == [[], [], []]
    assert found(6) == ["preauthorised.at-once.fresh_minutes"]
