"""Rules 1 and 2 of the guard: the right to the act, and whether the act fits the connector; and how errors are worded."""

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

from runbooks.domain.approval import Purpose
from runbooks.domain.containment import ContainmentAction
from runbooks.domain.errors import ContainmentError, EvidenceError, GrantRefusedError, Outcome, TargetMissingError
from runbooks.domain.grant import Authority, Grant, GrantFacts, check_grant
from runbooks.domain.value import Json
from tasks.connectors._signals import MissingError, Place, SignalError, contained

T = TypeVar("T")


def named(action: ContainmentAction) -> str:
    """System, verb, target and connector of an act, as every error begins."""
    return f"{action.system}: {action.verb.shown} {action.target} through {action.connector}"


def demand_right(
    place: Place, action: ContainmentAction, grant: Grant, authority: Authority, *, undoing: bool, practice_only: bool
) -> None:
    """Raise GrantRefusedError, and record who asked, unless the grant covers this act through this connector now."""
    facts = authority.facts(grant, action)
    reasons = list(check_grant(grant, action, facts).reasons)
    if (grant.purpose is Purpose.CONTAIN) is undoing:
        reasons.append(f"the grant is to {grant.purpose}, not to {'undo' if undoing else 'contain'}")
    reasons += _another(place, action, facts, practice_only=practice_only)
    if reasons:
        authority.refused(grant, action, tuple(reasons))
        raise GrantRefusedError(
            f"{named(action)}: expected a grant that covers it, found that {'; '.join(reasons)}.",
            now="nothing was sent there.",
            next_step="ask for approval of exactly this act (`quell inbox`), then run it again.",
        )


def _another(place: Place, action: ContainmentAction, facts: GrantFacts, *, practice_only: bool) -> list[str]:
    """Why this connector is not the one that the active configuration means."""
    if (action.system, action.connector) != (place.system, place.name):
        return [f"the act is for {action.system}/{action.connector}, this is {place.system}/{place.name}"]
    system = facts.configuration.systems.get(action.system)
    if system is None:
        return []  # check_grant said so
    connection = system.connections.get(action.connector)
    if connection is None:
        return [f"the active configuration has no connection {action.connector}"]
    if connection.kind != place.kind or _as_text(connection.settings) != _as_text(place.stated):
        return [f"the connection {action.connector} was opened with other settings than the active ones"]
    if practice_only and not system.practice:
        return [f"a {place.kind} connector is for practice systems only"]
    return []


def _as_text(settings: Mapping[str, Json]) -> str:
    return json.dumps(dict(settings), sort_keys=True)


def ask(action: ContainmentAction, read: Callable[[], T]) -> T:
    """Read at the far side before anything is sent; whatever goes wrong, it is not done."""
    try:
        return contained(read)
    except MissingError as problem:
        raise TargetMissingError(
            f"{named(action)}: expected an existing target, found none: {problem.reason}.",
            next_step="compare the target in config/systems.toml with the system; a typing error contains nothing.",
        ) from None
    except SignalError as problem:
        raise nothing_sent(f"{named(action)}: expected a readable target, found: {problem.reason}") from None


def nothing_sent(problem: str) -> ContainmentError:
    """An error from before anything was sent."""
    return ContainmentError(
        f"{problem}.",
        now="nothing was changed there.",
        next_step="run `quell check`, correct what it names, and run it again.",
        outcome=Outcome.NOT_DONE,
    )


def unreadable(place: Place, what: str, problem: str) -> EvidenceError:
    """A source that cannot be read, or not to its end."""
    return EvidenceError(
        f"{place.system}: evidence {what} through {place.name}: expected a readable source, found: {problem}.",
        now="what was read before this is whole; the rest was not read.",
        next_step="the gap is named in the manifest; mend the source and collect again.",
    )
