"""The world as a set of processes and files: it leaks nothing and forgets nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.support_agent import attacks, world
from examples.support_agent.supervisor import WorldError
from examples.support_agent.world import World
from tests.examples.conftest import CACHE_SECONDS, Hands, wait_until

pytestmark = [pytest.mark.far_side, pytest.mark.slow]


def refuses_connections(address: str) -> bool:
    try:
        httpx.get(address, timeout=5.0, trust_env=False)
    except httpx.TransportError:
        return True
    return False


def all_gone(far: World) -> bool:
    return all(refuses_connections(address) for address in far.describe.addresses.model_dump().values())


def secret_values(directory: Path) -> list[str]:
    values: list[str] = []
    for path in (directory / "secrets").iterdir():
        assert path.stat().st_mode & 0o077 == 0, f"{path.name} is readable by others"
        text = path.read_text()
        values.append(json.loads(text)["secret_access_key"] if path.suffix == ".json" else text)
    return values


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def test_nothing_outlives_a_killed_supervisor_and_a_restart_keeps_the_book(tmp_path: Path) -> None:
    with world.start(tmp_path, prompt_version=2) as far:
        attacks.injected_ticket(far)
        book, token = far.book(), far.describe.agent_token_jti
        os.kill(far.describe.supervisor.pid, signal.SIGKILL)
        wait_until(lambda: all_gone(far), seconds=10)
        with pytest.raises(WorldError, match="found only its world"):
            world.attach(tmp_path)
    with world.start(tmp_path) as again:
        assert again.book() == book
        assert again.describe.agent_token_jti == token
        assert again.canary("lookup_order")["status"] == 200
        with pytest.raises(WorldError):
            world.start(tmp_path)
        with world.attach(tmp_path) as attached:
            assert attached.describe == again.describe
            attached.stop()
        wait_until(lambda: all_gone(again), seconds=10)


def test_no_secret_is_written_outside_the_secrets_folder(hands: Hands) -> None:
    hands.far.canary("issue_refund")
    directory = hands.far.describe.directory
    values = secret_values(directory)
    assert len(values) == 6
    for path in directory.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            content = path.read_bytes()
            assert not any(value.encode() in content for value in values), path.name


def test_the_book_can_only_grow(hands: Hands) -> None:
    hands.far.canary("lookup_order")
    connection = sqlite3.connect(hands.far.describe.book_path)
    try:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("DELETE FROM call")
    finally:
        connection.close()


def test_each_request_leaves_one_trace_with_what_the_model_saw_and_did(hands: Hands) -> None:
    hands.settle(2)
    answer = hands.far.ticket("T-trace", "ada@example.com", "What is the refund policy? My order is ORD-1001.")
    lines = hands.far.describe.traces_path.read_text().splitlines()
    spans = [span for line in lines for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]]
    own = [span for span in spans if span["traceId"] == answer["trace_id"]]
    by_operation = {attributes(span)["gen_ai.operation.name"]: attributes(span) for span in own}
    assert set(by_operation) == {"invoke_agent", "retrieval", "chat", "execute_tool"}
    assert by_operation["invoke_agent"]["gen_ai.conversation.id"] == "T-trace"
    assert by_operation["invoke_agent"]["support_agent.prompt.version"] == "2"
    assert "refund_policy.md" in by_operation["retrieval"]["gen_ai.retrieval.documents"]
    assert "ORD-1001" in by_operation["chat"]["gen_ai.input.messages"]
    assert "careless" not in by_operation["chat"]["gen_ai.system_instructions"]
    assert by_operation["execute_tool"]["support_agent.token.jti"] == hands.far.describe.agent_token_jti
    assert {row.trace_id for row in hands.far.book()[-2:]} == {answer["trace_id"]}


def test_the_label_outlives_a_stop(tmp_path: Path) -> None:
    with world.start(tmp_path, prompt_cache_seconds=CACHE_SECONDS) as far:
        mover = Hands(far)
        mover.settle(3)
        mover.close()
    with world.start(tmp_path) as again:
        assert again.ticket("T-1", "ada@example.com", "Hello?")["prompt_version"] == 3
