"""What every Prefect task of quell shares: no engine cache, no stored result, a pen that knows its run.

A step asks the ledger what is done, never the engine; so a re-run from the top repeats nothing.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import Task, runtime, task
from prefect.cache_policies import NO_CACHE

from runbooks.domain.ledger import Actor
from tasks.installation import Installation, open_installation
from tasks.ledger import Pen, flow_actor

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A Prefect task with this name in the run's history."""

    def decorate(function: Callable[P, R]) -> Task[P, R]:
        return task(name=name, cache_policy=NO_CACHE, persist_result=False)(function)

    return decorate


def here() -> Installation:
    """The installation of this process."""
    return open_installation()


def run_id() -> str | None:
    """Id of the flow run around this call, if there is one."""
    found = runtime.flow_run.id
    return str(found) if found else None


def actor() -> Actor:
    """This run, as the ledger names it."""
    return flow_actor(str(runtime.flow_run.flow_name or "flow"))


def pen() -> Pen:
    """A pen that writes as the flow around this call."""
    return here().pen(actor(), run_id())
