"""The stages that every response shares. A flow file puts them in order; nothing here knows an archetype.

Each stage asks the ledger what is done, so that a re-run from the top goes on where the last one stopped.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from queue import Empty, Queue
from threading import Event

from prefect.futures import PrefectFuture

from flows._form import Start
from flows._gate import Granted, pass_gate
from runbooks.domain.approval import Purpose
from runbooks.domain.case import ContainmentVerdict
from runbooks.domain.incident import Archetype
from tasks.alternatives import offer_alternatives
from tasks.containment import contain, judge, plan_again, plan_containment
from tasks.evidence import is_sealed, is_waived, list_affected, seal_evidence
from tasks.gate import request_approvals, take_in_answers
from tasks.giving_back import give_back
from tasks.giving_way import give_way, others_come_first, speak, step_back
from tasks.history import mirror
from tasks.opening import open_response, respond, start_digest
from tasks.outcome import (
    acts_to_ask_for,
    acts_to_do_at_once,
    consented,
    ending_of,
    show_containment,
    show_evidence,
    show_incident,
    show_links,
    show_recovery,
)
from tasks.recovery import may_be_given_back, needed_for_trials, validate_recovery
from tasks.review import close_incident, schedule_review

GLANCE_SECONDS = 0.5
"""How often a response that is sealing looks whether somebody waived the seal, and one that acts, who decided meanwhile."""


@asynccontextmanager
async def response(start: Start, archetype: Archetype) -> AsyncIterator[str]:
    """Open the incident (or find it again) and be the one run that responds to it, until the end or a suspension."""
    told = start.model_dump(mode="json")
    incident = open_response(told, archetype)
    with respond(incident, start_digest(told)):
        _act_on_consent(incident)
        take_in_answers(incident)
        _act_on_consent(incident)
        step_back(incident)
        yield incident


def _act_on_consent(incident: str) -> None:
    """What people consented to while the run slept, before all that can wait: forms, pages, and what is done already."""
    if consented(incident):
        _contain_and_show(incident, Granted(incident, Purpose.CONTAIN))


def seal(incident: str) -> None:
    """Keep everything first. Nothing is taken away before this.

    Only when a proven person said that it is unsafe to wait (`quell waive`) does the response go on while sources are
    still being asked; what was sealed late is sealed after containment, and the record says so.
    """
    if is_sealed(incident):
        return
    sealing, ended, shown = seal_evidence.submit(incident), Event(), False
    sealing.add_done_callback(lambda _: ended.set())
    while not ended.wait(GLANCE_SECONDS):
        if is_waived(incident):
            return
        if not shown and not others_come_first(incident):
            show_incident(incident)
            shown = True
    sealing.result()


def inform(incident: str) -> None:
    """What is known by now, for people: the brief, whom it reached, what is sealed. What is urgent was done before."""
    give_way(incident)
    show_incident(incident)
    if is_sealed(incident):
        list_affected(incident)
        show_evidence(incident)


def plan(incident: str) -> None:
    """Exact acts, bound to the seal."""
    plan_containment(incident)


def contain_at_once(incident: str) -> None:
    """What the active policy pre-authorises: reversible, after the seal, without waiting for a person.

    Once it acted, other incidents' first acts go before what this one has to show.
    """
    if _contain_all(incident, lambda: acts_to_do_at_once(incident)):
        give_way(incident)
        show_containment(incident)


async def contain_with_consent(incident: str) -> ContainmentVerdict:
    """Ask people for the rest, act on each consent as it comes, and judge what containment achieved."""
    request_approvals(incident, Purpose.CONTAIN, acts_to_ask_for(incident))
    await pass_gate(
        incident, Purpose.CONTAIN, partial(_contain_and_show, incident), partial(offer_alternatives, incident)
    )
    if is_waived(incident) or not is_sealed(incident):
        seal_evidence(incident)
        inform(incident)
    return judge(incident)


def _contain_and_show(incident: str, actions: Callable[[], list[str]]) -> None:
    if _contain_all(incident, actions):
        speak()  # and wait for nobody: somebody may just be consenting to the next act
        show_containment(incident)


def _contain_all(incident: str, actions: Callable[[], list[str]]) -> bool:
    """Side by side, each with its own receipt; one that fails neither hides nor stops the others.

    `actions` is asked again as long as one is at work: probing may take a minute, and what is granted meanwhile does
    not wait for that. A failure of the act is a status. What is raised here, once all are through, is ours: the run
    stops, and the next one asks the record what is done. Returns whether there was anything to do.
    """
    running: dict[str, PrefectFuture[str]] = {}
    ended: Queue[str] = Queue()
    at_work = 0
    while True:
        for action in actions():
            if action not in running:
                running[action] = contain.submit(incident, action)
                running[action].add_done_callback(lambda _, action=action: ended.put(action))  # type: ignore[misc]
                at_work += 1
        if not at_work:
            break
        with suppress(Empty):
            ended.get(timeout=GLANCE_SECONDS)
            at_work -= 1
    for future in running.values():
        future.result()
    return bool(running)


async def recover(incident: str) -> None:
    """Replay the attack against the bar; only if it holds, ask other people to give back what may come back.

    What the trials themselves need (an agent without an identity cannot be tried) comes back first, with consent and
    while the harmful tools stay off; if the fix does not hold, it is taken away again.
    """
    lifted = needed_for_trials(incident)
    await _give_back_with_consent(incident, lifted)
    holds = validate_recovery(incident)
    show_recovery(incident)
    if holds:
        await _give_back_with_consent(incident, may_be_given_back(incident))
    elif lifted:
        plan_again(incident, lifted)
        contain_at_once(incident)
        await contain_with_consent(incident)


async def _give_back_with_consent(incident: str, actions: list[str]) -> None:
    if actions:
        request_approvals(incident, Purpose.RE_ENABLE, actions)
        await pass_gate(incident, Purpose.RE_ENABLE, lambda granted: _give_back_all(incident, granted()))


def _give_back_all(incident: str, actions: list[str]) -> None:
    """Newest act first, one after the other."""
    for action in reversed(actions):
        give_back(incident, action)
    if actions:
        show_containment(incident)


def close(incident: str) -> str:
    """Schedule the review, say where everything is, mirror the engine's history, and write how it ended."""
    schedule_review(incident)
    show_links(incident)
    mirror(incident)
    ending: str = close_incident(incident, ending_of(incident))
    return ending
