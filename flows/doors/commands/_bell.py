"""Ringing: tell the waiting run that the record has news. A dead engine loses nothing: the keeper rings later.

The worker of this home wakes it, being connected already. Else by three REST calls and without Prefect's client, whose
import takes longer than all the rest of an answer.
"""

from flows.doors.engine_server import EngineCalls, EngineUnreachable, engine_url
from flows.doors.worker_line import nudge, wake
from runbooks.domain.identifiers import incident_tag
from runbooks.domain.ledger import EntryType
from tasks.installation import Installation
from tasks.waiting import pause

TRIES = 8
AGAIN_SECONDS = 0.12
"""A run that is just going to sleep cannot be woken yet; it hears the bell a moment later."""
BUSY_RETRIES = 2


def ring_bell(installation: Installation, incident: str) -> tuple[bool, str]:
    """Whether a waiting run was woken, and what to tell the person."""
    home = installation.settings.home
    try:
        engine_url(home)
    except EngineUnreachable:
        return False, "Prefect was never started here: it is in the record, and the response goes on after `quell up`."
    woken = True, "The waiting run was woken and goes on now."
    last = _last_suspended(installation, incident)
    if last and wake(home, last):
        return woken
    try:
        calls = EngineCalls(home, busy_retries=BUSY_RETRIES)
        for _ in range(TRIES):
            if _last_suspended_woken(installation, calls, incident) or _anyone_woken(calls, incident):
                nudge(home)
                return woken
            pause(AGAIN_SECONDS)
    except EngineUnreachable:
        return False, "Prefect does not answer: it is in the record, and the keeper wakes the response when it is back."
    return False, "No run waits right now; the response reads the record when it comes to it."


def _last_suspended(installation: Installation, incident: str) -> str:
    """The run that the record says waits; empty when none was there."""
    forms = installation.store.entries(incident, types=(EntryType.RUN_SUSPENDED,))
    return str(forms[-1].flow_run_id) if forms else ""


def _last_suspended_woken(installation: Installation, calls: EngineCalls, incident: str) -> bool:
    """That one, asked without a search."""
    last = _last_suspended(installation, incident)
    try:
        return bool(last) and _woken(calls, last)
    except EngineUnreachable:
        return False  # the engine fails on a run that somebody deleted; if it is gone itself, the search says so


def _anyone_woken(calls: EngineCalls, incident: str) -> bool:
    woken = [_woken(calls, run) for run in _waiting(calls, incident)]  # every one, whoever tagged it
    return any(woken)


def _waiting(calls: EngineCalls, incident: str) -> list[str]:
    """Ids of the runs of this incident that wait for people, newest first."""
    mine = {"tags": {"all_": [incident_tag(incident)]}, "state": {"type": {"any_": ["PAUSED"]}}}
    found = calls.call("POST", "/flow_runs/filter", {"flow_runs": mine, "sort": "EXPECTED_START_TIME_DESC"})
    return [str(run["id"]) for run in found if "review" not in run["tags"]]


def _woken(calls: EngineCalls, run: str) -> bool:
    answer = calls.call("POST", f"/flow_runs/{run}/resume", {"run_input": {}}, missing=None)
    return answer is not None and answer["status"] == "ACCEPT"
