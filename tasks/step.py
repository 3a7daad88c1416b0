"""What every Prefect task of quell shares: no engine cache, no stored result, a pen that knows its run.

A step asks the ledger what is done, never the engine; so a re-run from the top repeats nothing.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect import Task, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.logging.loggers import flow_run_logger

from runbooks.domain.ledger import Actor, EntryType
from tasks.installation import Installation, open_installation
from tasks.ledger import Pen, flow_actor
from tasks.presence import demand_presence

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A Prefect task with this name in the run's history. It begins only while this run is the one that responds."""

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            demand_presence()
            return function(*args, **kwargs)

        return task(name=name, cache_policy=NO_CACHE, persist_result=False)(guarded)

    return decorate


def tell(sentence: str) -> None:
    """One sentence on the run's page, where people look first. quell's own words only (law 8)."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        flow_run_logger(context.flow_run).info(sentence)


def _waiting_is_no_error(record: logging.LogRecord) -> bool:
    """Prefect logs a run that suspends as an error; at 2 a.m. that reads as a failure."""
    if record.levelno == logging.ERROR and str(record.msg).startswith("Finished in state Suspended"):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg = "Waiting for people; no process runs meanwhile."
    return True


logging.getLogger("prefect.flow_runs").addFilter(_waiting_is_no_error)


def here() -> Installation:
    """The installation of this process."""
    return open_installation()


def run_id() -> str | None:
    """Id of the flow run around this call, if there is one."""
    found = runtime.flow_run.id
    return str(found) if found else None


def is_first_process(incident_id: str) -> bool:
    """Whether no process worked on the run around this call before this one; a run that sleeps wakes in another."""
    starts = here().store.entries(incident_id, types=(EntryType.RUN_STARTED,))
    return [entry.flow_run_id for entry in starts].count(run_id()) == 1


def run_tags() -> list[str]:
    """Tags of the flow run around this call, as they were when it began."""
    return list(runtime.flow_run.tags or []) if runtime.flow_run.id else []


def actor() -> Actor:
    """This run, as the ledger names it."""
    return flow_actor(str(runtime.flow_run.flow_name or "flow"))


def pen() -> Pen:
    """A pen that writes as the flow around this call."""
    return here().pen(actor(), run_id())
