"""What a run would otherwise import and open on the way to its first act: a warm process does it before there is a run.

Measured: importing the database's library alone took a third of the time from a decision to its act. It is only speed:
whatever fails here is told, and is met again, with its own words, by whoever needs it.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from prefect import flows
from prefect.client.schemas.responses import OrchestrationResult
from pydantic import BaseModel, ConfigDict
from rich.text import Text

from runbooks.domain.bucket import is_bucket
from runbooks.domain.errors import QuellError
from tasks import connectors, stores
from tasks.installation import open_installation
from tasks.rehearsal import rehearse
from tasks.settings import load_settings

log = logging.getLogger("quell.warming")

OF_ITS_SIGNATURE = ConfigDict(arbitrary_types_allowed=True)
"""How Prefect asks for the model of a flow's parameters."""
_kept: list[object] = []
"""Types that Prefect makes inside a function, and Python forgets after it."""


def warm() -> list[str]:
    """Every connector and store, and a rehearsal, for processes forked from this one. No thread stays.

    Returns what could not be prepared, in words: a strange environment, a full disk or a runbook under repair.
    """
    return [
        fault
        for prepare in (
            connectors.warm, stores.warm, complete_models, remember_signatures, rehearse, open_for_children,
            read_log_patterns,
        )
        if (fault := _fault_of(prepare))
    ]  # fmt: skip


def complete_models() -> None:
    """Prefect's models finish their own making at first use: 50 ms of processor for each run that does it itself."""
    _kept.append(OrchestrationResult[Any])
    for model in _below(BaseModel):
        if model.__module__.startswith("prefect.") and not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=False)


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        yield one
        yield from _below(one)


def remember_signatures() -> None:
    """Prefect makes a model of a flow's parameters each time that it begins; the same function gives the same one."""
    made: Any = getattr(flows, "ValidatedFunction", None)
    if not isinstance(made, type):  # done already, or a release that has none of that name
        return

    @cache
    def remembered(function: Callable[..., Any]) -> object:
        return made(function, config=OF_ITS_SIGNATURE)

    def of(function: Callable[..., Any], config: ConfigDict | None = None) -> object:
        return remembered(function) if config == OF_ITS_SIGNATURE else made(function, config=config)

    vars(flows)["ValidatedFunction"] = of


def read_log_patterns() -> None:
    """With which Prefect colours lines of a log: 8 ms for whoever writes the first one."""
    import_module("prefect.logging.highlighters").PrefectConsoleHighlighter().highlight(Text(""))


def _fault_of(prepare: Callable[[], None]) -> str:
    try:
        prepare()
    except Exception as error:  # noqa: BLE001
        log.warning("not prepared: %s (%s)", prepare, error)
        return f"{type(error).__name__}: {error}"
    return ""


def open_early() -> None:
    """Ledger, vault and active configuration of this process's home. What cannot be opened now, the run will tell."""
    with suppress(QuellError, OSError):
        place = open_installation()
        if place.store.size():
            place.active().digest()
            place.store.entries(place.store.incidents()[-1] if place.store.incidents() else None)


def open_for_children() -> None:
    """The same in a process that others are forked from, and no connection stays: 35 ms less for each of them.

    A bucket's client keeps connections of its own; where evidence is kept in one, each child opens everything itself.
    """
    with suppress(QuellError, OSError):
        if not is_bucket(load_settings().vault_path):
            open_early()
            open_installation().store.close()


def as_configured() -> None:
    """In a child: what its parent opened counts only as long as the settings are the same."""
    with suppress(QuellError, OSError):
        if load_settings() != open_installation().settings:
            open_installation.cache_clear()
