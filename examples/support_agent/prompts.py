"""The system prompt, read from the prompt registry (SSM) under its production label, with a cache like real agents'."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from examples.support_agent.layout import PROMPT_LABEL, PROMPT_PARAMETER, REGION, Frozen, read_json


class Prompt(Frozen):
    """One version of the system prompt."""

    version: int
    text: str


class PromptUnavailableError(Exception):
    """The registry did not give the prompt. The agent answers nothing rather than work without its rules."""


def aws_client(service: str, address: str, key_file: Path, *, patience: int = 10, attempts: int = 2) -> Any:
    """A boto3 client with the keys in ``key_file``, no ambient configuration and short patience (seconds)."""
    key = read_json(key_file)
    return boto3.client(
        service,
        endpoint_url=address,
        region_name=REGION,
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
        config=Config(connect_timeout=3, read_timeout=patience, retries={"total_max_attempts": attempts}, proxies={}),
    )


class PromptSource:
    """The labelled prompt, at most ``cache_seconds`` old: after a label moves, the old text lives on that long."""

    def __init__(self, address: str, key_file: Path, cache_seconds: float) -> None:
        self._address = address
        self._key_file = key_file
        self._cache_seconds = cache_seconds
        self._client: Any = None
        self._cached: Prompt | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> Prompt:
        async with self._lock:
            if self._cached is None or time.monotonic() - self._read_at >= self._cache_seconds:
                asked_at = time.monotonic()
                self._cached = await asyncio.to_thread(self._read)
                self._read_at = asked_at
            return self._cached

    def _read(self) -> Prompt:
        try:
            if self._client is None:
                self._client = aws_client("ssm", self._address, self._key_file)
            found = self._client.get_parameter(Name=f"{PROMPT_PARAMETER}:{PROMPT_LABEL}")["Parameter"]
        except (BotoCoreError, ClientError, OSError) as problem:
            self._cached = None
            raise PromptUnavailableError(f"expected the labelled prompt, found {type(problem).__name__}") from problem
        return Prompt(version=found["Version"], text=found["Value"])
