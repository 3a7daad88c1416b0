"""Prefect's history of an incident beside the ledger: a witness that others can change, so differences are findings.

A page is what Prefect said about one run at one time: the run, its states, its task runs. Mirrors are the pages that
were sealed at every gate; `now` are the pages of a live Prefect, if it was asked.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from runbooks.domain.audit import Finding, caveat, fault
from runbooks.domain.ledger import EntryType, LedgerEntry
from runbooks.domain.settling import in_order, is_ours
from runbooks.domain.value import Json

Page = dict[str, Json]
Pages = dict[str, Page]
"""By run id."""

LEAVES: dict[str, EntryType] = {
    "open the incident": EntryType.INCIDENT_OPENED,
    "seal the evidence": EntryType.EVIDENCE_SEALED,
    "list the affected records": EntryType.AFFECTED_LISTED,
    "make the plan": EntryType.PLAN_MADE,
    "judge the containment": EntryType.CONTAINMENT_JUDGED,
    "replay the attack, harmlessly": EntryType.RECOVERY_JUDGED,
    "schedule the review": EntryType.REVIEW_SCHEDULED,
    "close the incident": EntryType.INCIDENT_CLOSED,
}
"""Steps that, once completed, have left an entry of this type in the ledger."""
_MOST_OFTEN = {"seal the evidence": 2, "judge the containment": 2, "list the affected records": 3}
"""How often a run may come to these before it ends or waits: once more after a waiver, and after a fix that does not hold."""

_FOLLOWS: dict[str, frozenset[str]] = {
    "SCHEDULED": frozenset({"SCHEDULED", "PENDING", "CANCELLED", "CANCELLING"}),
    "PENDING": frozenset({"PENDING", "RUNNING", "SCHEDULED", "CRASHED", "CANCELLED", "CANCELLING", "FAILED"}),
    "RUNNING": frozenset({
        "RUNNING", "PAUSED", "SCHEDULED", "COMPLETED", "FAILED", "CRASHED", "CANCELLING", "CANCELLED",
    }),
    "PAUSED": frozenset({"SCHEDULED", "PAUSED"}),
    "CANCELLING": frozenset({"CANCELLED", "CRASHED", "COMPLETED", "FAILED"}),
}  # fmt: skip
"""State types that follow one another in a response by itself; anything else was forced."""


def compare(
    entries: list[LedgerEntry], mirrors: list[tuple[int, Pages]], now: Pages | None, steps: frozenset[str],
    before: Sequence[LedgerEntry] = (),
) -> Iterator[Finding]:  # fmt: skip
    """Every difference between ledger and history, and of the history with itself.

    `steps`: names of quell's steps. `before`: what was written on the runs before the incident stood.
    """
    yield from _interfered(entries)
    seen: list[tuple[str, Pages]] = [(f"entry {index}", pages) for index, pages in mirrors]
    if now is not None:
        seen.append(("Prefect now", now))
    for (_, older), (where, newer) in pairwise(seen):
        yield from _vanished(older, newer, where)
    newest: Pages = {}
    for _, pages in seen:
        newest |= pages
    upto = mirrors[-1][0] if now is None and mirrors else None
    known = [e for e in entries if upto is None or e.index < upto]
    if seen:
        yield from _strangers(known, newest)
        for run, page in sorted(newest.items()):
            yield from _states([*before, *entries], run, page)
            yield from _steps(known, run, page, steps)


def endings_of_the_living(entries: list[LedgerEntry], run: str, states: list[Page]) -> list[Page]:
    """States of a run at work that say it had ended: it never did, so somebody forced them, unless the keeper did."""
    ordered = in_order(states)
    return [
        state for place, state in enumerate(ordered)
        if state["type"] in ("COMPLETED", "CANCELLED", "FAILED")
        and not (place and is_ours(entries, run, ordered, place))
    ]  # fmt: skip


def _interfered(entries: list[LedgerEntry]) -> Iterator[Finding]:
    """What was seen while it happened."""
    for entry in entries:
        if entry.type is EntryType.RUN_INTERFERED:
            yield fault(
                f"entry {entry.index}", f"{entry.body['because']}.",
                "somebody with access to the engine did that. It authorised nothing, and the response went on.",
            )  # fmt: skip


def _vanished(older: Pages, newer: Pages, where: str) -> Iterator[Finding]:
    for run, page in sorted(older.items()):
        if run not in newer:
            yield fault(
                where, f"the run {run}, seen before, is gone.", "somebody deleted it in Prefect; the record keeps it."
            )
            continue
        states = {str(one["id"]) for one in newer[run]["states"]}
        lost = [one for one in page["states"] if str(one["id"]) not in states]
        if lost:
            names = ", ".join(str(one["name"]) for one in lost)
            yield fault(where, f"states of the run {run} are gone: {names}.", "its history was changed in Prefect.")
        tasks = {str(one["id"]) for one in newer[run]["task_runs"]}
        gone = [_name(one) for one in page["task_runs"] if str(one["id"]) not in tasks]
        if gone:
            yield fault(where, f"task runs of {run} are gone: {', '.join(gone)}.", "somebody deleted them in Prefect.")


def _strangers(entries: list[LedgerEntry], pages: Pages) -> Iterator[Finding]:
    """Runs that only one of the two knows."""
    reported = {str(e.flow_run_id) for e in entries if e.type is EntryType.RUN_STARTED and e.flow_run_id}
    for run in sorted(reported - set(pages)):
        yield fault(
            "Prefect", f"does not know the run {run}, which the ledger heard of.", "it was deleted, or never was there."
        )
    for run, page in sorted(pages.items()):
        ran = any(one["type"] == "RUNNING" for one in page["states"])
        if ran and run not in reported and any(_ended(one) for one in page["task_runs"]):
            yield fault(
                f"run {run}", "did work and never reported to the ledger.",
                "entries are missing, or somebody ran something else under this incident's name.",
            )  # fmt: skip


def _states(entries: list[LedgerEntry], run: str, page: Page) -> Iterator[Finding]:
    """Forced states: those that Prefect's own rules do not let follow, or that the ledger knows nothing of."""
    mine = [e for e in entries if e.flow_run_id == run]
    states = in_order(page["states"])
    for place, (before, after) in enumerate(pairwise(states), start=1):
        if after["type"] in _FOLLOWS.get(str(before["type"]), frozenset()) or is_ours(entries, run, states, place):
            continue
        yield fault(
            f"run {run}", f"went from {before['name']} to {after['name']}, which no response and no keeper did.",
            "somebody forced the state. It authorised nothing; the ledger says what was really done.",
        )  # fmt: skip
    suspended = sum(one["type"] == "PAUSED" for one in states)
    waited = sum(e.type is EntryType.RUN_SUSPENDED for e in mine)
    if suspended > waited:
        yield fault(
            f"run {run}", f"was paused {suspended} times, by itself {waited} times.", "somebody else paused it."
        )
    ended = any(e.type is EntryType.RUN_ENDED for e in mine)
    last = states[-1] if states else None
    if last is not None and last["type"] == "COMPLETED" and not ended:
        yield fault(
            f"run {run}",
            "is completed in Prefect, and never said so in the ledger.",
            "the state was forced, or entries are missing.",
        )
    if last is not None and ended and last["type"] in ("FAILED", "CRASHED", "CANCELLED"):
        yield fault(f"run {run}", f"said that it ended well; Prefect says {last['name']}.", "the state was forced.")


def _steps(entries: list[LedgerEntry], run: str, page: Page, steps: frozenset[str]) -> Iterator[Finding]:
    done = {_name(one) for one in page["task_runs"]}
    finished = Counter(_name(one) for one in page["task_runs"] if one["state_type"] == "COMPLETED")
    begun = sum(one["type"] == "RUNNING" for one in page["states"])
    kinds = {e.type for e in entries}
    for stranger in sorted(done - steps):
        yield fault(
            f"run {run}", f"has a task run that is no step of quell: {stranger[:80]!r}.", "other code ran in it."
        )
    for name, kind in LEAVES.items():
        if name in finished and kind not in kinds:
            yield fault(
                f"run {run}", f"finished the step “{name}”; the ledger has no {kind} entry.",
                "the ledger has a gap, or the task run was made up.",
            )  # fmt: skip
        if finished[name] > begun * _MOST_OFTEN.get(name, 1):
            yield fault(
                f"run {run}", f"finished the step “{name}” {finished[name]} times and began {begun} times.",
                "a task run was made up.",
            )  # fmt: skip
        wrote = any(e.type is kind and e.flow_run_id == run for e in entries)
        if wrote and name not in done:  # one that was seen before and is gone, `_vanished` tells
            yield caveat(
                f"run {run}", f"wrote {kind}; Prefect shows no task run “{name}”.",
                "Prefect records task runs later than they happen, and drops some when it is busy; or it was deleted.",
            )  # fmt: skip


def _name(task_run: Json) -> str:
    """A step's name: Prefect adds a dash and a few letters."""
    return str(task_run["name"]).rpartition("-")[0] or str(task_run["name"])


def _ended(task_run: Json) -> bool:
    return str(task_run["state_type"]) in ("COMPLETED", "FAILED")


def wiped(mirrors: list[tuple[int, Pages]]) -> Finding:
    """Prefect knows no run at all."""
    return caveat(
        "Prefect now", "its database knows no run at all.",
        f"it was wiped or is a new one; what is judged below is the history in {len(mirrors)} sealed mirrors.",
    )  # fmt: skip
