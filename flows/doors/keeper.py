"""The one process awake when no run is. It acts only by writing entries, ringing bells and showing what waits.

Its duties, each a small function of the record and the clock; two keepers at once do no harm, because every entry and
every start is idempotent under its key:
0. take up   a start from the form whose process died before the incident stood begins once more: nothing is lost.
1. restart   an open incident that no live run responds to gets a new run: its process died, its state was forced, it
             was deleted, or it waits without a form that anybody could answer.
2. ring      a waiting run is woken when the record holds something that it has not seen: a decision, a waiver, or
             another policy under which what people said is enough.
3. expire    a request past its expiry is closed, and its run is woken; of those that wait the next people are told.
             So are those of closed incidents that ask to give back what is still away.
4. notice    what somebody did to a run, or to the pool, through the engine's own doors is written down.
5. give back what one person took away alone (break-glass), when its time is over; people who have not heard are told.
6. tidy      runs that a closed incident left waiting are ended. Sources of signals that went quiet, or that
             nobody can read any more, are told of.
7. announce  an incident that opened or got worse, and one that waits for Prefect, to the channels that policy names.
8. anchor    the signed head of the log is put out of the operator's reach: at every gate, at closure, at the interval.
9. show      what waits for people, and what is overdue, on one page inside Prefect: the artifact `inbox`.
10. watch    what is taken away is looked at while people are waited for: somebody might turn it on again.
11. lock     in a bucket that locks, what an open incident rests on stays locked.
8, 10 and 11 run beside the others, each in a thread of its own: a place that answers slowly holds nothing up.
"""

import logging
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from types import FrameType

from flows.doors.afterwards import Afterwards
from flows.doors.beside import Beside
from flows.doors.interference import keep_the_way_clear, note_deleted, note_working
from flows.doors.leftovers import Leftovers
from flows.doors.looking import Look, form_stands, is_starting, waiting_form
from flows.doors.pausing import SETTLE_SECONDS, is_due
from flows.doors.taking_up import take_up
from runbooks.domain.approval import Standing
from runbooks.domain.errors import QuellError, UnreachableError
from runbooks.domain.instants import milliseconds_between
from runbooks.domain.ledger import EntryType, LedgerEntry
from tasks.anchors import AnchorDuty
from tasks.announcing import Announcer
from tasks.approval import answerable, is_claimed, judge_all, settle
from tasks.break_glass import end_overdue
from tasks.drifting import DriftWatch
from tasks.engine import (
    one_line,
    ring,
    runs_of,
    set_aside,
    state_name,
)
from tasks.escalation import escalate
from tasks.giving_way import Calm
from tasks.glass_telling import keep_telling
from tasks.glasses import glasses_of
from tasks.inbox_page import InboxPage
from tasks.incident import first_flow
from tasks.installation import Installation, open_installation
from tasks.intake.defects import watch_defects
from tasks.intake.outbox import is_dispatched
from tasks.intake.silence import watch_sources
from tasks.ledger import KEEPER, clock, is_gone
from tasks.locks import LockDuty
from tasks.presence import lease_name
from tasks.review import schedule_now
from tasks.starting import start_response_run

log = logging.getLogger("quell.keeper")

ROUNDS_PER_LOOK_AT_STARTS = 5
ROUNDS_PER_LOOK_AT_SOURCES = 10
ROUNDS_PER_WATCH = 5
COURTESY_SECONDS = 3.0
"""For so long a round waits, in all, while responses begin and act."""
NEWS = (EntryType.DECISION_RECORDED, EntryType.EVIDENCE_WAIVED, EntryType.REQUEST_EXPIRED)


def run_keeper(home: Path) -> int:
    """Keep until asked to stop (SIGTERM, SIGINT); one bad round is logged and the next one comes."""
    stop = threading.Event()

    def asked(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)
    installation = open_installation(home)
    leftovers, since = Leftovers(installation), clock()
    announcer, afterwards, rounds = Announcer(installation), Afterwards(installation), 0
    inbox = InboxPage(installation)
    anchors = Beside("anchors", partial(once, "anchors", AnchorDuty(installation).keep))
    locks = Beside("locks", partial(once, "locks", LockDuty(installation).keep))
    attended: dict[str, tuple[int, float]] = {}
    calm = Calm(installation)
    drift = DriftWatch(installation)
    watch = Beside("drift", lambda: watch_for_drift(installation, drift))
    with one_line():
        while not stop.wait(installation.settings.limits.keeper_interval_seconds):
            once("break-glass", lambda: after_glass(installation))
            once("told of break-glass", lambda: keep_telling(installation, installation.pen(KEEPER)))
            until = monotonic() + COURTESY_SECONDS
            calm.wait(until)
            found = open_incidents(installation)
            look = Look.of_round(installation, found, rounds, attended)
            for incident in found:
                calm.wait(until)
                once(incident, partial(keep, installation, incident, look=look))
                once(incident, partial(announcer.announce, incident, clock()))
            calm.wait(until)
            if rounds % ROUNDS_PER_LOOK_AT_STARTS == 0:
                once("starts", lambda: take_up(installation))
                once("the way", lambda: keep_the_way_clear(installation))
                once("afterwards", lambda: attend_all(installation, afterwards))
            once("leftovers", leftovers.tidy)
            if rounds % ROUNDS_PER_WATCH == 0:
                watch.keep()
            if rounds % ROUNDS_PER_LOOK_AT_SOURCES == 0:
                once("sources", lambda: watch_sources(installation, installation.pen(KEEPER), since, clock()))
                once("defects", lambda: watch_defects(installation, installation.pen(KEEPER), clock()))
            once("inbox", inbox.keep)
            anchors.keep()
            locks.keep()
            rounds += 1
    return 0


def once(what: str, duty: Callable[[], object]) -> None:
    """One duty, one time; what fails is logged and comes again next round."""
    try:
        duty()
    except UnreachableError as error:
        log.warning("%s: %s", what, error.problem)
    except QuellError:
        log.exception("%s", what)


def open_incidents(installation: Installation) -> list[str]:
    """Incidents that were opened and not closed, oldest first."""
    closed = {entry.incident for entry in installation.store.entries(types=(EntryType.INCIDENT_CLOSED,))}
    opened = installation.store.entries(types=(EntryType.INCIDENT_OPENED,))
    return [entry.incident for entry in opened if entry.incident and entry.incident not in closed]


def watch_for_drift(installation: Installation, drift: DriftWatch) -> None:
    """Once over all open incidents whose response sleeps; one that cannot be looked at does not keep from the others."""
    for incident in open_incidents(installation):
        once(incident, partial(_watch_if_asleep, installation, drift, incident))


def _watch_if_asleep(installation: Installation, drift: DriftWatch, incident: str) -> None:
    if waiting_form(installation.store.entries(incident)) is not None:
        drift.watch(incident)


def keep(installation: Installation, incident: str, *, look: Look) -> None:
    """All duties for one open incident; the engine is asked in turn, and at once where the record calls for it."""
    granted = look.is_to_be_attended(installation, incident) and attend(installation, incident)
    if is_live(installation, incident):
        if incident in look.incidents:
            note_working(installation, incident)
        return
    entries = installation.store.entries(incident)
    form = waiting_form(entries)
    news = form is not None and (_has_news(entries, form) or (granted and _changed_since(installation, form)))
    if form is not None and look.leaves_waiting(incident, form) and not news:
        return
    if form is None or not form_stands(installation, form):
        restart(installation, incident, entries)
    elif news:
        ring(incident)


def is_live(installation: Installation, incident: str) -> bool:
    """Whether a process holds the response's lease now."""
    row = installation.store.lease_of(lease_name(incident))
    return row is not None and row.lease_until > clock() and not is_gone(row.holder)


def attend(installation: Installation, incident: str) -> bool:
    """Close what nobody answered in time; tell the next people about what still waits.

    Returns whether something stands granted and is not begun: what people decided may be enough since an owner activated
    another policy, and nobody rings for that.
    """
    writer, granted = installation.pen(KEEPER), False
    for request, verdict in judge_all(installation, incident, only=answerable(installation, incident)):
        if verdict.standing is Standing.EXPIRED:
            settle(writer, request, verdict)
        else:
            escalate(installation, writer, request, verdict)
            granted |= verdict.standing is Standing.GRANTED and not is_claimed(writer, request)
    return granted


def attend_all(installation: Installation, afterwards: Afterwards) -> None:
    """The same for closed incidents in which somebody asked for what is still away."""
    for incident in afterwards.incidents():
        once(incident, partial(attend, installation, incident))


def after_glass(installation: Installation) -> None:
    """Break-glass that is over is given back; its review is scheduled as soon as the engine is there."""
    writer = installation.pen(KEEPER)
    end_overdue(installation, writer)
    for glass in glasses_of(installation):
        if glass.incident and writer.last(glass.incident, EntryType.REVIEW_SCHEDULED) is None:
            schedule_now(installation, writer, glass.incident)


def _has_news(entries: list[LedgerEntry], form: LedgerEntry) -> bool:
    return any(entry.type in NEWS and entry.index >= int(form.body["seen"]) for entry in entries)


def _changed_since(installation: Installation, form: LedgerEntry) -> bool:
    """Whether another configuration became active after the run had read the record for this form."""
    kinds = (EntryType.CONFIGURATION_ACTIVATED,)
    return bool(installation.store.entries(since=int(form.body["seen"]), types=kinds))


def _just_opened(entries: list[LedgerEntry]) -> bool:
    """Whoever opened it starts its first run; asking the engine now would only delay that, in a burst most of all."""
    begun = any(entry.type in (EntryType.RUN_STARTED, EntryType.RESPONSE_RESTARTED) for entry in entries)
    return not begun and milliseconds_between(entries[0].at, clock()) < 1000 * SETTLE_SECONDS


def restart(installation: Installation, incident: str, entries: list[LedgerEntry]) -> None:
    """Start the next run of the response, once per generation, and put the old ones aside."""
    if _just_opened(entries):
        return
    runs = runs_of(incident)
    begun = {entry.flow_run_id for entry in entries if entry.type is EntryType.RUN_STARTED}
    if any(is_starting(run, begun=str(run.id) in begun) for run in runs):
        return
    if not is_due(entries, clock(), begun=bool(runs)):
        return
    opened = installation.incident(incident)
    started = bool(begun)
    if not runs and not started:
        if not is_dispatched(installation, incident):  # whoever opened it died: its own first start, the same key
            start_response_run(first_flow(installation, incident), incident, 0, drill=opened.drill)
        return
    if installation.store.entries(incident, types=(EntryType.INCIDENT_CLOSED,)):
        return  # while the engine was asked
    note_deleted(installation, incident, entries, runs)
    generation = sum(entry.type is EntryType.RESPONSE_RESTARTED for entry in entries) + 1
    states = [f"{run.id}: {state_name(run.state)}" for run in runs]
    dead = [run for run in runs if run.state is not None and not run.state.is_final()]
    writer = installation.pen(KEEPER)
    writer.write(
        EntryType.RESPONSE_RESTARTED, f"restarted/{incident}/{generation}", incident=incident,
        body={
            "generation": generation, "engine_said": states[:20],
            "set_aside": {str(run.id): str(run.state.id) for run in dead if run.state is not None},
            "because": "no live run responds to this open incident" if started else "the response had not begun",
        },
    )  # fmt: skip
    start_response_run(str(opened.archetype), incident, generation, drill=opened.drill)
    for run in dead:  # a replay knows this move by the entry, not by its words
        set_aside(run.id, f"no process works on it; generation {generation} goes on")
