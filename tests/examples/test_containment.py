"""What responders can take away, what stays, and how long it takes until it is true."""

from __future__ import annotations

import httpx
import pytest

from examples.support_agent.layout import TOOLS
from tests.examples.conftest import CACHE_SECONDS, CANARY, Hands, wait_until

pytestmark = pytest.mark.far_side

REFUND = {"order_id": "ORD-1001", "amount": 5.0, "destination": "ada@example.com"}


def refusal(hands: Hands, tool: str) -> tuple[int, str]:
    answer = hands.far.canary(tool)
    return answer["status"], answer.get("error", "")


def test_a_flag_turned_off_refuses_that_tool_only(hands: Hands) -> None:
    hands.set_flag("issue_refund", "off")
    assert wait_until(lambda: refusal(hands, "issue_refund") == (403, "tool_disabled"), seconds=3) < 2.0
    assert refusal(hands, "lookup_order") == refusal(hands, "send_email") == (200, "")
    assert hands.far.book()[-1].outcome == "done"


def test_a_missing_flag_and_an_unreadable_file_refuse(hands: Hands) -> None:
    path = hands.far.describe.flags_path
    good = path.read_text()
    path.write_text(good.replace("tool.send_email.enabled", "tool.something_else.enabled"))
    wait_until(lambda: refusal(hands, "send_email") == (403, "tool_disabled"), seconds=3)
    path.write_text("{ this is no JSON")
    wait_until(lambda: all(refusal(hands, tool) == (403, "tool_disabled") for tool in TOOLS), seconds=3)
    path.unlink()
    wait_until(lambda: all(refusal(hands, tool) == (403, "tool_disabled") for tool in TOOLS), seconds=3)
    path.write_text(good)
    wait_until(lambda: all(refusal(hands, tool) == (200, "") for tool in TOOLS), seconds=3)


def test_a_revoked_token_is_refused_until_another_is_issued(hands: Hands) -> None:
    answer = hands.responder.post("/revoke", data={"token": hands.agent_token()})
    assert answer.status_code == 200
    assert hands.responder.post("/introspect", data={"token": hands.agent_token()}).json() == {"active": False}
    assert refusal(hands, "issue_refund") == (401, "invalid_token")
    hands.far.reissue_agent_token()
    assert refusal(hands, "issue_refund") == (200, "")


def test_revoking_an_unknown_token_answers_200_and_changes_nothing(hands: Hands) -> None:
    assert hands.responder.post("/revoke", data={"token": "unknown"}).status_code == 200
    assert refusal(hands, "issue_refund") == (200, "")


def test_a_blocked_client_is_refused_and_gets_no_token_until_unblocked(hands: Hands) -> None:
    hands.block("support-agent", blocked=True)
    assert refusal(hands, "lookup_order") == (401, "invalid_token")
    with pytest.raises(httpx.HTTPStatusError):
        hands.far.reissue_agent_token()
    hands.block("support-agent", blocked=False)
    assert refusal(hands, "lookup_order") == (200, "")


def test_blocking_is_compare_and_set(hands: Hands) -> None:
    path = "/admin/clients/support-agent"
    stale = hands.responder.get(path).headers["ETag"]
    first = hands.responder.put(path, json={"blocked": True}, headers={"If-Match": stale})
    assert (first.status_code, first.json()["blocked"]) == (200, True)
    again = hands.responder.put(path, json={"blocked": False}, headers={"If-Match": stale})
    assert again.status_code == 412
    assert hands.responder.get(path).json()["blocked"] is True
    assert hands.responder.get("/admin/clients/nobody").status_code == 404


def test_only_the_responder_may_block_or_revoke_for_others(hands: Hands) -> None:
    secret = hands.far.describe.secret_paths["tool-server.client_secret"].read_text()
    other = {"auth": ("tool-server", secret)}
    authorization = hands.far.describe.addresses.authorization
    url = f"{authorization}/admin/clients/support-agent"
    assert hands.http.put(url, json={"blocked": True}, **other).status_code == 403  # type: ignore[arg-type]
    assert hands.http.put(url, json={"blocked": True}).status_code == 401
    revoked = hands.http.post(f"{authorization}/revoke", data={"token": hands.agent_token()}, **other)  # type: ignore[arg-type]
    assert revoked.status_code == 400
    assert refusal(hands, "lookup_order") == (200, "")


def test_introspection_and_metadata_say_what_the_rfcs_ask(hands: Hands) -> None:
    claims = hands.responder.post("/introspect", data={"token": hands.agent_token()}).json()
    assert claims["active"] is True
    assert (claims["client_id"], claims["sub"], claims["scope"]) == ("support-agent", "support-agent", "tools")
    assert claims["jti"] == hands.far.describe.agent_token_jti
    assert claims["exp"] - claims["iat"] == 8 * 3600
    metadata = hands.responder.get("/.well-known/oauth-authorization-server").json()
    assert metadata["introspection_endpoint"] == f"{hands.far.describe.addresses.authorization}/introspect"
    assert hands.http.post(metadata["introspection_endpoint"], data={"token": "x"}).status_code == 401


def test_both_refusals_are_named_when_both_apply(hands: Hands) -> None:
    hands.set_flag("issue_refund", "off")
    hands.block("support-agent", blocked=True)
    wait_until(lambda: "tool_disabled" in hands.far.canary("issue_refund")["refused_by"], seconds=3)
    assert hands.far.canary("issue_refund")["refused_by"] == ["invalid_token", "tool_disabled"]


def test_a_moved_label_is_applied_at_once_and_effective_after_the_agents_cache(hands: Hands) -> None:
    hands.settle(2)
    hands.settle(3)  # from here the agent's cache is fresh
    hands.move_label(1)
    found = hands.ssm.get_parameter(Name="/support-agent/system-prompt:production")
    assert found["Parameter"]["Version"] == 1
    assert hands.far.ticket("T-1", "ada@example.com", "Hello?")["prompt_version"] == 3
    wait_until(lambda: hands.agent_prompt_version() == 1, seconds=CACHE_SECONDS + 2)
    assert hands.far.ticket("T-2", "ada@example.com", "Hello?")["prompt_version"] == 1


def test_a_canary_is_booked_as_one_and_moves_nothing(hands: Hands) -> None:
    since = hands.far.last_seq()
    assert refusal(hands, "issue_refund") == (200, "")
    (row,) = hands.far.book(since)
    assert (row.canary, row.trial, row.outcome, row.moved_cents) == (True, False, "done", 0)


def test_a_trial_may_touch_canaries_only(hands: Hands) -> None:
    since = hands.far.last_seq()
    answer = hands.call_tool("issue_refund", REFUND, **{"X-Quell-Trial": "t-1"})
    assert (answer.status_code, answer.json()["error"]) == (422, "not_a_canary")
    mail = {"to": "ada@example.com", "subject": "s", "body": "b"}
    assert hands.call_tool("send_email", mail, **{"X-Quell-Trial": "t-1"}).status_code == 422
    assert hands.call_tool("issue_refund", CANARY["issue_refund"], **{"X-Quell-Trial": "t-1"}).status_code == 200
    assert hands.far.goal("Make every unhappy customer whole.", trial="t-1")["tool_calls"]
    rows = hands.far.book(since)
    assert all(row.trial and row.trial_id == "t-1" and row.moved_cents == 0 for row in rows)
    assert all(row.canary for row in rows if row.outcome == "done")


def test_an_idempotency_key_refunds_once(hands: Hands) -> None:
    since = hands.far.last_seq()
    key = {"Idempotency-Key": f"key-{since}"}
    first = hands.call_tool("issue_refund", REFUND, **key)
    second = hands.call_tool("issue_refund", REFUND, **key)
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert hands.call_tool("issue_refund", {**REFUND, "amount": 6.0}, **key).status_code == 422
    assert [row.outcome for row in hands.far.book(since)] == ["done", "replayed", "refused"]
    assert sum(row.moved_cents for row in hands.far.book(since)) == 500
