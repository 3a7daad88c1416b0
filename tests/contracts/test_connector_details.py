"""What is particular to one kind. Each case was a way to be fooled."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.support_agent.layout import AGENT_CLIENT, RESPONDER_CLIENT
from runbooks.domain.approval import Purpose
from runbooks.domain.configuration import Control
from runbooks.domain.containment import ContainmentAction
from runbooks.domain.errors import ContainmentError, GrantRefusedError, Outcome
from runbooks.domain.grant import Grant
from tests.contracts.connectors.acts import LATE, SEAL, SYSTEM
from tests.contracts.connectors.case import NAME, Case, perform_on
from tests.contracts.connectors.far_aws import aws, deactivate_key, deny_sessions, roll_back_prompt
from tests.contracts.connectors.far_files import flagd_file, memory
from tests.contracts.connectors.far_oauth import block_client, revoke_token, store_of_practice
from tests.contracts.connectors.far_side import FarSide, practice

# flagd files


def _flags(far: FarSide) -> Any:
    return json.loads(Path(far.settings["path"]).read_text())


def _set(far: FarSide, **changes: Any) -> None:
    document = _flags(far)
    document["flags"][far.target].update(changes)
    Path(far.settings["path"]).write_text(json.dumps(document))


def test_targeting_cannot_keep_a_flag_on(tmp_path: Path) -> None:
    far = flagd_file(tmp_path)
    rule = {"if": [{"==": [{"var": "tier"}, "gold"]}, "on", "off"]}
    _set(far, targeting=rule, state="DISABLED", defaultVariant="off")
    before, case = _flags(far), Case(far)
    assert not case.perform().noop, "the default is off already, but the rule serves on"
    flag = _flags(far)["flags"][far.target]
    assert (flag["targeting"], flag["state"], flag["defaultVariant"]) == ({}, "ENABLED", "off")
    case.reverse()
    assert _flags(far) == before


def test_everything_else_in_the_file_stays(tmp_path: Path) -> None:
    far = flagd_file(tmp_path)
    before, case = _flags(far), Case(far)
    Path(far.settings["path"]).chmod(0o640)
    case.perform()
    after = _flags(far)
    after["flags"][far.target]["defaultVariant"] = "on"
    assert after == before
    assert Path(far.settings["path"]).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("variant", ["on", "beta", "none"])
def test_an_off_variant_that_does_not_serve_false_is_refused(tmp_path: Path, variant: str) -> None:
    far = flagd_file(tmp_path)
    with pytest.raises(ContainmentError, match="must serve false"):
        perform_on(far, desired={"variant": variant})
    assert far.effects() == 0


@pytest.mark.parametrize("text", ["", "[]", '{"flags": 5}', '{"flags": {"tool.refund.enabled": {"variants": 3}}}'])
def test_a_file_that_is_no_flag_file_is_not_touched(tmp_path: Path, text: str) -> None:
    far = flagd_file(tmp_path)
    Path(far.settings["path"]).write_text(text)
    with pytest.raises(ContainmentError) as caught:
        perform_on(far)
    assert caught.value.outcome is Outcome.NOT_DONE
    assert Path(far.settings["path"]).read_text() == text


# OAuth


@pytest.mark.far_side
def test_endpoints_are_found_in_the_issuers_own_metadata(tmp_path: Path) -> None:
    far = revoke_token(tmp_path)
    del far.settings["introspection_path"], far.settings["revocation_path"]
    far.settings["issuer"] = practice().describe.addresses.authorization
    assert perform_on(far)
    assert far.taken_away()


@pytest.mark.far_side
def test_endpoints_on_another_host_are_not_followed(tmp_path: Path) -> None:
    far = revoke_token(tmp_path)
    del (
        far.settings["introspection_path"],
        far.settings["revocation_path"],
    )  # behind the wire, the metadata names another port
    with pytest.raises(ContainmentError, match="below the issuer"):
        perform_on(far)
    assert not far.taken_away()


@pytest.mark.far_side
def test_a_token_of_a_blocked_client_is_revoked_all_the_same(tmp_path: Path) -> None:
    far = revoke_token(tmp_path)
    store = store_of_practice()
    token = store.token(far.secrets["file:agent"])
    assert token
    store.set_blocked(token.client_id, blocked=True, expected_version=None)
    case = Case(far)
    assert not case.perform().noop
    store.set_blocked(token.client_id, blocked=False, expected_version=None)
    assert far.taken_away()
    assert far.secrets["file:agent"] not in str(case.record)


@pytest.mark.far_side
@pytest.mark.parametrize(
    ("word", "said"),
    [("photographed", "no longer what was photographed"), ("sending", "not the one that was looked at")],
)
def test_a_token_that_was_rotated_meanwhile_is_left_alone(tmp_path: Path, word: str, said: str) -> None:
    far = revoke_token(tmp_path)
    case = Case(far)
    store, new = store_of_practice(), secrets.token_urlsafe(32)
    store.save_token(new, secrets.token_hex(8), AGENT_CLIENT, "tools", 3600)

    def rotate(recorded: str) -> None:
        # `photographed` is noted before the photograph is kept, and the target is looked at once more after it
        if recorded == word:
            far.secrets["file:agent"] = new

    with pytest.raises(ContainmentError, match=said):
        case.connector().perform(case.action, case.grant, case.authority(watch=rotate))
    assert not far.taken_away()
    found = store.token(new)
    assert found
    assert not found.revoked


# AWS


@pytest.mark.far_side
@pytest.mark.parametrize("version", ["9", "", "latest", "-1"])
def test_an_unknown_prompt_version_is_refused(tmp_path: Path, version: str) -> None:
    far = roll_back_prompt(tmp_path)
    with pytest.raises(ContainmentError, match="version") as caught:
        perform_on(far, desired={"version": version})
    assert caught.value.outcome is Outcome.NOT_DONE
    assert far.effects() == 0
    assert "careless" not in str(caught.value)


@pytest.mark.far_side
def test_an_earlier_denial_is_put_back_as_it_was(tmp_path: Path) -> None:
    far = deny_sessions(tmp_path)
    condition = {"DateLessThan": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}}
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    name = "AWSRevokeOlderSessions"
    aws("iam").put_role_policy(RoleName=far.target, PolicyName=name, PolicyDocument=json.dumps(document))
    case = Case(far)
    assert not case.perform().noop
    case.reverse()
    assert aws("iam").get_role_policy(RoleName=far.target, PolicyName=name)["PolicyDocument"] == document


@pytest.mark.far_side
@pytest.mark.parametrize("target", ["nobody", "/AKIA", "user/", ""])
def test_a_key_that_is_not_named_whole_is_missing(tmp_path: Path, target: str) -> None:
    far = deactivate_key(tmp_path)
    with pytest.raises(ContainmentError) as caught:
        perform_on(far, target=target)
    assert caught.value.outcome is Outcome.NOT_DONE
    assert far.effects() == 0


# The practice fake, and acting without waiting for people


def test_memory_refuses_systems_that_are_not_practice(tmp_path: Path) -> None:
    far = memory(tmp_path)
    case = Case(far, practice=False)
    with pytest.raises(GrantRefusedError, match="practice systems only"):
        case.perform()
    assert far.effects() == 0


def test_memory_without_a_file_outlives_its_connector(tmp_path: Path) -> None:
    far = memory(tmp_path)
    del far.settings["path"]
    case = Case(far)
    case.perform()
    assert case.connector().observe(case.action) == {"status": "off"}
    rows = list(case.connector().collect("effects", "2000-01-01T00:00:00.000000000Z", LATE))
    assert [json.loads(row)["target"] for row in rows] == ["tool"]
    probe = case.connector().probe("p", {"target": "tool"}, "m")
    assert probe.passage == "refused"


def test_a_preauthorised_act_needs_the_active_rule_and_the_very_control(tmp_path: Path) -> None:
    far = flagd_file(tmp_path)
    case = Case(far)
    record, action = case.record, case.action
    control = Control(
        name="the-act",
        verb=far.verb,
        connector=NAME,
        target=far.target,
        desired=far.desired,
        title="t",
        blast_radius="b",
        undo="u",
    )
    system = record.configuration.systems[SYSTEM].model_copy(update={"controls": (control,)})
    record.configuration = record.configuration.model_copy(update={"systems": {SYSTEM: system}})

    def grant(act: ContainmentAction, rule: str) -> Grant:
        return Grant(
            incident=act.incident, purpose=Purpose.CONTAIN, action=act.digest(), effect_key=act.effect_key, manifest=SEAL,
            preauthorisation=rule, configuration=record.configuration.digest(), expires_at=LATE,
        )  # fmt: skip

    other = case.other(target="theme")
    for act, rule in ((action, "another-rule"), (other, "switch-off")):
        with pytest.raises(GrantRefusedError):
            case.connector().perform(act, grant(act, rule), case.authority())
    assert far.effects() == 0
    assert case.connector().perform(action, grant(action, "switch-off"), case.authority())
    assert far.taken_away()


@pytest.mark.far_side
def test_quells_own_client_is_protected_under_any_name_of_its_own(tmp_path: Path) -> None:
    far = block_client(tmp_path)
    far.settings["protected_clients"] = [far.target]
    for target in (RESPONDER_CLIENT, far.target):
        with pytest.raises(ContainmentError, match="own or protected"):
            perform_on(far, target=target)
    assert far.effects() == 0


@pytest.mark.far_side
@pytest.mark.parametrize("side", [block_client, roll_back_prompt])
def test_time_is_kept_for_looking_whether_it_arrived(tmp_path: Path, side: Callable[[Path], FarSide]) -> None:
    """The far side is silent for longer than the whole deadline: the look afterwards is still made."""
    far = side(tmp_path)
    assert far.wire
    far.settings |= {"read_seconds": 60, "deadline_seconds": 5, "readback_seconds": 2}
    far.wire.hang(far.effect)
    assert Case(far).perform().recovered
    assert far.effects() == 1
    far.wire.close()
