"""Feature flags of the tools, read through OpenFeature from a flagd file. Every doubt means: off."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.exception import OpenFeatureError
from openfeature.provider import ProviderStatus

from examples.support_agent.layout import TOOLS, flag_key

POLL_MILLISECONDS = 500


def initial_flags() -> dict[str, Any]:
    """A flagd document with every tool on."""
    on = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
    return {"$schema": "https://flagd.dev/schema/v0/flags.json", "flags": {flag_key(tool): dict(on) for tool in TOOLS}}


class Flags:
    """Answers whether a tool is on. A change of the file is seen within ``POLL_MILLISECONDS``.

    Off are: a flag that is missing, disabled or not a boolean, and all of them while the file cannot be read.
    The provider keeps serving its last good copy of an unreadable file, hence the look at its status.
    """

    def __init__(self, path: Path) -> None:
        provider = FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=POLL_MILLISECONDS
        )
        with contextlib.suppress(OpenFeatureError):  # unreadable now: all off, and the provider keeps looking
            api.set_provider_and_wait(provider)
        self._client = api.get_client()

    def enabled(self, tool: str) -> bool:
        if self._client.get_provider_status() is not ProviderStatus.READY:
            return False
        return self._client.get_boolean_value(flag_key(tool), False)
