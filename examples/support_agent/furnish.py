"""Furnishes a world: what its directory needs before the services start, and what the services need once they run."""

from __future__ import annotations

import json
import secrets
import shutil
import time

import httpx

from examples.support_agent.flags import initial_flags
from examples.support_agent.layout import (
    AGENT_CLIENT,
    DATA,
    RESPONDER_CLIENT,
    TOOL_SERVER_CLIENT,
    Addresses,
    Layout,
    read_json,
    write_atomically,
)

SECRET_MODE = 0o600


def furnish_directory(layout: Layout) -> None:
    """Flags, documents and client secrets. What is there already, from an earlier run, stays as it is."""
    layout.make_directories()
    if not layout.flags_file.exists():
        write_atomically(layout.flags_file, json.dumps(initial_flags(), indent=2) + "\n")
    for page in sorted((DATA / "documents").glob("*.md")):
        if not (layout.documents / page.name).exists():
            shutil.copyfile(page, layout.documents / page.name)
    for client_id in (AGENT_CLIENT, TOOL_SERVER_CLIENT, RESPONDER_CLIENT):
        if not layout.client_secret(client_id).exists():
            write_atomically(layout.client_secret(client_id), secrets.token_urlsafe(32), mode=SECRET_MODE)
    layout.traces_file.touch()


def ensure_agent_token(layout: Layout, addresses: Addresses) -> str:
    """Give the agent a token if it has none or its own has expired; returns the token's jti.

    A revoked token stays where it is: giving out a new one is a decision, not a side effect of a restart.
    """
    if layout.agent_token.exists() and layout.token_state_file.exists():
        state = read_json(layout.token_state_file)
        if state["expires_at"] > time.time():
            return str(state["jti"])
    return issue_agent_token(layout, addresses)


def issue_agent_token(layout: Layout, addresses: Addresses) -> str:
    """Get a new token as the agent's client and put it where the agent reads it; returns its jti."""
    secret = layout.client_secret(AGENT_CLIENT).read_text(encoding="utf-8")
    answer = httpx.post(
        f"{addresses.authorization}/token",
        data={"grant_type": "client_credentials"},
        auth=(AGENT_CLIENT, secret),
        timeout=30.0,
        trust_env=False,
    )
    answer.raise_for_status()
    token = answer.json()
    write_atomically(layout.agent_token, token["access_token"], mode=SECRET_MODE)
    state = {"jti": token["jti"], "expires_at": int(time.time()) + token["expires_in"]}
    write_atomically(layout.token_state_file, json.dumps(state))
    return str(token["jti"])
