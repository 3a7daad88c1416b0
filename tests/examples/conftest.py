"""One practice world for all these tests, and the hands of the people around it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from examples.support_agent import attacks, world
from examples.support_agent.layout import (
    CANARY_EMAIL,
    IAM_RESPONDER_USER,
    RESPONDER_CLIENT,
    TOOLS,
    read_json,
    write_atomically,
)
from examples.support_agent.world import World

CACHE_SECONDS = 1.5
CANARY_ORDER = "CANARY-0002"


class Hands:
    """What operators and responders do to the world, each through its own door."""

    def __init__(self, far: World) -> None:
        self.far = far
        self.http = httpx.Client(timeout=30.0, trust_env=False)
        secret = far.describe.secret_paths[f"{RESPONDER_CLIENT}.client_secret"].read_text()
        self.responder = httpx.Client(
            base_url=far.describe.addresses.authorization, auth=(RESPONDER_CLIENT, secret), trust_env=False
        )
        key = read_json(far.describe.secret_paths[f"{IAM_RESPONDER_USER}.aws_key"])
        self.ssm = boto3.client(
            "ssm",
            endpoint_url=far.describe.addresses.aws,
            region_name=far.describe.region,
            aws_access_key_id=key["access_key_id"],
            aws_secret_access_key=key["secret_access_key"],
        )

    def close(self) -> None:
        self.http.close()
        self.responder.close()
        self.ssm.close()

    def agent_token(self) -> str:
        return self.far.describe.secret_paths["support-agent.access_token"].read_text()

    def set_flag(self, tool: str, variant: str) -> None:
        document = read_json(self.far.describe.flags_path)
        document["flags"][self.far.describe.flag_keys[tool]]["defaultVariant"] = variant
        write_atomically(self.far.describe.flags_path, json.dumps(document))

    def move_label(self, version: int) -> None:
        self.ssm.label_parameter_version(
            Name=self.far.describe.prompt_parameter,
            ParameterVersion=version,
            Labels=[self.far.describe.prompt_label],
        )

    def settle(self, version: int) -> None:
        """Move the label and wait until the agent's cache has it."""
        self.move_label(version)
        wait_until(lambda: self.agent_prompt_version() == version, seconds=CACHE_SECONDS + 5)

    def agent_prompt_version(self) -> int:
        return int(self.http.get(f"{self.far.describe.addresses.agent}/healthz").json()["prompt_version"])

    def block(self, client_id: str, *, blocked: bool) -> None:
        path = f"/admin/clients/{client_id}"
        etag = self.responder.get(path).headers["ETag"]
        self.responder.put(path, json={"blocked": blocked}, headers={"If-Match": etag}).raise_for_status()

    def call_tool(self, tool: str, arguments: dict[str, Any], **headers: str) -> httpx.Response:
        """Call the tool server directly, with the agent's token."""
        own = {"Authorization": f"Bearer {self.agent_token()}", **headers}
        return self.http.post(f"{self.far.describe.addresses.tools}/tools/{tool}", json=arguments, headers=own)

    def attacked_trials(self, count: int) -> int:
        """Send the recorded attack as ``count`` trials on canaries; how many the book shows as successful."""
        since = self.far.last_seq()
        text = attacks.render(attacks.attack_ticket()["text"], order=CANARY_ORDER, customer=CANARY_EMAIL)
        for number in range(count):
            self.far.ticket(f"trial-{number}", CANARY_EMAIL, text, trial=f"trial-{number}")
        return attacks.achieved(self.far, since, include_canaries=True).refunds


def wait_until(condition: Callable[[], bool], *, seconds: float) -> float:
    """Poll until ``condition`` holds; returns how long that took, in seconds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - start


@pytest.fixture(scope="session")
def _started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hands]:
    directory: Path = tmp_path_factory.mktemp("world")
    with world.start(directory, seed=7, prompt_cache_seconds=CACHE_SECONDS) as far:
        hands = Hands(far)
        yield hands
        hands.close()


@pytest.fixture
def hands(_started: Hands) -> Iterator[Hands]:
    """The shared world; whatever a test switched off is on again after it."""
    yield _started
    for tool in TOOLS:
        _started.set_flag(tool, "on")
    _started.block("support-agent", blocked=False)
    wait_until(
        lambda: all(_started.call_tool(tool, CANARY[tool]).status_code in {200, 401} for tool in TOOLS), seconds=5
    )
    if _started.call_tool("lookup_order", CANARY["lookup_order"]).status_code == 401:
        _started.far.reissue_agent_token()


CANARY: dict[str, dict[str, Any]] = {
    "lookup_order": {"order_id": CANARY_ORDER},
    "issue_refund": {"order_id": CANARY_ORDER, "amount": 0.0, "destination": CANARY_EMAIL},
    "send_email": {"to": CANARY_EMAIL, "subject": "s", "body": "b"},
}
