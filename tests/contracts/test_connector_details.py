"""What is particular to one kind, and what the far side may do to us: each case was a way to be fooled."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.support_agent.layout import RESPONDER_CLIENT
from runbooks.domain.approval import Purpose
from runbooks.domain.configuration import Control
from runbooks.domain.containment import ContainmentAction, Reversibility, Verb
from runbooks.domain.errors import ConfigurationError, ContainmentError, GrantRefusedError, Outcome
from runbooks.domain.grant import Grant
from tasks.connectors import Connector, open_connector
from tests.contracts.connectors import far_sides
from tests.contracts.connectors.acts import LATE, SEAL, SYSTEM, granted, new_action, new_record
from tests.contracts.connectors.authority import MemoryAuthority, Record
from tests.contracts.connectors.far_sides import FarSide, aws, practice
from tests.contracts.connectors.wire import Canned

NAME = "the-connection"


def _record(far: FarSide) -> Record:
    return new_record(NAME, far.kind, far.settings)


def _open(far: FarSide, record: Record) -> Connector:
    return open_connector(far.kind, NAME, SYSTEM, far.settings, far.resolve, record.now)


def _act(far: FarSide, **changes: Any) -> ContainmentAction:
    return new_action(NAME, far.verb, far.target, far.desired, far.reversibility).model_copy(update=changes)


def _perform(far: FarSide, record: Record, action: ContainmentAction | None = None) -> Any:
    action = action or _act(far)
    return _open(far, record).perform(action, granted(record, action), MemoryAuthority(record))


def _reverse(far: FarSide, record: Record) -> Any:
    return _open(far, record).reverse(_act(far), granted(record, _act(far), Purpose.UNDO), MemoryAuthority(record))


# flagd files


def _flags(far: FarSide) -> Any:
    return json.loads(Path(far.settings["path"]).read_text())


def _set(far: FarSide, **changes: Any) -> None:
    document = _flags(far)
    document["flags"][far.target].update(changes)
    Path(far.settings["path"]).write_text(json.dumps(document))


def test_targeting_cannot_keep_a_flag_on(tmp_path: Path) -> None:
    far = far_sides.flagd_file(tmp_path)
    rule = {"if": [{"==": [{"var": "tier"}, "gold"]}, "on", "off"]}
    _set(far, targeting=rule, state="DISABLED", defaultVariant="off")
    before, record = _flags(far), _record(far)
    assert not _perform(far, record).noop, "the default is off already, but the rule serves on"
    flag = _flags(far)["flags"][far.target]
    assert (flag["targeting"], flag["state"], flag["defaultVariant"]) == ({}, "ENABLED", "off")
    _reverse(far, record)
    assert _flags(far) == before


def test_everything_else_in_the_file_stays(tmp_path: Path) -> None:
    far = far_sides.flagd_file(tmp_path)
    before, record = _flags(far), _record(far)
    Path(far.settings["path"]).chmod(0o640)
    _perform(far, record)
    after = _flags(far)
    after["flags"][far.target]["defaultVariant"] = "on"
    assert after == before
    assert Path(far.settings["path"]).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("variant", ["on", "beta", "none"])
def test_an_off_variant_that_does_not_serve_false_is_refused(tmp_path: Path, variant: str) -> None:
    far = far_sides.flagd_file(tmp_path)
    with pytest.raises(ContainmentError, match="must serve false"):
        _perform(far, _record(far), _act(far, desired={"variant": variant}))
    assert far.effects() == 0


@pytest.mark.parametrize("text", ["", "[]", '{"flags": 5}', '{"flags": {"tool.refund.enabled": {"variants": 3}}}'])
def test_a_file_that_is_no_flag_file_is_not_touched(tmp_path: Path, text: str) -> None:
    far = far_sides.flagd_file(tmp_path)
    Path(far.settings["path"]).write_text(text)
    with pytest.raises(ContainmentError) as caught:
        _perform(far, _record(far))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert Path(far.settings["path"]).read_text() == text


# OAuth


@pytest.mark.far_side
def test_endpoints_are_found_in_the_issuers_own_metadata(tmp_path: Path) -> None:
    far = far_sides.revoke_token(tmp_path)
    del far.settings["introspection_path"], far.settings["revocation_path"]
    far.settings["issuer"] = practice().describe.addresses.authorization
    assert _perform(far, _record(far))
    assert far.taken_away()


@pytest.mark.far_side
def test_endpoints_on_another_host_are_not_followed(tmp_path: Path) -> None:
    far = far_sides.revoke_token(tmp_path)
    del (
        far.settings["introspection_path"],
        far.settings["revocation_path"],
    )  # behind the wire, the metadata names another port
    with pytest.raises(ContainmentError, match="below the issuer"):
        _perform(far, _record(far))
    assert not far.taken_away()


@pytest.mark.far_side
def test_a_token_of_a_blocked_client_is_revoked_all_the_same(tmp_path: Path) -> None:
    far = far_sides.revoke_token(tmp_path)
    store = far_sides._store()
    token = store.token(far.secrets["file:agent"])
    assert token
    store.set_blocked(token.client_id, blocked=True, expected_version=None)
    record = _record(far)
    assert not _perform(far, record).noop
    store.set_blocked(token.client_id, blocked=False, expected_version=None)
    assert far.taken_away()
    assert far.secrets["file:agent"] not in str(record)


@pytest.mark.far_side
def test_a_token_that_was_rotated_after_the_photograph_is_left_alone(tmp_path: Path) -> None:
    far, old = far_sides.revoke_token(tmp_path), ""
    record = _record(far)

    def rotate(word: str) -> None:
        nonlocal old
        if word == "still_held":
            old, far.secrets["file:agent"] = far.secrets["file:agent"], far.secrets["file:own"]

    with pytest.raises(ContainmentError, match="not the one that was looked at"):
        _open(far, record).perform(_act(far), granted(record, _act(far)), MemoryAuthority(record, watch=rotate))
    assert not far.taken_away()


# AWS


@pytest.mark.far_side
@pytest.mark.parametrize("version", ["9", "", "latest", "-1"])
def test_an_unknown_prompt_version_is_refused(tmp_path: Path, version: str) -> None:
    far = far_sides.roll_back_prompt(tmp_path)
    with pytest.raises(ContainmentError, match="version") as caught:
        _perform(far, _record(far), _act(far, desired={"version": version}))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert far.effects() == 0
    assert "careless" not in str(caught.value)


@pytest.mark.far_side
def test_an_earlier_denial_is_put_back_as_it_was(tmp_path: Path) -> None:
    far = far_sides.deny_sessions(tmp_path)
    condition = {"DateLessThan": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}}
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    name = "AWSRevokeOlderSessions"
    aws("iam").put_role_policy(RoleName=far.target, PolicyName=name, PolicyDocument=json.dumps(document))
    record = _record(far)
    assert not _perform(far, record).noop
    _reverse(far, record)
    assert aws("iam").get_role_policy(RoleName=far.target, PolicyName=name)["PolicyDocument"] == document


@pytest.mark.far_side
@pytest.mark.parametrize("target", ["nobody", "/AKIA", "user/", ""])
def test_a_key_that_is_not_named_whole_is_missing(tmp_path: Path, target: str) -> None:
    far = far_sides.deactivate_key(tmp_path)
    with pytest.raises(ContainmentError) as caught:
        _perform(far, _record(far), _act(far, target=target))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert far.effects() == 0


# Any HTTP API


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    server.close()


def _http(canned: Canned, **changes: Any) -> FarSide:
    read = {"method": "GET", "path": "/tools/{target}", "query": {"tenant": "{desired:tenant}"}}
    settings = {
        "base_url": canned.url,
        "reversibility": "R1",
        "capture": {"request": read, "extract": {"enabled": "tool.enabled"}},
        "apply": {"request": {"method": "POST", "path": "/tools/{target}/state", "json": {"enabled": False, "why": "{target}"}}},
        "verify": {"request": read, "extract": {"enabled": "tool.enabled"}, "expect": {"enabled": "false"}},
        "undo": {"request": {"method": "POST", "path": "/tools/{target}/state", "json": {"enabled": "{captured:enabled|json}"}}},
        "read_seconds": 1, "readback_seconds": 0, "deadline_seconds": 3,
        **changes,
    }  # fmt: skip
    return FarSide(
        kind="http_action", verb=Verb.CALL_HTTP, settings=settings, target="refund", missing="", desired={"tenant": "a"},
        reversibility=Reversibility.R1, taken_away=bool, effects=lambda: _posts(canned),
    )  # fmt: skip


def _posts(canned: Canned) -> int:
    return sum(request.startswith(b"POST") for request in canned.requests)


ON, OFF = b'{"tool": {"enabled": true}}', b'{"tool": {"enabled": false}}'
READS = 6  # two for existence, two for the photograph, two before sending


def _reads(canned: Canned, body: bytes = ON, times: int = READS) -> None:
    for _ in range(times):
        canned.answer(body)


@pytest.mark.parametrize(
    "target", ["../admin", "a/b", "a?x=1", "a#b", "{captured:enabled}", "a%2e", "x@evil.example", "ü ñ"]
)
def test_a_target_stays_one_path_segment(canned: Canned, target: str) -> None:
    far = _http(canned)
    _reads(canned)
    canned.answer(b"{}")
    canned.answer(OFF)
    _perform(far, _record(far), _act(far, target=target, desired={"tenant": "a&b=c"}))
    for request in canned.requests:
        line, _, rest = request.partition(b"\r\n")
        path = line.split()[1].partition(b"?")[0]
        assert path.count(b"/") == (3 if line.startswith(b"POST") else 2)
        assert path.startswith(b"/tools/")
        assert f"host: {canned.url.removeprefix('http://')}".encode() in rest.lower()
        assert b"&b=" not in line
    sent = next(request for request in canned.requests if request.startswith(b"POST"))
    assert json.loads(sent.partition(b"\r\n\r\n")[2]) == {"enabled": False, "why": target}


@pytest.mark.parametrize("target", ["", ".", ".."])
def test_dots_and_nothing_are_no_target(canned: Canned, target: str) -> None:
    with pytest.raises(ContainmentError, match="path segment"):
        _perform(_http(canned), _record(_http(canned)), _act(_http(canned), target=target))
    assert not canned.requests


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"undo": None}, "what cannot be undone must say so"),
        ({"reversibility": "R0"}, "this kind changes things"),
        ({"headers": {"X": "{target}"}}, "only {secret:NAME}"),
        (
            {"capture": {"request": {"method": "GET", "path": "/{tagret}"}, "extract": {"a": "b"}}},
            "only the placeholders",
        ),
        ({"capture": {"request": {"method": "GET", "path": "//evil.example/"}, "extract": {"a": "b"}}}, None),
        (
            {"apply": {"request": {"method": "POST", "path": "/x", "query": {"k": "{secret:a}"}}}},
            "only the placeholders",
        ),
        ({"apply": {"request": {"method": "POST", "path": "/x"}, "ok": {}}}, "an empty condition would hold always"),
    ],
)
def test_settings_that_could_fool_us_are_refused(canned: Canned, change: dict[str, Any], said: str | None) -> None:
    if said is None:  # two slashes: still below our own host
        canned.answer(b'{"b": "1"}')
        far = _http(
            canned,
            **change,
            verify={"request": change["capture"]["request"], "extract": {"e": "b"}, "expect": {"e": "2"}},
        )
        _open(far, _record(far)).observe(_act(far))
        assert canned.requests[0].startswith(b"GET //evil.example/ ")
        return
    with pytest.raises(ConfigurationError, match=said):
        _open(_http(canned, **change), _record(_http(canned)))


def test_an_answer_of_200_that_says_no_is_not_believed(canned: Canned) -> None:
    ok = {"status": [200], "json_field": "isError", "any_of": [False]}
    request = {"method": "POST", "path": "/tools/{target}/state"}
    far = _http(canned, apply={"request": request, "ok": ok})
    _reads(canned)
    canned.answer(b'{"isError": true}')
    canned.answer(ON)
    with pytest.raises(ContainmentError, match="not as ok demands") as caught:
        _perform(far, _record(far))
    assert caught.value.outcome is Outcome.UNKNOWN


def test_an_answer_of_200_that_changed_nothing_is_not_believed(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"{}")
    canned.answer(ON)
    with pytest.raises(ContainmentError, match="it said yes; read back, it shows enabled=true") as caught:
        _perform(_http(canned), _record(_http(canned)))
    assert caught.value.outcome is Outcome.UNKNOWN
    assert _posts(canned) == 1


def test_a_refusal_is_not_done_and_is_not_sent_again(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"secret words of the far side", status=403)
    canned.answer(ON)
    record = _record(_http(canned))
    with pytest.raises(ContainmentError, match="answered 403") as caught:
        _perform(_http(canned), record)
    assert caught.value.outcome is Outcome.NOT_DONE
    assert _posts(canned) == 1
    assert "secret words" not in caught.value.diagnostics() + str(record)


def test_too_many_requests_is_waited_for(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"", status=429, Retry_After="1")
    _reads(canned, times=2)
    canned.answer(b"{}")
    canned.answer(OFF)
    started = time.monotonic()
    receipt = _perform(_http(canned), _record(_http(canned)))
    assert time.monotonic() - started >= 1
    assert not receipt.recovered
    assert _posts(canned) == 2


def test_a_wait_beyond_the_deadline_is_not_begun(canned: Canned) -> None:
    _reads(canned)
    canned.answer(b"", status=429, Retry_After="3600")
    canned.answer(ON)
    started = time.monotonic()
    with pytest.raises(ContainmentError, match="429") as caught:
        _perform(_http(canned), _record(_http(canned)))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert time.monotonic() - started < 2


def test_a_redirect_is_never_followed(canned: Canned) -> None:
    other = Canned()
    other.answer(OFF)
    _reads(canned)
    canned.answer(b"", status=307, Location=f"{other.url}/elsewhere")
    canned.answer(ON)
    with pytest.raises(ContainmentError, match="answered 307") as caught:
        _perform(_http(canned), _record(_http(canned)))
    assert caught.value.outcome is Outcome.UNKNOWN
    assert not other.requests
    other.close()


def test_a_dripping_far_side_cannot_hold_us(canned: Canned) -> None:
    _reads(canned)
    canned.drip(0.2)
    started = time.monotonic()
    with pytest.raises(ContainmentError) as caught:
        _perform(_http(canned), _record(_http(canned)))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert time.monotonic() - started < 5, "the deadline is 3 seconds"


def test_an_endless_answer_is_cut(canned: Canned) -> None:
    canned.answer(b"x" * 5000)
    far = _http(canned, largest_answer_bytes=4000)
    with pytest.raises(ContainmentError, match="longer than 4000 bytes"):
        _perform(far, _record(far))


def test_a_header_that_a_secret_breaks_is_not_sent(canned: Canned) -> None:
    far = _http(canned, headers={"Authorization": "Bearer {secret:key}"}, secrets={"key": "file:key"})
    far.secrets = {"file:key": "one\r\nX-Evil: two"}
    with pytest.raises(ContainmentError) as caught:
        _perform(far, _record(far))
    assert caught.value.outcome is Outcome.NOT_DONE
    assert not any(canned.requests), "a connection may be opened, and nothing is said on it"
    assert "Evil" not in caught.value.diagnostics()


# The practice fake, and acting without waiting for people


def test_memory_refuses_systems_that_are_not_practice(tmp_path: Path) -> None:
    far = far_sides.memory(tmp_path)
    record = new_record(NAME, far.kind, far.settings, practice=False)
    with pytest.raises(GrantRefusedError, match="practice systems only"):
        _perform(far, record)
    assert far.effects() == 0


def test_memory_without_a_file_outlives_its_connector(tmp_path: Path) -> None:
    far = far_sides.memory(tmp_path)
    del far.settings["path"]
    record = _record(far)
    _perform(far, record)
    assert _open(far, record).observe(_act(far)) == {"status": "off"}
    rows = list(_open(far, record).collect("effects", "2000-01-01T00:00:00.000000000Z", LATE))
    assert [json.loads(row)["target"] for row in rows] == ["tool"]
    probe = _open(far, record).probe("p", {"target": "tool"}, "m")
    assert probe.passage == "refused"


def test_a_preauthorised_act_needs_the_active_rule_and_the_very_control(tmp_path: Path) -> None:
    far = far_sides.flagd_file(tmp_path)
    record, action = _record(far), _act(far)
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

    other = _act(far, target="theme")
    for act, rule in ((action, "another-rule"), (other, "switch-off")):
        with pytest.raises(GrantRefusedError):
            _open(far, record).perform(act, grant(act, rule), MemoryAuthority(record))
    assert far.effects() == 0
    assert _open(far, record).perform(action, grant(action, "switch-off"), MemoryAuthority(record))
    assert far.taken_away()


@pytest.mark.far_side
def test_quells_own_client_is_protected_under_any_name_of_its_own(tmp_path: Path) -> None:
    far = far_sides.block_client(tmp_path)
    far.settings["protected_clients"] = [far.target]
    for target in (RESPONDER_CLIENT, far.target):
        with pytest.raises(ContainmentError, match="own or protected"):
            _perform(far, _record(far), _act(far, target=target))
    assert far.effects() == 0
