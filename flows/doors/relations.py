"""What Prefect names beside each event of a run: its flow, deployment, queue and pool, known before anybody asks."""

import contextlib
import importlib
from datetime import UTC
from typing import Any

from prefect.client.schemas.objects import Flow, WorkPool, WorkQueue
from prefect.client.schemas.responses import DeploymentResponse
from prefect.types import DateTime
from pydantic import BaseModel, ValidationError

RELATED: dict[str, type[BaseModel]] = {
    "flow": Flow, "deployment": DeploymentResponse, "work-queue": WorkQueue, "work-pool": WorkPool,
}  # fmt: skip


def know(related: list[tuple[str, str, str]]) -> None:
    """What Prefect names beside each event of a run (kind, key, JSON), as the worker has read it already.

    Prefect's client would ask for each of them in each run, at the worst moment, and keeps the answers for the life of
    the process. A release that keeps them elsewhere, or whose nouns are others, asks as it always did.
    """
    kept: dict[str, Any] = getattr(importlib.import_module("prefect.events.related"), "RESOURCE_CACHE", {})
    with contextlib.suppress(ValidationError):
        for kind, key, told in related:
            found = RELATED[kind].model_validate_json(told)
            kept[f"{kind}.{key}"] = ({"kind": kind, "object": found}, DateTime.now(UTC))
