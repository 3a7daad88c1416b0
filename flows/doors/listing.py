"""What this checkout's prefect.yaml lists: the only deployments and entry points that our worker starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]  # the checkout that holds this file
POOL = "quell"
QUEUE_ORDER = ("urgent", "default")  # served in this order; queues that prefect.yaml adds come after

# A pool that takes no job variables at all: the server itself refuses a run that brings some.
CLOSED_TEMPLATE: dict[str, Any] = {
    "job_configuration": {"labels": {}},  # Prefect wants at least one word here
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


@dataclass(frozen=True)
class Listed:
    """One deployment stanza. `entrypoint` is in module form, e.g. `flows.prompt_injection.prompt_injection`."""

    name: str
    entrypoint: str
    pool: str
    queue: str

    @property
    def module(self) -> str:
        return self.entrypoint.rpartition(".")[0]

    @property
    def attribute(self) -> str:
        return self.entrypoint.rpartition(".")[2]


class ListingError(ValueError):
    """prefect.yaml is not something that we can deploy safely."""


def read_listing(prefect_file: Path) -> tuple[Listed, ...]:
    """Read and check prefect.yaml: module entry points, our pool, no pull steps, no job variables."""
    try:
        text = yaml.safe_load(prefect_file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ListingError(f"Expected a readable {prefect_file}, found: {error}.") from None
    if not isinstance(text, Mapping):
        raise ListingError(f"{prefect_file}: expected a mapping at the top.")
    if text.get("pull"):
        raise ListingError(f"{prefect_file}: expected `pull: []` (code is installed, never fetched at run time).")
    listed = tuple(_listed(prefect_file, stanza) for stanza in text.get("deployments") or [])
    if len({(one.entrypoint, one.name) for one in listed}) != len(listed):
        raise ListingError(f"{prefect_file}: two deployments have the same entry point and name.")
    return listed


def _listed(prefect_file: Path, stanza: Mapping[str, Any]) -> Listed:
    name, entrypoint = str(stanza.get("name") or ""), str(stanza.get("entrypoint") or "")
    if not name or ":" in entrypoint or "/" in entrypoint or "." not in entrypoint:
        raise ListingError(
            f"{prefect_file}: deployment {name!r} has entry point {entrypoint!r}; expected the module form `flows.x.x`."
        )
    pool = stanza.get("work_pool") or {}
    if pool.get("job_variables") or stanza.get("pull"):
        raise ListingError(f"{prefect_file}: deployment {name!r} has job variables or pull steps; quell refuses both.")
    return Listed(name, entrypoint, str(pool.get("name") or POOL), str(pool.get("work_queue_name") or "default"))


def queue_priorities(listed: tuple[Listed, ...]) -> dict[str, int]:
    """Queue name to priority; 1 is served first."""
    names = [*QUEUE_ORDER, *sorted({one.queue for one in listed} - set(QUEUE_ORDER))]
    return {name: number for number, name in enumerate(names, start=1)}


def import_path(prefect_file: Path) -> str:
    """PYTHONPATH for our processes: this checkout first, then where prefect.yaml is, then what there was."""
    paths = [str(ROOT), str(prefect_file.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(path for path in paths if path))
